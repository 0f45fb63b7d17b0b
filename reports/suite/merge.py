"""Frames of one suite put together: a benchmark may run on several machines, or in several sittings."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from eggan.errors import UserError
from reports.suite.frame import TABLES, Frame

OWNER = ["dataset", "method", "seed"]


def merge_frames(frames: Sequence[Frame]) -> Frame:
    """Return one frame of several; of each (dataset, method, seed) a finished run counts, else the newest.

    Two finished runs of one (dataset, method, seed) must be of one cell key. Frames of different suites, and
    cells that were scored by different instruments or on different data, are a `UserError`: their numbers
    have no common table.
    """
    _refuse_different(frames)
    cells = pd.concat([frame.cells for frame in frames], ignore_index=True)
    cells = cells.drop_duplicates("run_id")
    _refuse_rivals(cells)
    ranked = cells.assign(done=cells["state"] == "finished").sort_values(["done", "started_ms"])
    kept = ranked.drop_duplicates(OWNER, keep="last").sort_values(OWNER).drop(columns="done")
    ids = set(kept["run_id"])
    tables = {"cells": kept.reset_index(drop=True)}
    for name in TABLES:
        if name != "cells":
            both = pd.concat([_of(getattr(frame, name), ids) for frame in _first_owners(frames)])
            tables[name] = both.reset_index(drop=True)
    pictures = {run: arrays for frame in frames for run, arrays in frame.showcases.items() if run in ids}
    return Frame(**tables, showcases=pictures, instruments=frames[0].instruments)


def _of(table: pd.DataFrame, ids: set[str]) -> pd.DataFrame:
    return table[table["run_id"].isin(ids)]


def _first_owners(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames, each without the runs that an earlier one holds too."""
    seen: set[str] = set()
    owned = []
    for frame in frames:
        fresh = set(frame.cells["run_id"]) - seen
        tables: dict[str, Any] = {name: _of(getattr(frame, name), fresh) for name in TABLES}
        owned.append(Frame(**tables))
        seen |= fresh
    return owned


def _refuse_different(frames: Sequence[Frame]) -> None:
    for what, column in (("suites", "suite"), ("instruments", "instruments"), ("data", "dataset_digest")):
        found = sorted({str(value) for frame in frames for value in frame.cells[column]})
        if len(found) > 1:
            raise UserError(
                f"these frames are of different {what} ({found[0]}; {found[1]}): they share no table"
            )


def _refuse_rivals(cells: pd.DataFrame) -> None:
    done = cells[cells["state"] == "finished"]
    keys = done.groupby(OWNER)["cell"].nunique()
    if (keys > 1).any():
        dataset, method, seed = keys.index[keys > 1][0]
        raise UserError(
            f"{method}, seed {seed}, on {dataset} was finished with two different settings: "
            "one of these frames is of another version"
        )
