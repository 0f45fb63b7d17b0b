import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.studies.fakes import fake_study


@pytest.fixture
def board(tmp_path, heeded_signals):
    """A served dashboard over a finished study; yields its process and address."""
    fake_study(tmp_path / "studies" / "s", trials=4)
    words = ["study", "dashboard", "s", "--runs", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "eggan.cli", *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("optuna-dashboard: http://127.0.0.1:")
        yield process, line.split()[1].removesuffix("/dashboard")
    finally:
        process.kill()
        process.wait()


def get(address, **headers):
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


@pytest.mark.slow
def test_the_dashboard_shows_the_study_to_this_machine_alone_and_stops_on_a_signal(board):
    process, address = board
    assert b"<html" in get(f"{address}/dashboard").lower()
    (summary,) = json.loads(get(f"{address}/api/studies"))["study_summaries"]
    assert summary["study_name"] == "s"
    trials = json.loads(get(f"{address}/api/studies/{summary['study_id']}"))["trials"]
    assert len(trials) == 4
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(f"{address}/api/studies", Host="evil.example:80")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped" in out


def test_a_port_in_use_is_a_users_mistake(eggan, tmp_path):
    fake_study(tmp_path / "studies" / "s", trials=2)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, err = eggan("study", "dashboard", "s", "--runs", tmp_path, "--port", port)
    assert status == 2
    assert "choose another --port" in err
    assert err.count("\n") == 1


def test_without_the_package_the_command_says_how_to_install_it(eggan, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    fake_study(tmp_path / "studies" / "s", trials=2)
    status, _, err = eggan("study", "dashboard", "s", "--runs", tmp_path)
    assert status == 2
    assert "pip install 'eggan[dashboard]'" in err
