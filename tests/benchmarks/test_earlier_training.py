"""Cells that are trained alike and scored otherwise share one training."""

import dataclasses
import json
import re

import pytest
from safetensors.numpy import load_file

from benchmarks.running import environment, suite_run
from benchmarks.running.bench_console import plan_text
from benchmarks.running.cells import read_status, write_status
from eggan.checkpoint import WEIGHTS_FILE
from eggan.tracking.record import logged_values
from tests.benchmarks.fakes import TRAINING, PaintingMethod, make_bench, tiny_suite


@pytest.fixture
def trainings(monkeypatch):
    """The steps of all updates that are made."""
    steps, update = [], PaintingMethod.update

    def counted(self, batch, step):
        steps.append(step)
        return update(self, batch, step)

    monkeypatch.setattr(PaintingMethod, "update", counted)
    return steps


def run(root, training=TRAINING, **protocol):
    """Run the painter's cell and return its folder."""
    bench, suite = make_bench(root), tiny_suite(references=False, training=training)
    suite = dataclasses.replace(suite, protocol=dataclasses.replace(suite.protocol, **protocol))
    opened = environment.open_suite(suite, bench)
    (plan,) = suite_run.plan_suite(opened)
    assert suite_run.run_cell(plan, opened) == "finished"
    return bench.cell_folder(plan.spec.key)


def curves(folder):
    named = [(line["step"], line["values"]) for line in logged_values(folder)]
    kept = [(step, {k: v for k, v in values.items() if k.startswith("train/")}) for step, values in named]
    return [(step, values) for step, values in kept if values]


def test_a_new_protocol_scores_again_without_training_again(tmp_path, trainings):
    old = run(tmp_path, version=1)
    assert len(trainings) > 0
    trainings.clear()
    new = run(tmp_path)
    assert new != old
    assert trainings == []
    weights = [load_file(folder / WEIGHTS_FILE) for folder in (old, new)]
    assert (weights[0]["gain"] == weights[1]["gain"]).all()
    assert curves(new) == curves(old) != []
    before, after = (json.loads((folder / "scores" / "summary.json").read_text()) for folder in (old, new))
    for cost in ("train_seconds", "peak_memory_mib", "build_seconds"):
        assert after[f"cost/{cost}"] == before[f"cost/{cost}"], cost
    assert after["test/au/mse"] == pytest.approx(before["test/au/mse"])
    (note,) = json.loads((new / "scores" / "laboratory.json").read_text())["notes"]
    assert note.startswith(f"painter/synfacs-fake/s0 was trained by the cell {old.name} (commit ")
    assert read_status(old).state == "finished"


def test_other_settings_or_another_budget_train_anew(tmp_path, trainings):
    run(tmp_path, version=1)
    trainings.clear()
    run(tmp_path, training=dataclasses.replace(TRAINING, images=64))
    assert len(trainings) > 0


def test_damaged_weights_are_not_taken_over(tmp_path, trainings):
    old = run(tmp_path, version=1)
    (old / WEIGHTS_FILE).write_bytes(b"cut")
    trainings.clear()
    run(tmp_path)
    assert len(trainings) > 0


def plan_of(root, **protocol):
    """Return what a dry run would say of the painter's cell."""
    bench, suite = make_bench(root), tiny_suite(references=False)
    suite = dataclasses.replace(suite, protocol=dataclasses.replace(suite.protocol, **protocol))
    return plan_text(suite_run.plan_suite(environment.open_suite(suite, bench)), bench).splitlines()[1]


def set_costs(folder, seconds, training):
    """Let a finished cell have taken so long, `training` seconds of it (or of its lender's) to train."""
    trained = read_status(folder).values["trained"] | {
        "cost/train_seconds": training,
        "cost/build_seconds": 0.0,
    }
    write_status(folder, "finished", seconds=seconds, trained=trained)


def test_a_dry_run_counts_no_training_where_weights_are_reused(tmp_path):
    assert re.search(r"  pending  +0\.5  ", plan_of(tmp_path, version=1))
    old = run(tmp_path, version=1)
    set_costs(old, seconds=3600.0, training=3000.0)
    assert re.search(r"  reused  +0\.0  ", plan_of(tmp_path, version=1))
    assert re.search(r"  pending, weights reused  +10\.0  ", plan_of(tmp_path))
    set_costs(run(tmp_path), seconds=900.0, training=3000.0)  # scored for 15 minutes with the other's weights
    assert re.search(r"  pending, weights reused  +12\.5  ", plan_of(tmp_path, version=99))
    for folder in (tmp_path / "runs" / "cells").glob("*"):
        (folder / WEIGHTS_FILE).unlink()
    assert re.search(r"  pending  +62\.5  ", plan_of(tmp_path, version=99))


def test_a_dry_run_counts_no_training_for_a_cell_that_has_its_own(tmp_path):
    folder = run(tmp_path)
    set_costs(folder, seconds=3600.0, training=3000.0)
    write_status(folder, "failed", reason="the disk was full")
    assert re.search(r"  failed, weights reused  +0\.5  ", plan_of(tmp_path))
