"""The service by which processes share a GPU: started, seen by children, ended; others' is left alone."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bundle import gpu_sharing, node
from benchmarks.bundle.gpu_sharing import CONTROL, LOGS, PIPES, gpu_shared_at_once

FAKE = """#!/bin/sh
if [ "$1" = -d ]; then echo "began in $CUDA_MPS_PIPE_DIRECTORY" >> {log}; exit {status}; fi
read word; echo "$word in $CUDA_MPS_PIPE_DIRECTORY" >> {log}
"""
SEEN_BY_CHILD = f"import os; print(os.environ.get({PIPES!r}, 'nothing'))"


@pytest.fixture
def log(tmp_path, monkeypatch) -> Path:
    """Install a control program that writes what it is asked for, and contexts that open."""
    _install(tmp_path, monkeypatch)
    monkeypatch.setattr(gpu_sharing, "OPEN_CONTEXT", "")
    monkeypatch.setattr(gpu_sharing, "RUNNING", tmp_path / "running.pid")
    for name in (PIPES, LOGS):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "log"


def _install(folder: Path, monkeypatch, status: int = 0) -> None:
    program = folder / CONTROL
    program.write_text(FAKE.format(log=folder / "log", status=status))
    program.chmod(0o755)
    monkeypatch.setattr(gpu_sharing, "DRIVER_PLACES", (str(folder),))


def _child() -> str:
    return subprocess.run(
        [sys.executable, "-c", SEEN_BY_CHILD], capture_output=True, text=True
    ).stdout.strip()


def test_children_share_in_a_folder_of_their_own_until_the_block_ends(log):
    with gpu_shared_at_once() as started:
        place = _child()
        assert started
        assert Path(place).stat().st_mode & 0o777 == 0o700
    assert log.read_text().splitlines() == [f"began in {place}", f"quit in {place}"]
    assert not Path(place).exists()
    assert _child() == "nothing"


def test_an_error_inside_ends_the_service_too(log):
    with pytest.raises(KeyboardInterrupt), gpu_shared_at_once():
        raise KeyboardInterrupt
    assert log.read_text().splitlines()[-1].startswith("quit in ")
    assert PIPES not in os.environ


def test_where_no_context_opens_the_gpu_takes_turns_and_a_line_says_so(log, monkeypatch, capsys):
    monkeypatch.setattr(gpu_sharing, "OPEN_CONTEXT", "raise SystemExit(1)")
    with gpu_shared_at_once() as started:
        assert not started
        assert _child() == "nothing"
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["began", "quit"]
    assert "the GPU turns from one process to the next" in capsys.readouterr().err


def test_a_service_that_does_not_start_is_not_waited_for(log, tmp_path, monkeypatch):
    _install(tmp_path, monkeypatch, status=1)
    monkeypatch.setattr(gpu_sharing, "OPEN_CONTEXT", "raise AssertionError")
    with gpu_shared_at_once() as started:
        assert not started
        assert _child() == "nothing"


@pytest.mark.parametrize("whose", ["user", "machine"])
def test_a_service_of_somebody_else_stays_theirs(log, monkeypatch, whose):
    if whose == "user":
        monkeypatch.setenv(PIPES, "/their/pipes")
    else:
        gpu_sharing.RUNNING.touch()
    with gpu_shared_at_once() as started:
        assert not started
        assert _child() == ("/their/pipes" if whose == "user" else "nothing")
    assert not log.exists()


def test_without_the_program_nothing_happens(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu_sharing, "DRIVER_PLACES", ())
    with gpu_shared_at_once() as started:
        assert not started
    assert PIPES not in os.environ


@pytest.mark.parametrize(
    ("device", "processes", "wanted"),
    [("cuda", None, True), ("auto", 4, True), ("cuda:1", 1, False), ("cpu", 8, False)],
)
def test_only_several_processes_that_may_use_a_gpu_share_one(device, processes, wanted):
    assert node._wants_gpu(argparse.Namespace(device=device, processes=processes)) == wanted
