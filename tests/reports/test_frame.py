"""From a real tracking store to the frame."""

import argparse
import json
import shutil

import numpy as np
import pytest
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache as artifact_repositories

from eggan import tracking
from eggan.errors import UserError
from eggan.tracking import CELL_LIST, RunRecord, TrackedRun, open_store
from eggan.tracking.address import sqlite_file
from eggan.tracking.read import TrackedCell
from reports import report_commands
from reports.style.html import MARKS
from reports.suite.frame import newest_of_each, read_store
from tests.reports.fakes import pair_table, showcase
from tests.reports.test_tables import quiet


def cell(run_id, seed, started, state="finished"):
    tags = {"dataset": "d", "method": "eggan", "seed": str(seed), "state": state, "suite": "quick"}
    return TrackedCell(run_id, tags, {}, {}, {}, started, started + 1)


def test_the_newest_run_of_a_cell_counts_even_when_it_failed():
    kept = newest_of_each([cell("new", 0, 20, "failed"), cell("old", 0, 10), cell("other", 1, 5)])
    assert [c.run_id for c in kept] == ["new", "other"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    opened = open_store(f"sqlite:///{runs / 'mlflow.db'}", runs)
    for seed, state in ((0, "finished"), (1, "failed")):
        folder = runs / f"cell{seed}"
        scores = folder / "scores"
        scores.mkdir(parents=True)
        pair_table("eggan", seed, "test").to_parquet(scores / "pairs-test.parquet")
        (scores / "not_measured.json").write_text(json.dumps({"test/pixels/lpips": "weights missing"}))
        np.savez_compressed(scores / "showcase.npz", **showcase("eggan"))
        tags = {"suite": "quick", "dataset": "d", "method": "eggan", "seed": str(seed), "cell": f"k{seed}"}
        params = {"instrument.a": "aaaa", "config.weight_au": "30.0", "pairs.test": "p"}
        record = RunRecord(f"eggan/d/s{seed}", tags, params, artifacts=["scores/*"])
        tracked = TrackedRun(folder, record, opened)
        tracked.log(0, {"train/au": 2.0})
        tracked.log(10, {"train/au": 1.0, "test/drift/off_target": 0.25})
        tracked.finish(state, "loss became NaN" if state == "failed" else "")
    return opened


def test_store_becomes_a_frame(store):
    frame = read_store(store, None, {}, quiet)
    assert frame.suite == "quick"
    assert list(frame.cells["state"]) == ["finished", "failed"]
    assert frame.cells["reason"].iloc[1] == "loss became NaN"
    assert frame.cells["instruments"].iloc[0] == "a aaaa"
    finished = frame.cells["run_id"].iloc[0]
    assert set(frame.pairs["run_id"]) == {finished}  # a failed run's scores are not used
    assert set(frame.pairs["split"]) == {"test"}
    assert list(frame.curves[frame.curves["run_id"] == finished]["value"]) == [2.0, 1.0]
    drift = frame.metrics[(frame.metrics["metric"] == "test/drift/off_target")]
    assert list(drift["value"]) == [0.25, 0.25]
    assert frame.not_measured["reason"].iloc[0] == "weights missing"
    logged = frame.settings[frame.settings["run_id"] == finished]
    assert logged[["setting", "value"]].to_numpy().tolist() == [["config.weight_au", "30.0"]]
    assert frame.showcases[finished]["edits"].shape == (2, 8, 16, 16, 3)


def test_scores_whose_basis_lost_a_part_are_one_line(tmp_path):
    opened = open_store(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    scores = tmp_path / "cell" / "scores"
    scores.mkdir(parents=True)
    pair_table("eggan", 0, "test").to_parquet(scores / "pairs-test.parquet")
    np.savez_compressed(scores / "showcase.npz", **showcase("eggan"))
    (scores / "laboratory.json").write_text(json.dumps({"notes": []}))
    tags = {"suite": "quick", "dataset": "d", "method": "eggan", "seed": "0", "cell": "k0"}
    TrackedRun(tmp_path / "cell", RunRecord("x", tags, artifacts=["scores/*"]), opened).finish("finished")
    with pytest.raises(UserError, match=r"laboratory.json of run \w+ is damaged: run its cell again"):
        read_store(opened, None, {}, quiet)


def test_a_cell_of_several_commits_says_so(store):
    def frame():
        return read_store(store, "quick", {}, quiet)

    (finished,) = frame().cells.query("state == 'finished'")["run_id"]
    assert not [note for note in frame().notes["note"] if "sittings" in str(note)]
    store.client.set_tag(finished, "commit", "a" * 40)
    store.client.set_tag(finished, "later_commits", f"{'b' * 40} {'a' * 40}")
    (note,) = [note for note in frame().notes["note"] if "sittings" in str(note)]
    assert note.endswith(f"was made in several sittings, by {'a' * 12}, then {'b' * 12}, then {'a' * 12}")


def test_a_frame_holds_the_cells_that_its_suite_lists_and_another_ran(store, tmp_path):
    tags = {"kind": "suite", "suite": "second", f"{CELL_LIST}abc": "k0 k7"}
    TrackedRun(tmp_path, RunRecord("second", tags), store)
    frame = read_store(store, "second", {}, quiet)
    assert frame.suite == "second"
    assert list(frame.cells["cell"]) == ["k0"]
    assert set(frame.pairs["suite"]) == {"second"}
    assert read_store(store, "quick", {}, quiet).cells["suite"].tolist() == ["quick", "quick"]


def test_unknown_suite_says_what_to_run(store):
    with pytest.raises(UserError, match="run `eggan bench run standard` first"):
        read_store(store, "standard", {}, quiet)


def test_files_that_are_elsewhere_are_one_line_until_they_are_shipped_again(store, tmp_path):
    home = tmp_path / "runs"
    shutil.copytree(sqlite_file(store.uri).parent, home)
    artifact_repositories.clear()  # MLflow keeps them by run id, and the original has the same ids
    moved = tracking.read_store(None, home)
    assert len(read_store(moved, None, {}, quiet).pairs) > 0
    shutil.rmtree(home / "artifacts")
    out = tmp_path / "report"
    out.mkdir()
    before = f'{MARKS[0]}<img src="figures/old.png">'
    (out / "index.html").write_text(before)
    arguments = argparse.Namespace(frame=None, out=out, suite=None, runs=home, tracking_uri=None)
    with pytest.raises(
        UserError, match=r"files of eggan .* are not where the store says .*bench sync"
    ) as caught:
        report_commands.run_build(arguments)
    assert len(str(caught.value).splitlines()) == 1
    assert (out / "index.html").read_text() == before
    tracking.sync([home], moved, home)
    assert len(read_store(moved, None, {}, quiet).pairs) > 0


def test_a_report_that_cannot_be_written_is_told_before_anything_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "report"
    arguments = argparse.Namespace(frame=None, out=out, suite=None, runs=tmp_path, tracking_uri="sqlite://")
    with pytest.raises(UserError, match=r"cannot write .*file is a file"):
        report_commands.run_build(arguments)
