import dataclasses
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.running import cells, environment, suite_run
from benchmarks.running.bench_console import status_text, summary_text
from benchmarks.running.cells import read_status, write_status
from benchmarks.scoring.evaluate import Scores
from benchmarks.suites.suite import SUITES, find_suite
from eggan import tracking
from eggan.errors import UserError
from eggan.tracking.read import search_cells
from eggan.tracking.ship import TAG_CHARACTERS
from tests.benchmarks.fakes import TRAINING, PaintingMethod, fake_instruments, make_bench, tiny_suite
from tests.forked import ended, started


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tracking.open_store(None, tmp_path_factory.mktemp("store"))


class SmallSuite:
    """A suite opened on a folder, as `bench run` opens it."""

    def __init__(self, root: Path, store=None, version: int = 1, name: str = "tiny", **suite_options):
        self.bench = make_bench(root, version)
        self.suite = dataclasses.replace(tiny_suite(**suite_options), name=name)
        self.opened = environment.open_suite(self.suite, self.bench, store)
        self.plans = suite_run.plan_suite(self.opened)
        suite_run.open_suite_run(self.opened, self.plans)

    def run(self, number: int = 0) -> str:
        return suite_run.run_cell(self.plans[number], self.opened)

    def folder(self, number: int = 0) -> Path:
        return self.bench.cell_folder(self.plans[number].spec.key)


def test_a_finished_cell_is_reused_and_not_touched(tmp_path):
    small = SmallSuite(tmp_path, references=False)
    assert small.run() == "finished"
    before = {
        p: p.stat().st_mtime_ns for p in small.folder().rglob("*") if p.name in ("cell.json", "summary.json")
    }
    assert len(before) == 2
    assert SmallSuite(tmp_path, references=False).run() == "finished"
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_cell_that_an_earlier_version_finished_offline_is_shipped_as_it_is(tmp_path, store):
    first = SmallSuite(tmp_path, references=False, version=14)
    assert first.run() == "finished"
    (first.folder() / "scores" / "per_au.parquet").write_bytes(b"a table that is written no more")
    kept = {p: p.read_bytes() for p in first.folder().rglob("*") if p.is_file() and p.name != cells.LOCK}
    second = SmallSuite(tmp_path, store=store, references=False, version=14)
    assert second.run() == "finished"
    assert {path: path.read_bytes() for path in kept} == kept
    run_id = tracking.run_id_in(first.folder(), store.uri)
    assert store.client.get_run(run_id).data.tags["state"] == "finished"
    names = {entry.path for entry in store.client.list_artifacts(run_id, "scores")}
    assert {"scores/summary.json", "scores/per_au.parquet"} <= names


def test_key_changes_with_everything_that_decides_the_result(tmp_path):
    spec = SmallSuite(tmp_path).plans[0].spec
    changes = {
        "method_version": 2,
        "seed": 1,
        "image_size": 128,
        "method": "other",
        "config": {"strength": 2.0},
        "training": {"images": 1},
        "protocol": {"name": "other"},
        "datasets": {"twin": "0"},
        "instruments": {"a": "0"},
        "pairs": {"test": "0"},
    }
    keys = {dataclasses.replace(spec, **{name: value}).key for name, value in changes.items()}
    assert len(keys | {spec.key}) == len(changes) + 1
    assert dataclasses.replace(spec, suite="renamed", title="renamed").key == spec.key


def test_a_failed_cell_stays_visible_and_is_tried_again(tmp_path):
    small = SmallSuite(tmp_path, preset="nan", references=False)
    assert small.run() == "failed"
    status = read_status(small.folder())
    assert status.state == "failed"
    assert "loss not finite" in status.reason
    assert "loss not finite" in status_text(small.bench.runs)
    assert "failed" in summary_text(small.plans, small.bench)
    started = json.loads((small.folder() / "run.json").read_text())["ended_ms"]
    write_status(small.folder(), "failed", seconds=1e6)
    time.sleep(0.01)
    assert small.run() == "failed"
    assert json.loads((small.folder() / "run.json").read_text())["ended_ms"] > started
    assert read_status(small.folder()).values["seconds"] < 1e6  # it was trained from the start


