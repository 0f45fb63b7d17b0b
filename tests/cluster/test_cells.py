"""Cells on a cluster land as those of a local run: same bytes, same folder, in the store."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from benchmarks.running import cluster_cells
from benchmarks.running.cluster_cells import needs_of, travelling
from benchmarks.running.environment import open_suite
from benchmarks.running.suite_run import plan_suite
from benchmarks.suites.suite import CROWD, SUITES, Row
from eggan import tracking
from eggan.cluster import jobs
from eggan.cluster.connection import ClusterChoice
from eggan.method import ON_A_GPU
from eggan.model import ENTRY
from tests.cluster import tiny_cells
from tests.cluster.machines import ROOT
from tests.cluster.tiny_cells import STEP_SECONDS, arguments_of, session

TIMES = {"cost", "seconds"}  # parts of the names of what a machine decides


def results(root: Path) -> dict[str, bytes]:
    """Return what cells have produced, without times and machines."""
    cells = root / "runs" / "cells"
    return {
        path.relative_to(cells).as_posix(): path.read_bytes()
        for path in cells.rglob("*")
        if path.suffix in (".safetensors", ".parquet", ".npz", ".png") or path.name == "config.json"
    }


def logged(root: Path) -> list[tuple[int, dict[str, float]]]:
    (path,) = (p.parent / "metrics.jsonl" for p in root.glob("runs/cells/*/weights.safetensors"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        (
            line["step"],
            {name: v for name, v in line["values"].items() if not TIMES & set(re.split("[/_]", name))},
        )
        for line in lines
    ]


@pytest.mark.slow
def test_a_cell_whose_worker_is_killed_ends_as_an_uninterrupted_one_here(machines, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "BRING_SECONDS", 0.2)
    only, here, away = ["painter"], tmp_path / "here", tmp_path / "away"
    assert session(here, offline=True, only=only).run() == 0
    machines.scheduler()
    first = machines.worker("first", **{STEP_SECONDS: "0.5"})
    bring = jobs.ClusterRun._bring_checkpoints

    def kill_once_something_came_back(self) -> None:
        bring(self)
        if first.poll() is None and list(away.glob("runs/cells/*/training_state.pt")):
            machines.worker("second")
            first.kill()
            first.wait()

    monkeypatch.setattr(jobs.ClusterRun, "_bring_checkpoints", kill_once_something_came_back)
    assert session(away, only=only, cluster=ClusterChoice(str(machines.file))).run() == 0
    assert first.poll() is not None
    assert results(away) == results(here)
    assert logged(away) == logged(here)
    assert not list(machines.folder.glob("second/**/cell.json"))
    store = tracking.open_store(None, away / "runs")
    runs = store.client.search_runs([store.experiment_id])
    assert [run.data.tags["state"] for run in runs] == ["finished"] * 2
    for run in runs:
        if run.data.tags["kind"] == "cell":
            folder = away / "runs" / "cells" / run.data.tags["cell"]
            assert json.loads((folder / "cell.json").read_text())["mlflow_run_id"] == run.info.run_id
            assert run.data.metrics


@pytest.mark.slow
def test_cells_of_two_processes_are_bit_for_bit_those_of_one(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    only, here, two = ["painter", "copy-source"], tmp_path / "here", tmp_path / "two"
    assert session(here, offline=True, only=only).run() == 0
    assert session(two, offline=True, only=only, cluster=ClusterChoice("local:2")).run() == 0
    assert results(two) == results(here)
    assert len(list(two.glob("runs/cells/*/weights.safetensors"))) == 1
    assert logged(two) == logged(here)
    assert capfd.readouterr().err.count(" ended with status 0") == 2
    assert session(two, offline=True, only=only, cluster=ClusterChoice("local:2")).run() == 0
    assert "ended with" not in capfd.readouterr().err  # no process for what is finished


def test_what_travels_is_the_dataset_and_the_true_edits(tmp_path):
    opened = open_suite(tiny_cells.suite(), session(tmp_path).bench)
    opened.render_true_edits()
    given = arguments_of(tmp_path / "runs", tmp_path / "faces")
    files, own = travelling(opened, plan_suite(opened), given)
    faces = {place: path for place, path in files.items() if place.startswith("data/")}
    assert {Path(place).name for place in faces} == {"dataset.json", "images.npy", "manifest.parquet"}
    (folder,) = {Path(place).parent for place in faces}
    assert (own.dataset, own.runs, own.offline) == (folder, Path("runs"), True)
    (truth,) = set(files) - set(faces)
    assert truth.startswith("runs/cache/truth-")
    assert files[truth].is_file()


def test_cells_need_what_their_methods_state_and_the_gpu_that_was_asked_for():
    usual = {"threads": 1, "memory_gib": 2.0}
    cpu, paper = Row("m", "cpu"), Row("m", "paper")
    assert needs_of(ENTRY, cpu, "auto") == usual
    assert needs_of(None, Row("copy-source"), "auto") == usual
    assert needs_of(ENTRY, cpu, "cuda") == usual | {"gpu": 1}
    assert needs_of(ENTRY, paper, "auto") == dataclasses.asdict(ON_A_GPU)
    assert "gpu" not in needs_of(ENTRY, paper, "cpu")
    assert needs_of(ENTRY, dataclasses.replace(cpu, learns_from=CROWD), "auto")["memory_gib"] == 3.0


def test_every_training_of_the_suite_paper_needs_a_gpu():
    from benchmarks.suites.methods import all_methods

    rows = [row for row in SUITES["paper"].rows if row.preset]
    assert len(rows) == 4
    for row in rows:
        assert all_methods()[row.method].needs[row.preset].gpu == 1


def test_a_cell_that_never_began_has_its_reason(tmp_path):
    opened = open_suite(tiny_cells.suite(), session(tmp_path).bench)
    plan = plan_suite(opened)[0]
    cells = cluster_cells.ClusterCells([plan], opened, arguments_of(tmp_path / "runs", tmp_path / "faces"))
    with cells:
        (job,) = cells.jobs()
        assert cluster_cells.claim(job.folder).__enter__() is False  # a local run leaves it alone
        cells.ended(job, jobs.Outcome(2, "eggan: no such method", "tcp://w"))
    status = cluster_cells.read_status(job.folder)
    assert status.state == "failed"
    assert status.reason == "its process ended with status 2 before the cell began: eggan: no such method"
    with cells:
        (job,) = cells.jobs()  # tried again
        cells.ended(job, jobs.Outcome(None, "the workers that ran it died, one after the other"))
    assert cluster_cells.read_status(job.folder).reason == "the workers that ran it died, one after the other"
