"""What is read of a runs folder's own store without MLflow is what MLflow returns."""

import dataclasses
import math
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from eggan.errors import UserError
from eggan.tracking import CELL_LIST, RunRecord, TrackedRun, local, open_store
from eggan.tracking.own_store import OwnStore, own_store
from eggan.tracking.read import open_to_read, search_cells
from eggan.tracking.store import read_store

DATASETS = [
    {"name": name, "digest": 36 * digit, "context": "train"} for name, digit in (("a", "1"), ("b", "2"))
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three cells with values that have columns of their own, a suite that lists two, and a deleted run."""
    folder = tmp_path_factory.mktemp("home") / "runs"
    store = open_store(None, folder)
    for number in range(4):
        place = folder / "cells" / str(number)
        tags = {"kind": "cell", "cell": f"k{number}", "suite": "first" if number else "second", "empty": ""}
        record = RunRecord(f"é{number}", tags, {"a": "1", "b": str(number)}, DATASETS[:number], ["scores/*"])
        run = TrackedRun(place, record, store)
        (place / "scores").mkdir()
        (place / "scores" / "summary.json").write_text(str(number))
        run.log(2, {"train/loss": 0.25, "test/au/mse": math.nan, "cost/seconds": 1e300})
        run.log(1, {"train/loss": math.nan})
        run.finish("finished")
    listed = {"kind": "suite", "suite": "third", f"{CELL_LIST}0": "k0", f"{CELL_LIST}1": "k2"}
    TrackedRun(folder / "suites" / "third", RunRecord("third", listed), store).finish("finished")
    deleted = next(cell.run_id for cell in search_cells(store) if cell.tags["cell"] == "k3")
    store.client.delete_run(deleted)
    return folder


def comparable(cell):
    """NaN is not equal to itself, and the tables have no order of names."""
    return {
        name: sorted((key, repr(own)) for key, own in value.items()) if isinstance(value, dict) else value
        for name, value in dataclasses.asdict(cell).items()
    }


def test_cells_histories_and_files_are_those_that_mlflow_returns(runs, tmp_path):
    own, store = open_to_read(None, runs), read_store(None, runs)
    assert isinstance(own, OwnStore)
    for suite, count in ((None, 3), ("first", 2), ("second", 1), ("third", 2), ("none", 0)):
        found, expected = search_cells(own, suite), search_cells(store, suite)
        assert [comparable(cell) for cell in found] == [comparable(cell) for cell in expected]
        assert len(found) == count
    for cell in search_cells(store):
        for metric in cell.metrics:
            pair = [where.history(cell.run_id, metric) for where in (own, store)]
            assert repr(pair[0]) == repr(pair[1])
        folders = [where.artifact(cell.run_id, "scores", tmp_path) for where in (own, store)]
        texts = [(folder / "summary.json").read_text() for folder in folders]
        assert texts == [cell.tags["cell"][1:]] * 2
        assert [where.artifact(cell.run_id, "other", tmp_path) for where in (own, store)] == [None, None]


def test_the_version_of_the_tables_is_the_one_that_mlflow_expects():
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert local.newest_schema() == _get_latest_schema_revision()


def test_a_folder_that_was_moved_is_read_where_it_is(runs, tmp_path):
    moved = tmp_path / "new home" / "results"
    shutil.copytree(runs, moved)
    store = open_to_read(None, moved)
    for cell in search_cells(store):
        assert cell.artifact_uri.startswith(f"{moved.as_uri()}/")
        assert moved in store.artifact(cell.run_id, "scores", tmp_path).parents


def changed(runs, folder, query):
    shutil.copytree(runs, folder)
    with closing(sqlite3.connect(folder / local.DATABASE)) as connection, connection:
        connection.execute(query)
    return folder


@pytest.mark.parametrize(
    "query",
    [
        "UPDATE runs SET artifact_uri = 's3://bucket/' || run_uuid",
        "UPDATE experiments SET lifecycle_stage = 'deleted'",
        "UPDATE experiments SET name = name || '-other'",
    ],
)
def test_what_takes_mlflow_is_left_to_it(runs, tmp_path, query):
    assert own_store(None, changed(runs, tmp_path / "runs", query)) is None


def test_another_store_is_left_to_mlflow(runs, tmp_path, monkeypatch):
    assert own_store(None, tmp_path) is None
    assert own_store(f"sqlite:///{runs / local.DATABASE}", runs) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert own_store(None, runs) is None


def test_the_tables_of_another_mlflow_and_broken_ones_are_one_line(runs, tmp_path):
    old = changed(runs, tmp_path / "old", "UPDATE alembic_version SET version_num = 'ffff'")
    with pytest.raises(UserError, match="has another MLflow's tables"):
        own_store(None, old)
    broken = changed(runs, tmp_path / "broken", "DROP TABLE latest_metrics")
    with pytest.raises(UserError, match=r"cannot be read: no such table: latest_metrics"):
        search_cells(open_to_read(None, broken))


def test_reading_loads_no_mlflow(runs):
    code = (
        "import sys\nfrom pathlib import Path\nfrom eggan.tracking.read import open_to_read, search_cells\n"
        "assert len(search_cells(open_to_read(None, Path(sys.argv[1])))) == 3\n"
        "print(*({'mlflow', 'sqlalchemy', 'alembic', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, runs], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