def test_a_crash_in_a_method_fails_its_cell_alone_and_keeps_the_traceback(tmp_path):
    small = SmallSuite(tmp_path, preset="crash")
    assert small.run(0) == "failed"
    assert read_status(small.folder()).reason == "RuntimeError: a bug in the method"
    assert "a bug in the method" in (small.folder() / "traceback.txt").read_text()
    assert small.run(1) == "finished"


def test_a_method_that_only_pleases_itself_flags_its_cell(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.scoring.exploitation_alarm.ALARM_GAP", -100.0)
    small = SmallSuite(tmp_path, references=False)
    assert small.run() == "finished"
    assert read_status(small.folder()).reason == "alarm: exploitation"


def test_an_alarm_survives_a_kill_after_the_trainings_last_save(tmp_path, monkeypatch):
    """The training has ended and saved, `cell.json` does not say so yet: nothing is left to be probed."""
    monkeypatch.setattr("benchmarks.scoring.exploitation_alarm.ALARM_GAP", -100.0)
    small = SmallSuite(tmp_path, references=False)

    def killed(folder, state, **values):
        if "trained" in values:
            raise SystemExit
        write_status(folder, state, **values)

    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.running.cell_run.write_status", killed)
        with pytest.raises(SystemExit):
            small.run()
    assert read_status(small.folder()).state == "interrupted"
    steps = count_updates(monkeypatch)
    assert small.run() == "finished"
    assert steps == []
    assert read_status(small.folder()).reason == "alarm: exploitation"


def count_updates(monkeypatch) -> list[int]:
    """Return a list that grows by the step of every update."""
    steps = []
    update = PaintingMethod.update

    def counted(self, batch, step):
        steps.append(step)
        return update(self, batch, step)

    monkeypatch.setattr(PaintingMethod, "update", counted)
    return steps


def test_a_corrupted_checkpoint_fails_the_cell_and_the_next_run_trains_again(tmp_path, monkeypatch, store):
    small = SmallSuite(tmp_path, references=False, store=store, version=13)
    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.running.cell_run.evaluate", lambda editor, scoring: 1 / 0)
        assert small.run() == "failed"
    (small.folder() / "weights.safetensors").write_bytes(b"not weights")
    assert small.run() == "failed"
    assert "corrupted" in read_status(small.folder()).reason
    old = tracking.run_id_in(small.folder(), store.uri)
    steps = count_updates(monkeypatch)
    assert small.run() == "finished"
    assert steps == list(range(8))
    run_id = tracking.run_id_in(small.folder(), store.uri)
    assert run_id != old
    for run in (old, run_id):
        history = store.client.get_metric_history(run, "train/loss")
        assert [point.step for point in history] == [2, 4, 6, 8]
    assert store.client.get_run(old).data.tags["state"] == "failed"


@pytest.mark.parametrize("place", ["training_state.pt", "weights.safetensors", "cell.json"])
def test_a_kill_while_a_broken_checkpoint_is_dropped_ends_in_a_training(tmp_path, monkeypatch, place):
    small = SmallSuite(tmp_path, references=False)
    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.running.cell_run.evaluate", lambda editor, scoring: 1 / 0)
        small.run()
    (small.folder() / "weights.safetensors").write_bytes(b"not weights")
    unlink = Path.unlink

    def unlink_or_die(path, missing_ok=False):
        if path.name == place:
            raise SystemExit
        unlink(path, missing_ok)

    def write_or_die(folder, state, **values):
        if "trained" in values and place == "cell.json":
            raise SystemExit
        write_status(folder, state, **values)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_or_die)
        patch.setattr("benchmarks.running.cell_run.write_status", write_or_die)
        with pytest.raises(SystemExit):
            small.run()
    steps = count_updates(monkeypatch)
    assert [small.run(), small.run()] == ["failed", "finished"]
    assert steps == list(range(8))


def test_a_training_that_has_ended_is_not_repeated_after_a_failed_scoring(tmp_path, monkeypatch):
    small = SmallSuite(tmp_path, references=False)
    monkeypatch.setattr("benchmarks.running.cell_run.evaluate", lambda editor, scoring: 1 / 0)
    small.run()
    monkeypatch.undo()
    trained = "eggan.training_run.train"
    monkeypatch.setattr(trained, lambda *_, **__: pytest.fail("trained again"))
    assert small.run() == "finished"


