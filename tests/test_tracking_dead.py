"""Runs whose process was killed say so; a run at work is never touched."""

import dataclasses
import signal
import subprocess
import sys
import time

import pytest

from eggan import tracking
from eggan.cli import main
from eggan.tracking import DIED, SINGLE, RunRecord, TrackedRun, close_dead, open_store, read_record
from eggan.tracking.presence import PRESENCE_FILE
from eggan.tracking.record import write_record
from tests.conftest import TINY_TRAINING
from tests.forked import ended, started

RECORD = RunRecord("painter/faces/s0", {"kind": "training"})
AT_WORK = """
import sys
from pathlib import Path
from eggan.tracking import RunRecord, TrackedRun
run = TrackedRun(Path(sys.argv[1]), RunRecord("painter/faces/s0", {"kind": "training"}), None)
run.log(3, {"train/loss": 1.0})
print("at work", flush=True)
sys.stdin.read()
"""


def at_work(folder):
    """Start a process that works on a run, and wait until it does."""
    command = [sys.executable, "-c", AT_WORK, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "at work\n"
    return process


def kill(process):
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_killed_process_is_noticed_and_one_at_work_is_left_alone(tmp_path):
    process = at_work(tmp_path / "m")
    assert close_dead([tmp_path]) == []
    assert read_record(tmp_path / "m").state == "running"
    kill(process)
    assert close_dead([tmp_path]) == [tmp_path / "m"]
    record = read_record(tmp_path / "m")
    assert (record.state, record.reason) == ("interrupted", DIED)
    assert record.started_ms <= record.ended_ms <= time.time() * 1000
    assert close_dead([tmp_path]) == []


def test_a_damaged_log_hides_no_other_dead_run(tmp_path):
    """`bench sync` and the UI close all: who ships the damaged one says so."""
    for name in ("a", "b"):
        kill(at_work(tmp_path / name))
    (tmp_path / "a" / "metrics.jsonl").write_text("no log\n{}\n")
    assert sorted(close_dead([tmp_path / "a", tmp_path / "b"])) == [tmp_path / "a", tmp_path / "b"]
    record = read_record(tmp_path / "a")
    assert (record.state, record.ended_ms) == ("interrupted", record.started_ms)


def test_a_run_lives_as_long_as_one_of_its_processes(tmp_path):
    first = at_work(tmp_path)
    second = TrackedRun(tmp_path, RECORD, None)
    kill(first)
    assert close_dead([tmp_path]) == []
    second.finish("finished")
    assert close_dead([tmp_path]) == []
    assert read_record(tmp_path).state == "finished"


@pytest.mark.parametrize("machine", [b"another", b"", None])
def test_a_copy_of_another_machines_run_or_an_earlier_versions_is_left_alone(tmp_path, machine):
    write_record(dataclasses.replace(RECORD, started_ms=5), tmp_path)
    if machine is not None:
        (tmp_path / PRESENCE_FILE).write_bytes(machine)
    assert close_dead([tmp_path]) == []
    assert read_record(tmp_path).state == "running"


@pytest.mark.slow
def test_a_killed_training_is_shown_as_killed_by_the_next_sync(eggan, tmp_path, dataset_folder):
    runs, folder = tmp_path / "runs", tmp_path / "runs" / "single" / "m"
    words = ["train", "eggan", "--dataset", dataset_folder, "--preset", "quick", "--device", "cpu"]
    words += ["--out", folder, "--runs", runs, *TINY_TRAINING, "--set", "training.log_every=1"]
    words += ["--set", "training.checkpoint_every_seconds=0"]
    many = ["--set", "training.images=100000"]
    process = started(main, list(map(str, [*words, *many])))
    deadline = time.monotonic() + 120
    while not (folder / "training_state.pt").exists() and time.monotonic() < deadline:
        assert process.is_alive()
        time.sleep(0.05)
    assert eggan("bench", "sync", "--runs", runs)[0] == 0
    store = open_store(None, runs, SINGLE)
    assert status(store, folder) == ("RUNNING", "running")
    process.kill()
    assert ended(process) == -signal.SIGKILL
    assert eggan("bench", "sync", "--runs", runs)[0] == 0
    assert status(store, folder) == ("KILLED", "interrupted")
    assert read_record(folder).reason == DIED


def status(store, folder):
    run = store.client.get_run(tracking.run_id_in(folder, store.uri))
    return run.info.status, run.data.tags["state"]
