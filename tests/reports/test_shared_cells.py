"""Suites share cells: what one suite's frame holds counts in another's, where both train and score alike."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.suites.suite import SUITES
from eggan.errors import UserError
from reports.suite.frame import TABLES, read_frame
from reports.suite.merge import merge_frames
from reports.suite.shared_cells import as_cells_of

RESULTS = Path(__file__).parents[2] / "reports" / "results"
REFERENCES = {"copy-source", "target-passthrough", "mean-au", "oracle"}


@pytest.fixture(scope="module")
def standard():
    return read_frame(RESULTS / "standard")


def methods(frame):
    return set(zip(frame.cells["method"], frame.cells["seed"], strict=True))


def test_people_takes_the_rows_of_all_people_from_standard(standard):
    shared = as_cells_of("people", standard)
    full = {(row.name, seed) for row, seed in SUITES["people"].cells() if row.people is None}
    assert methods(shared) == full
    for name in TABLES:
        table = getattr(shared, name)
        assert set(table["run_id"]) <= set(shared.cells["run_id"])
        assert "suite" not in table or set(table["suite"]) == {"people"}
    assert set(shared.cells["ran_as"]) == {"standard"}
    assert len(shared.pairs) == len(standard.pairs[standard.pairs["run_id"].isin(shared.cells["run_id"])]) > 0


def test_cells_on_other_numbers_of_images_are_not_shared(standard):
    ablations = read_frame(RESULTS / "ablations-w")  # of a run with `--images`
    assert {method for method, _ in methods(as_cells_of("standard", ablations))} == REFERENCES
    assert {method for method, _ in methods(as_cells_of("ablations-w", standard))} == REFERENCES | {
        "eggan-w",
        "eggan-w-unpaired",
    }


def test_unfinished_cells_and_those_of_other_protocols_are_not_shared(standard):
    lost = standard.cells.assign(state="failed")
    for name, frame in (("people", dataclasses.replace(standard, cells=lost)), ("quick", standard)):
        with pytest.raises(UserError, match=f"has no cell that {name} has"):
            as_cells_of(name, frame)


def test_a_merge_is_of_the_suite_that_is_named_first(standard):
    whole = as_cells_of("people", standard)
    few = dataclasses.replace(whole, cells=whole.cells[whole.cells["method"].isin(REFERENCES)])
    both = merge_frames([few, standard])
    assert both.suite == "people"
    assert methods(both) == methods(whole)


def test_a_cell_of_other_settings_is_refused(standard):
    with pytest.raises(UserError, match="two different settings"):
        merge_frames([read_frame(RESULTS / "ablations-w"), standard])
