"""`eggan ui`: the MLflow UI over the tracking store, on localhost, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
from pathlib import Path

from eggan import loopback, tracking
from eggan.errors import UserError
from eggan.files import is_writable
from eggan.signals import stop_as_interrupt
from eggan.tracking import score_view

OWN_NAMES = ("localhost", "127.0.0.1")
START_SECONDS = 90
STOP_SECONDS = 15


def serve(uri: str, runs: Path, host: str, port: int, allowed_hosts: str | None) -> int:
    """Serve the UI until interrupted, and return 0; a port in use or a server that dies is a `UserError`."""
    command = tracking.server_command(uri, runs, host, port) + host_options(allowed_hosts)
    # Job execution starts eight helper processes that nothing here uses.
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    log = log_file(runs)
    with log.open("w", encoding="utf-8") as stream, stop_as_interrupt():
        # An own process group, so that the server's workers go with it.
        server = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            _wait_until_up(server, host, port, log)
            page = loopback.url(host, port, score_view.page(_experiment_id(uri, runs)))
            print(f"MLflow UI: {page}  (Ctrl-C stops it; log: {log})", flush=True)
            server.wait()
        except KeyboardInterrupt:
            print("stopped")
            return 0
        finally:
            _stop(server)
    raise UserError(f"the MLflow server ended by itself: see {log}")


def _experiment_id(uri: str, runs: Path) -> str:
    """Return the id of the benchmark's experiment, which has the view; empty where nothing was tracked."""
    try:
        return tracking.read_store(uri, runs).experiment_id
    except UserError:
        return ""


def log_file(runs: Path) -> Path:
    """Return where the server's output goes: into the runs folder, if that can be written."""
    if is_writable(runs):
        return runs / "ui.log"
    return Path(tempfile.mkdtemp(prefix="eggan-ui-")) / "ui.log"


def host_options(allowed: str | None) -> list[str]:
    """Return MLflow's options that let browsers use these names of this machine, with any port.

    `allowed` is a list with commas. This machine's own names stay allowed; MLflow would replace them.
    """
    if not allowed:
        return []
    names = [name.strip() for name in allowed.split(",") if name.strip()]
    if not names or any("/" in name or " " in name for name in names):
        raise UserError(
            f"--allowed-hosts {allowed!r}: give plain host names, such as gpu1.example.org,10.0.0.7"
        )
    hosts = [text for name in (*names, *OWN_NAMES) for text in (name, f"{name}:*")]
    origins = [f"{scheme}://{text}" for scheme in ("http", "https") for text in hosts]
    everyone = "*" in names
    return [
        *("--allowed-hosts", "*" if everyone else ",".join(hosts)),
        *("--cors-allowed-origins", "*" if everyone else ",".join(origins)),
    ]


def open_to_others(host: str, allowed: str | None) -> list[str]:
    """Return what must be known before the UI listens beyond this machine; nothing where it does not."""
    if host in OWN_NAMES or host.startswith("127.") or host == "::1":
        return []
    lines = ["warning: the UI asks for no password: whoever reaches this machine can change and delete runs"]
    if not allowed:
        lines.append(
            "note: browsers elsewhere are refused (403) until the name or address that they use is given: "
            "--allowed-hosts NAME"
        )
    return lines


def check_port(host: str, port: int) -> None:
    """Raise a `UserError` where nothing can listen at this address."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
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
            loopback.direct.open(loopback.url(host, port, "health"), timeout=2).close()
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