def test_a_full_disk_is_one_line_and_finished_cells_stay(tmp_path, monkeypatch):
    small = SmallSuite(tmp_path)
    assert small.run(1) == "finished"

    def full(self, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Scores, "write", full)
    with pytest.raises(UserError, match="disk is full: finished cells are kept"):
        small.run(0)
    monkeypatch.undo()
    assert read_status(small.folder(1)).state == "finished"
    assert small.run(0) == "finished"


def run_and_be_killed(root: Path, number: int) -> None:
    """Train until the fifth step, where this process gets a signal."""
    update = PaintingMethod.update

    def slow(self, batch, step):
        if step == 5:
            os.kill(os.getpid(), number)
        return update(self, batch, step)

    PaintingMethod.update = slow
    training = dataclasses.replace(TRAINING, checkpoint_every_seconds=0.0)
    SmallSuite(root, references=False, training=training).run()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_cell_is_seen_as_interrupted_and_goes_on(tmp_path, number):
    status = ended(started(run_and_be_killed, tmp_path, int(number)))
    assert status == -number if number == signal.SIGKILL else status > 0
    training = dataclasses.replace(tiny_suite().rows[0].training, checkpoint_every_seconds=0.0)
    small = SmallSuite(tmp_path, references=False, training=training)
    assert read_status(small.folder()).state == "interrupted"
    assert (small.folder() / "training_state.pt").exists()
    assert small.run() == "finished"
    steps = [json.loads(line) for line in (small.folder() / "metrics.jsonl").read_text().splitlines()]
    logged = [line["step"] for line in steps if "train/loss" in line["values"]]
    assert logged == sorted(set(logged)) == [2, 4, 6, 8]


def test_a_cell_held_by_another_process_is_left_alone(tmp_path):
    small = SmallSuite(tmp_path, references=False)
    with cells.claim(small.folder()) as ours:
        assert ours
        assert small.run() == "busy"


def test_store_gets_the_cell_as_a_child_with_scores_and_state(tmp_path, store):
    small = SmallSuite(tmp_path, store=store, references=False)
    assert small.run() == "finished"
    run = store.client.get_run(tracking.run_id_in(small.folder(), store.uri))
    parent = tracking.run_id_in(small.bench.runs / "suites" / "tiny", store.uri)
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.info.run_name == "painter/synfacs-fake/s0"
    assert (run.info.status, run.data.tags["state"]) == ("FINISHED", "finished")
    assert run.data.tags["dirty"] in ("true", "false", "unknown")
    assert run.data.metrics["test/au/skill"] == pytest.approx(1, abs=1e-3)
    assert "train/val/au_mse_own" in run.data.metrics
    assert run.data.params["config.strength"] == "1.0"
    names = {entry.path for entry in store.client.list_artifacts(run.info.run_id, "scores")}
    assert {"scores/summary.json", "scores/pairs-test.parquet", "scores/showcase.npz"} <= names
    with np.load(small.folder() / "scores" / "showcase.npz") as shown:
        assert shown["extreme_edit"].shape == shown["extreme_truth"].shape == (4, 3, 64, 64, 3)
    assert json.loads((small.folder() / "cell.json").read_text())["mlflow_run_id"] == run.info.run_id


def test_a_suite_has_the_cells_that_another_suite_ran(tmp_path, store):
    own = {"version": 11}  # keys of its own: the store is shared with other tests
    first = SmallSuite(tmp_path, store=store, references=False, name="first", **own)
    first.run()
    assert not search_cells(store, "second")
    second = SmallSuite(tmp_path, store=store, references=False, name="second", **own)
    assert second.run() == "finished"
    found = {cell.tags["method"]: cell for cell in search_cells(store, "second")}
    assert set(found) == {"painter"}
    assert found["painter"].tags["suite"] == "first"
    assert found["painter"].run_id == search_cells(store, "first")[0].run_id


