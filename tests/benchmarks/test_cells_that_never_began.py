"""A cell whose process died early has a state and no run: an archive of the others still comes home."""

import time
from pathlib import Path

import pytest

from benchmarks.bundle import node_suite
from benchmarks.bundle.bringing_home import bring_home
from benchmarks.bundle.node_run import NodeRun
from benchmarks.bundle.packing import PLANNED, pack
from benchmarks.running.cells import PlannedCell, all_cells, settle, write_status
from benchmarks.running.environment import OpenSuite, open_suite
from benchmarks.running.suite_run import plan_suite, record_death
from eggan.files import read_json, write_json
from eggan.tracking.presence import DIED
from tests.benchmarks.fakes import make_bench, tiny_suite

BEFORE = "its process was killed before the cell began; it has printed why"


@pytest.fixture
def node(tmp_path) -> tuple[Path, OpenSuite, PlannedCell]:
    """Results of a node that finished two cells, its suite, and the cell that it has not begun."""
    bench = make_bench(tmp_path)
    run = NodeRun(tmp_path, 1.0, time.monotonic() + 60, only=["copy-source", "mean-au"])
    assert node_suite.run_within([tiny_suite()], bench, run)
    opened = open_suite(tiny_suite(), bench)
    return tmp_path, opened, next(plan for plan in plan_suite(opened) if plan.spec.method == "painter")


def brought(out: Path) -> list[str]:
    for cell in all_cells(out / "runs"):
        settle(cell, None)
    return bring_home(pack(out).parts, out / "home")


def test_one_that_died_before_it_began_is_named_with_its_reason_and_the_others_come_home(node):
    out, opened, painter = node
    record_death(painter, opened.bench, "was killed")
    lines = [
        "results-1-of-1.eggan: 2 cells brought",
        f"results-1-of-1.eggan: not begun: painter/synfacs-fake/s0: {BEFORE}",
    ]
    assert brought(out) == lines
    write_json(read_json(out / PLANNED) | {painter.spec.key: painter.spec.name}, out / PLANNED)
    assert pack(out).not_begun == [f"painter/synfacs-fake/s0: {BEFORE}"]  # it is named once


def test_one_that_died_between_its_state_and_its_run_is_named_too(node):
    out, opened, painter = node
    write_status(opened.bench.cell_folder(painter.spec.key), "running", spec={"seed": 3}, name="x/y/s3")
    _, lacking = brought(out)
    assert lacking == f"results-1-of-1.eggan: not begun: x/y/s3: {DIED}"


def test_one_of_which_a_damaged_disk_left_nothing_does_not_keep_the_others_from_coming(node):
    out, _, _ = node
    damaged, _ = all_cells(out / "runs")
    (damaged / "cell.json").write_text("{")
    first, lacking = brought(out)
    assert first == "results-1-of-1.eggan: 1 cells brought"
    assert "cell.json is corrupted" in lacking
