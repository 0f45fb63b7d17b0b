"""`eggan ui`: hosts, proxies, and a folder that cannot be written."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow.server.security_utils import is_allowed_host_header, should_block_cors_request

from eggan import loopback
from eggan.errors import UserError
from eggan.tracking import RunRecord, TrackedRun, mlflow_ui, open_store


def test_hosts_are_allowed_by_name_with_any_port_and_may_use_the_api():
    _, hosts, _, origins = mlflow_ui.host_options("gpu1.example.org, 10.0.0.7")
    for host in ("gpu1.example.org:5000", "10.0.0.7:80", "localhost:5000", "127.0.0.1"):
        assert is_allowed_host_header(hosts.split(","), host)
        assert not should_block_cors_request(f"http://{host}", "POST", origins.split(","))
    assert not is_allowed_host_header(hosts.split(","), "elsewhere.example.org:5000")
    assert should_block_cors_request("http://elsewhere.example.org:5000", "POST", origins.split(","))
    assert mlflow_ui.host_options(None) == []
    with pytest.raises(UserError, match="--allowed-hosts"):
        mlflow_ui.host_options("http://gpu1")


def test_listening_beyond_this_machine_is_warned_of_and_says_how_others_get_in():
    assert mlflow_ui.open_to_others("127.0.0.1", None) == mlflow_ui.open_to_others("localhost", None) == []
    warning, note = mlflow_ui.open_to_others("0.0.0.0", None)
    assert "no password" in warning
    assert "--allowed-hosts" in note
    assert mlflow_ui.open_to_others("0.0.0.0", "gpu1") == [warning]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_own_server_is_asked_past_the_proxy(host, monkeypatch, tmp_path):
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    class Living:
        def poll(self):
            return None

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(mlflow_ui, "START_SECONDS", 3)
    server = ThreadingHTTPServer((host, 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        mlflow_ui._wait_until_up(Living(), host, server.server_port, tmp_path / "log")
    finally:
        server.shutdown()
        server.server_close()


def test_this_machine_is_added_to_the_hosts_without_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "intranet,localhost")
    monkeypatch.delenv("NO_PROXY", raising=False)
    loopback.exempt_from_proxies()
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "intranet,localhost,127.0.0.1,::1"
    monkeypatch.setenv("no_proxy", "*")
    loopback.exempt_from_proxies()
    assert os.environ["no_proxy"] == "*"


@pytest.mark.slow
@pytest.mark.usefixtures("heeded_signals")
def test_the_ui_of_a_moved_folder_lists_the_files_and_stops_at_a_hang_up(tmp_path):
    """The real server, asked as a browser asks it; `http_proxy` leads nowhere."""
    folder = tmp_path / "old" / "cells" / "c"
    run = TrackedRun(
        folder, RunRecord("c", {"kind": "cell"}, artifacts=["*.txt"]), open_store(None, tmp_path / "old")
    )
    (folder / "a.txt").write_text("kept")
    run.finish("finished")
    (run_id,) = (entry["run_id"] for entry in json.loads((folder / "tracking.json").read_text()).values())
    (tmp_path / "old").rename(tmp_path / "new")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    server = subprocess.Popen(
        [sys.executable, "-m", "eggan.cli", "ui", "--runs", str(tmp_path / "new"), "--port", str(port)],
        env=environment | {"http_proxy": "http://127.0.0.1:9"},
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        told = server.stdout.readline()
        assert "MLflow UI" in told
        assert "/runs?workflowType=machine_learning&viewStateShareKey=scores" in told
        base = loopback.url("127.0.0.1", port)
        listed = json.load(loopback.direct.open(f"{base}ajax-api/2.0/mlflow/artifacts/list?run_id={run_id}"))
        assert [entry["path"] for entry in listed["files"]] == ["a.txt"]
        assert loopback.direct.open(f"{base}get-artifact?path=a.txt&run_id={run_id}").read() == b"kept"
    finally:
        server.send_signal(signal.SIGHUP)
        assert server.wait(30) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
