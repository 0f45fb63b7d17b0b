"""`eggan ui`: the MLflow UI over the tracking store, on localhost, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from eggan import tracking
from eggan.errors import UserError
from eggan.signals import stop_as_interrupt

# Without the workflow the UI opens on an empty page for language models.
RUNS_PAGE = "#/experiments?workflowType=machine_learning"
START_SECONDS = 90
STOP_SECONDS = 15


def serve(uri: str, runs: Path, host: str, port: int, allowed_hosts: str | None) -> int:
    """Serve the UI until interrupted, and return 0; a port in use or a server that dies is a `UserError`."""
    command = tracking.server_command(uri, runs, host, port)
    if allowed_hosts:
        command += ["--allowed-hosts", allowed_hosts]
    # Job execution starts eight helper processes that nothing here uses.
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    log = runs / "ui.log"
    with log.open("w") as stream, stop_as_interrupt():
        # An own process group, so that the server's workers go with it.
        server = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            _wait_until_up(server, host, port, log)
            print(f"MLflow UI: http://{host}:{port}/{RUNS_PAGE}  (Ctrl-C stops it; log: {log})", flush=True)
            server.wait()
        except KeyboardInterrupt:
            print("stopped")
            return 0
        finally:
            _stop(server)
    raise UserError(f"the MLflow server ended by itself: see {log}")


def check_port(host: str, port: int) -> None:
    """Raise a `UserError` where nothing can listen at this address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"cannot listen on {host}:{port} ({error}): choose another --port") from None


def _wait_until_up(server: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UserError(f"the MLflow server did not start: see {log}")
        try:
            urllib.request.urlopen(f"http://{host}:{port}/health", timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise UserError(f"the MLflow server did not answer within {START_SECONDS} s: see {log}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server's whole process group; its workers may outlive the parent."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            return
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
