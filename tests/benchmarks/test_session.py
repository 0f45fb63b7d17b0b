import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache as artifact_repositories

from benchmarks.bench_commands import run_suite
from benchmarks.running.bench_session import BenchSession
from benchmarks.running.cells import LOCK, read_status
from eggan import tracking
from eggan.cluster.connection import ClusterChoice
from eggan.errors import UserError
from reports.suite.frame import read_store
from tests.benchmarks.fakes import TRAINING, PaintingMethod, make_bench, silent, tiny_suite


def session(root: Path, **options) -> BenchSession:
    suite = tiny_suite(**{key: options.pop(key) for key in ("preset",) if key in options})
    return BenchSession(suite, make_bench(root), options.pop("only", []), [], [], **options)


def test_a_suite_runs_and_its_second_run_reuses_everything(tmp_path, capsys, monkeypatch):
    clock = itertools.count(time.time(), -3600.0)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: next(clock))  # somebody sets it back again and again
        assert session(tmp_path, offline=True).run() == 0
    statuses = [read_status(folder) for folder in (tmp_path / "runs" / "cells").iterdir()]
    assert all(0 < status.values["seconds"] < 600 for status in statuses)
    out = capsys.readouterr().out
    for method in ("painter", "copy-source", "target-passthrough", "mean-au", "oracle"):
        assert f"{method}/synfacs-fake/s0" in out
    assert session(tmp_path, offline=True).dry_run() == 0
    out = capsys.readouterr().out
    assert out.count("reused") == 5
    assert "about 0 minutes" in out
    scores = tmp_path / "runs" / "cells" / statuses[0].key / "scores" / "summary.json"
    for damage in (lambda: scores.write_text("{"), scores.unlink):
        damage()
        with pytest.raises(UserError, match=f"{scores} is missing or damaged: remove .*{statuses[0].key},"):
            session(tmp_path, offline=True).run()


def test_a_failed_cell_gives_status_1_and_a_failed_suite_run(tmp_path, capsys):
    assert session(tmp_path, preset="nan", only=["painter", "oracle"]).run() == 1
    out = capsys.readouterr().out
    assert "loss not finite" in out
    record = tracking.read_record(tmp_path / "runs" / "suites" / "tiny")
    assert (record.state, record.reason) == ("failed", "1 of 2 cells are not finished")
    store = tracking.open_store(None, tmp_path / "runs")
    runs = store.client.search_runs([store.experiment_id])
    assert sorted(run.data.tags["state"] for run in runs) == ["failed", "failed", "finished"]


def test_an_interruption_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.running.bench_session.run_cell", stopped)
    with pytest.raises(KeyboardInterrupt):
        session(tmp_path, offline=True).run()
    assert "the same command goes on" in capsys.readouterr().err
    assert tracking.read_record(tmp_path / "runs" / "suites" / "tiny").state == "interrupted"


@pytest.mark.slow
def test_a_suite_whose_folder_was_moved_in_the_middle_goes_on_bit_for_bit(tmp_path, monkeypatch):
    training = dataclasses.replace(TRAINING, checkpoint_every_seconds=0.0)

    def opened(root):
        return BenchSession(tiny_suite(training=training), make_bench(root), [], [], [])

    def scores(root):
        found = [
            json.loads(path.read_text()) for path in sorted(root.glob("runs/cells/*/scores/summary.json"))
        ]
        return [
            {name: value for name, value in values.items() if not name.startswith("cost/")}
            for values in found
        ]

    def stopped(self, batch, step):
        if step == 5:
            raise KeyboardInterrupt
        return update(self, batch, step)

    assert opened(tmp_path / "stayed").run() == 0
    update = PaintingMethod.update
    with monkeypatch.context() as patch:
        patch.setattr(PaintingMethod, "update", stopped)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path / "old").run()
    (tmp_path / "old").rename(tmp_path / "new")
    assert list((tmp_path / "new").rglob("training_state.pt"))
    artifact_repositories.clear()  # MLflow keeps them by run id for the life of a process
    assert opened(tmp_path / "new").run() == 0
    assert scores(tmp_path / "new") == scores(tmp_path / "stayed")
    assert len(scores(tmp_path / "new")) == 5
    store = tracking.open_store(None, tmp_path / "new" / "runs")
    runs = store.client.search_runs([store.experiment_id])
    assert [run.data.tags["state"] for run in runs] == ["finished"] * 6
    assert len(read_store(store, None, {}, silent).cells) == 5
    assert not (tmp_path / "old").exists()


HOLD = """
import sys, time
from pathlib import Path
from eggan.files import try_lock
with try_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path):
    """A finished suite of which another process has taken one cell again, and that process."""
    assert session(tmp_path, offline=True, only=["painter", "copy-source"]).run() == 0
    (folder,) = (p for p in (tmp_path / "runs" / "cells").iterdir() if (p / "weights.safetensors").exists())
    (folder / "cell.json").unlink()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / LOCK)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield folder, process
    process.kill()
    process.wait()


def test_a_second_run_says_who_holds_a_cell_and_since_when(held, tmp_path, capsys):
    folder, process = held
    assert session(tmp_path, offline=True, only=["painter", "copy-source"]).run() == 1
    out = capsys.readouterr().out
    since = time.strftime("%Y-%m-%d", time.localtime((folder / LOCK).stat().st_mtime))
    host = os.uname().nodename
    assert f"painter/synfacs-fake/s0 is being run by process {process.pid} on {host} since {since}" in out
    assert "copy-source/synfacs-fake/s0 is being run" not in out
    assert tracking.read_record(tmp_path / "runs" / "suites" / "tiny").state == "interrupted"


def test_a_second_run_that_waits_takes_over_what_the_first_left(held, tmp_path, capsys, monkeypatch):
    _, process = held
    monkeypatch.setattr("benchmarks.running.bench_session.POLL_SECONDS", 0.05)
    threading.Timer(1.0, process.kill).start()
    assert session(tmp_path, offline=True, only=["painter", "copy-source"], wait=True).run() == 0
    captured = capsys.readouterr()
    assert f"waiting for painter/synfacs-fake/s0, which is being run by process {process.pid}" in captured.err
    assert "is being run" not in captured.out


def test_a_cell_whose_worker_died_before_it_began_has_a_reason(tmp_path, monkeypatch, capsys):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nkill -9 $$\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    given, two = argparse.Namespace(run=run_suite), ClusterChoice("local:2")
    assert session(tmp_path, offline=True, only=["copy-source"], cluster=two, arguments=given).run() == 1
    (folder,) = (tmp_path / "runs" / "cells").iterdir()
    status = read_status(folder)
    assert (status.state, "was killed by SIGKILL before the cell began" in status.reason) == ("failed", True)
    assert "was killed by SIGKILL before the cell began" in capsys.readouterr().out
