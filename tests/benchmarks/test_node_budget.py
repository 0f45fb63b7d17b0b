"""A budget that was measured is kept for the same command alone, and only where it is of use."""

import dataclasses
import re
import time
from pathlib import Path

import pytest

from benchmarks.bundle import budget as budget_module
from benchmarks.bundle import cell_workers, node_suite
from benchmarks.bundle.budget import (
    BUDGET_FILE,
    Budget,
    divided,
    images_that_fit,
    read_budget,
    with_ceiling,
    write_budget,
)
from benchmarks.bundle.node_run import NodeRun
from benchmarks.bundle.timing import Timed
from benchmarks.suites import equal_images
from benchmarks.suites.equal_images import with_images
from benchmarks.suites.suite import find_suite
from eggan.errors import UserError
from eggan.files import read_json, write_json
from tests.benchmarks.fakes import TRAINING, make_bench, tiny_suite

SUITE = tiny_suite(training=dataclasses.replace(TRAINING, images=80, probe_every=10_000), references=False)


def run_for(out: Path, seconds: float) -> bool:
    run = NodeRun(out, seconds / 60, time.monotonic() + seconds)
    return node_suite.run_within([SUITE], make_bench(out), run)


def test_images_that_end_within_a_warm_start_are_measured_anew_with_more_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr(cell_workers, "timed_cell", lambda plan, opened: Timed(0.5))
    monkeypatch.setattr(equal_images, "warm_images", lambda config, training: 60)
    monkeypatch.setattr(node_suite, "scoring_seconds", lambda *_: 0.0)
    monkeypatch.setattr(node_suite, "SCORING_MINUTES", 0.0)
    for _ in range(2):
        with pytest.raises(UserError, match="images are too few for painter"):
            run_for(tmp_path, 20.0)
        assert not (tmp_path / BUDGET_FILE).exists()
    assert run_for(tmp_path, 50.0)
    assert 60 < read_budget(tmp_path, "tiny", 50.0 / 60).images <= 85


def test_the_images_of_another_number_of_minutes_are_refused_before_anything_is_rendered(tmp_path):
    write_budget(Budget("tiny", 8.0, 160, 100.0, 5.0, {"painter": 0.1}), tmp_path)
    reason = rf"{re.escape(str(tmp_path / BUDGET_FILE))} says .* 8 minutes: give --minutes 8 .* or remove it"
    with pytest.raises(UserError, match=reason):
        run_for(tmp_path, 60.0)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"minutes": "8"},
        {"images": 0},
        {"images": 1.5},
        {"seconds_per_image": [0.1]},
        {"seconds_per_image": {"painter": None}},
        {"share_of_ceiling": 3},
        {"suite": None},
        {"unknown": 1},
    ],
)
def test_a_budget_of_another_shape_is_one_line(tmp_path, wrong):
    write_budget(Budget("tiny", 8.0, 160, 100.0, 5.0, {"painter": 0.1}), tmp_path)
    write_json(read_json(tmp_path / BUDGET_FILE) | wrong, tmp_path / BUDGET_FILE)
    with pytest.raises(UserError, match=r"budget\.json is damaged: remove it to measure anew"):
        read_budget(tmp_path, "tiny", 8.0)


def test_a_budget_states_each_methods_share_of_the_cards_ceiling(monkeypatch):
    """Ceiling 800 TFLOP/s; a method that does 8 TFLOP in a second is at 1 % of it."""
    monkeypatch.setattr(budget_module, "machine_ceiling", lambda device: {"matmul_bf16_gflops": 800_000.0})
    budget = Budget("node", 8.0, 160, 100.0, 5.0, {"eggan": 0.001, "stargan": 0.002})
    costs = {"eggan": Timed(0.001, 8e9), "stargan": Timed(0.002)}
    stated = with_ceiling(budget, costs, "cuda:0")
    assert stated.share_of_ceiling == {"eggan": pytest.approx(0.01)}
    assert str(stated).endswith(
        "eggan 1,000, stargan 500; share of 800 TFLOP/s, a matrix product's: eggan 1.0%)"
    )
    assert with_ceiling(budget, {"eggan": Timed(0.001)}, "cpu") == budget


def test_what_is_left_is_divided_into_whole_batches_of_equal_numbers_of_images():
    assert images_that_fit(100.0, [0.01, 0.03], 16) == 2112  # 0.85 * 100 / 0.04 = 2125
    assert images_that_fit(0.1, [0.01, 0.03], 16) == 0
    assert images_that_fit(-1.0, [0.01], 16) == 0
    suite = find_suite("node")
    costs = {"eggan": 0.002, "stargan": 0.001, "homointerpgan": 0.001, "ganimation": 0.003, "eggan-w": 0.001}
    rows = [row for row, _ in suite.cells() if row.training]
    budget = divided("node", rows, 8.0, 200.0, 8.0, costs)
    assert budget.training_seconds == 160.0
    assert budget.images * sum(costs.values()) == pytest.approx(0.85 * 160.0, rel=0.01)
    trained = [row.training.images for row in with_images(suite, budget.images).rows if row.training]
    assert trained == [budget.images] * 5
    assert divided("node", rows, 8.0, 200.0, 8.0, costs | {"ganimation": 0.0}).images > budget.images
    with pytest.raises(UserError, match="no method of the suite node can be trained here"):
        divided("node", rows, 8.0, 200.0, 8.0, dict.fromkeys(costs, 0.0))
    with pytest.raises(UserError, match=r"8 minutes are too few: 0 s are left .* give more --minutes"):
        divided("node", rows, 8.0, 30.0, 8.0, costs)