def test_a_suites_list_of_cells_follows_the_suite_and_keeps_other_datasets(tmp_path, store):
    lists = {}
    for version in (1, 2):
        small = SmallSuite(tmp_path, store=store, version=version, references=False, name="listed")
        run_id = tracking.run_id_in(small.bench.runs / "suites" / "listed", store.uri)
        tags = store.client.get_run(run_id).data.tags
        (lists[version],) = (value for name, value in tags.items() if name.startswith("cells."))
        assert lists[version] == small.plans[0].spec.key
    assert lists[1] != lists[2]
    spec = dataclasses.replace(small.plans[0].spec, datasets={"twin": "another" + "0" * 60})
    suite_run.open_suite_run(small.opened, [dataclasses.replace(small.plans[0], spec=spec)])
    tags = store.client.get_run(run_id).data.tags
    listed = {value for name, value in tags.items() if name.startswith("cells.")}
    assert listed == {lists[2], spec.key}


def test_the_cells_of_every_suite_fit_into_its_list():
    for suite in SUITES.values():
        assert len(list(suite.cells())) * (cells.KEY_CHARACTERS + 1) < TAG_CHARACTERS


def test_a_suite_run_offline_is_shipped_with_its_list(tmp_path, store):
    own = {"version": 12}
    small = SmallSuite(tmp_path, references=False, name="offline", **own)
    small.run()
    suite_run.sync(small.bench.runs, store)
    other = SmallSuite(tmp_path, references=False, name="later", **own)
    suite_run.sync(other.bench.runs, store)
    assert [cell.tags["suite"] for cell in search_cells(store, "later")] == ["offline"]


def test_a_cell_run_offline_is_shipped_by_sync_once(tmp_path, store):
    small = SmallSuite(tmp_path, references=False)
    small.run()
    first = suite_run.sync(small.bench.runs, store)
    assert first == suite_run.sync(small.bench.runs, store)
    assert set(first.runs) == {small.bench.runs / "suites" / "tiny", small.folder()}
    history = store.client.get_metric_history(first.runs[small.folder()], "train/loss")
    assert [point.step for point in history] == [2, 4, 6, 8]


def test_a_store_that_dies_stops_no_training_and_loses_nothing(tmp_path, store, monkeypatch):
    small = SmallSuite(tmp_path, store=store, references=False)
    from mlflow.exceptions import MlflowException

    def dead(*_, **__):
        raise MlflowException("API request failed: max retries exceeded")

    monkeypatch.setattr(store.client, "log_batch", dead)
    with pytest.warns(UserWarning, match="bench sync"):
        assert small.run() == "finished"
    monkeypatch.undo()
    run_id = suite_run.sync(small.bench.runs, store).runs[small.folder()]
    assert store.client.get_run(run_id).data.tags["state"] == "finished"
    assert "test/au/mse" in store.client.get_run(run_id).data.metrics


def test_choosing_cells(tmp_path):
    suite, plans = tiny_suite(), SmallSuite(tmp_path).plans
    assert [plan.spec.method for plan in suite_run.select(suite, plans, ["oracle"], [])] == ["oracle"]
    with pytest.raises(UserError, match=r"unknown method 'magic'.*painter, copy-source"):
        suite.chosen(["magic"], [])
    with pytest.raises(UserError, match=r"no seed 7 .known: 0"):
        suite_run.select(suite, plans, [], [7])
    with pytest.raises(UserError, match=r"no cell .* left by --only and --seed .seeds: 0, 1, 2, 3, 4"):
        find_suite("standard").chosen(["copy-source"], [1])
    assert suite_run.with_key(plans, plans[2].spec.key) is plans[2]
    with pytest.raises(UserError, match="no cell 0123: the suite's data or instruments are others"):
        suite_run.with_key(plans, "0123")


def test_instruments_are_part_of_the_key(tmp_path, monkeypatch):
    first = SmallSuite(tmp_path).plans[0].spec.key
    other = dataclasses.replace(fake_instruments().a, sha256="c" * 64)
    bench = dataclasses.replace(
        make_bench(tmp_path), instruments=lambda device: dataclasses.replace(fake_instruments(), a=other)
    )
    opened = environment.open_suite(tiny_suite(), bench)
    assert suite_run.plan_suite(opened)[0].spec.key != first
