"""Cells that two suites share: those of one suite's frame that are cells of another suite, too."""

import dataclasses
from typing import Any

from benchmarks.suites.suite import SUITES, Row, Suite
from eggan.errors import UserError
from reports.suite.frame import TABLES, Frame

IMAGES = "training.images"  # the setting that `--images` replaces in all rows of a suite


def as_cells_of(name: str, frame: Frame) -> Frame:
    """Return the finished cells of `frame` that the suite `name` has as well, under its name.

    Suites share a cell where they train a method alike and score it alike. Without one it is a `UserError`.
    """
    shared = _shared(SUITES.get(name), SUITES.get(frame.suite))
    cells = frame.cells[frame.cells["state"] == "finished"]
    images = frame.settings[frame.settings["setting"] == IMAGES].set_index("run_id")["value"]
    owners = zip(cells["run_id"], cells["method"], cells["seed"], strict=True)
    kept = {
        run
        for run, method, seed in owners
        if (method, seed) in shared and images.get(run) == shared[method, seed]
    }
    if not kept:
        raise UserError(f"the frame of {frame.suite} has no cell that {name} has, too: they share no table")
    renamed = frame.under(name)
    owned = {table: getattr(renamed, table) for table in TABLES}
    tables: dict[str, Any] = {table: rows[rows["run_id"].isin(kept)] for table, rows in owned.items()}
    pictures = {run: arrays for run, arrays in frame.showcases.items() if run in kept}
    return dataclasses.replace(renamed, **tables, showcases=pictures)


def _shared(suite: Suite | None, other: Suite | None) -> dict[tuple[str, int], str | None]:
    """Return (method, seed) of the cells that both have, with the training images that runs record."""
    if suite is None or other is None or _scoring(suite) != _scoring(other):
        return {}
    theirs = {(_training(row), seed) for row, seed in other.cells()}
    return {
        (row.name, seed): str(row.training.images) if row.training else None
        for row, seed in suite.cells()
        if (_training(row), seed) in theirs
    }


def _scoring(suite: Suite) -> tuple[object, ...]:
    return suite.image_size, suite.dataset_seed, suite.protocol


def _training(row: Row) -> Row:
    """Return the row without what changes no cell."""
    return dataclasses.replace(row, expected_minutes=0.0, seeds=None)
