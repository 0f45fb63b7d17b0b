"""Runs and frames of the suite that was called `standard` and is `twin` now."""

import dataclasses

import pandas as pd
import pytest

from eggan.tracking.read import TrackedCell
from reports.suite import former_suite
from reports.suite.former_suite import cells_of, with_present_name
from reports.suite.frame import read_frame, write_frame
from tests.reports.fakes import make_frame

ON_TWIN = {"synfacs-twin-64": "t", "synfacs-wide-64": "w"}
ON_CROWD = {**ON_TWIN, "synfacs-crowd-64": "c"}


def cell(
    run_id: str, suite: str, data: dict[str, str], trained: bool = True, method: str = "eggan"
) -> TrackedCell:
    params = {"training.images": "32000"} if trained else {}
    return TrackedCell(run_id, {"suite": suite, "cell": run_id, "method": method}, params, {}, data, 1, 2)


OLD = [cell("old", "standard", ON_TWIN), cell("reference", "standard", ON_TWIN, trained=False)]
NEW = cell("new", "standard", ON_CROWD)
OTHER = cell("other", "twin", ON_TWIN)
FEW = cell("few", "standard", ON_TWIN, method="eggan-twin")  # a row of the present suite


@pytest.mark.parametrize(
    ("there", "asked", "name", "found"),
    [
        (OLD, "standard", "twin", ["old", "reference"]),
        (OLD, None, "twin", ["old", "reference"]),
        (OLD, "twin", "twin", ["old", "reference"]),
        ([NEW, *OLD], "standard", "standard", ["new", "reference"]),
        ([NEW, *OLD], None, "standard", ["new", "reference"]),
        ([NEW, *OLD], "twin", "twin", ["old", "reference"]),
        ([OTHER, *OLD], "twin", "twin", ["other", "old", "reference"]),
        ([NEW], "twin", "twin", []),
        ([FEW, NEW], None, "standard", ["few", "new"]),
        ([FEW, NEW, *OLD], "standard", "standard", ["few", "new", "reference"]),
        ([FEW, NEW, *OLD], "twin", "twin", ["old", "reference"]),
        ([FEW], "standard", "standard", ["few"]),
        ([], None, None, []),
    ],
)
def test_runs_are_of_the_suite_whose_people_they_learn_from(monkeypatch, there, asked, name, found):
    def search(_store, suite=None):
        return [cell for cell in there if suite in (None, cell.tags["suite"])]

    monkeypatch.setattr(former_suite, "search_cells", search)
    suite, cells = cells_of(None, asked)
    assert suite == name
    assert [cell.run_id for cell in cells] == found


def frame_of(suite: str, data: str, method: str = "eggan"):
    frame = make_frame(seeds=1)
    tables = {
        field.name: table.assign(suite=suite)
        for field in dataclasses.fields(frame)
        if isinstance(table := getattr(frame, field.name), pd.DataFrame) and "suite" in table
    }
    cells = tables["cells"]
    trained = cells["method"] == "eggan"
    cells = cells.assign(
        dataset_digest=cells["dataset_digest"].mask(trained, data),
        method=cells["method"].mask(trained, method),
    )
    return dataclasses.replace(frame, **{**tables, "cells": cells})


@pytest.mark.parametrize(
    ("suite", "data", "method", "name"),
    [
        ("standard", "synfacs-twin-64 t", "eggan", "twin"),
        ("standard", "synfacs-crowd-64 c; synfacs-twin-64 t", "eggan", "standard"),
        ("standard", "synfacs-twin-64 t", "eggan-twin", "standard"),
        ("quick", "synfacs-twin-64 t", "eggan", "quick"),
    ],
)
def test_a_kept_frame_is_reported_under_the_name_of_now(tmp_path, suite, data, method, name):
    kept = read_frame(write_frame(frame_of(suite, data, method), tmp_path / "kept"))
    assert kept.suite == name
    assert set(kept.pairs["suite"]) == {name}
    assert set(kept.metrics["suite"]) == {name}
    assert with_present_name(kept).suite == name
