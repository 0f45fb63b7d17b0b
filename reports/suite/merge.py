"""Frames put together: a benchmark may run on several machines or in several sittings; suites share cells."""

from collections.abc import Sequence

import pandas as pd

from benchmarks.suites.suite import CROWD
from eggan.errors import UserError
from reports.suite.frame import TABLES, Frame
from reports.suite.shared_cells import as_cells_of
from reports.suite.showcase_files import of_lowest_seeds

OWNER = ["dataset", "method", "seed"]


def merge_frames(frames: Sequence[Frame]) -> Frame:
    """Return one frame of several; of each (dataset, method, seed) a finished run counts, else the newest.

    It is of the first one's suite; frames of other suites give the cells that it has as well. Two finished
    runs of one (dataset, method, seed) must be of one cell key. Frames of suites that share no cell, and
    cells that were scored by different instruments or on different data, are a `UserError`: their numbers
    have no common table.
    """
    suite = frames[0].suite
    frames = [frame if frame.suite == suite else as_cells_of(suite, frame) for frame in frames]
    _refuse_different(frames)
    cells = pd.concat([frame.cells for frame in frames], ignore_index=True)
    cells = cells.drop_duplicates("run_id")
    _refuse_rivals(cells)
    ranked = cells.assign(done=cells["state"] == "finished").sort_values(["done", "started_ms"])
    kept = ranked.drop_duplicates(OWNER, keep="last").sort_values(OWNER).drop(columns="done")
    tables = {"cells": kept.reset_index(drop=True)}
    holders = _first_holders(frames, set(kept["run_id"]))
    for name in TABLES:
        if name != "cells":
            parts = [getattr(frame, name) for frame in frames]
            mine = [part[part["run_id"].map(holders) == place] for place, part in enumerate(parts)]
            tables[name] = pd.concat(mine, ignore_index=True)
    pictures = {run: arrays for frame in frames for run, arrays in frame.showcases.items()}
    return Frame(**tables, showcases=of_lowest_seeds(kept, pictures), instruments=frames[0].instruments)


def _first_holders(frames: Sequence[Frame], kept: set[str]) -> dict[str, int]:
    """Return which of the frames is the first to hold each run that is kept, by its place."""
    holders: dict[str, int] = {}
    for place, frame in enumerate(frames):
        for run in kept & set(frame.cells["run_id"]):
            holders.setdefault(run, place)
    return holders


def _refuse_different(frames: Sequence[Frame]) -> None:
    for what, column in (("instruments", "instruments"), ("data", "dataset_digest")):
        values = sorted({str(value) for frame in frames for value in frame.cells[column]})
        if column == "dataset_digest":
            values = _different_data(values)
        if len(values) > 1:
            raise UserError(
                f"these frames are of different {what} ({values[0]}; {values[1]}): they share no table"
            )


def _different_data(values: Sequence[str]) -> list[str]:
    """Return the data that rows stand on but may not differ in: not all rows of a suite learn from the same.

    What is learnt from alone may be missing in a row, but not be another one of the same name.
    """
    parts = sorted({part for value in values for part in value.split("; ")})
    for name in {part.rpartition(" ")[0] for part in parts if CROWD in part}:
        rivals = [part for part in parts if part.rpartition(" ")[0] == name]
        if len(rivals) > 1:
            return rivals
    scored = ("; ".join(part for part in value.split("; ") if CROWD not in part) for value in values)
    return sorted(set(scored))


def _refuse_rivals(cells: pd.DataFrame) -> None:
    done = cells[cells["state"] == "finished"]
    keys = done.groupby(OWNER)["cell"].nunique()
    if (keys > 1).any():
        dataset, method, seed = keys.index[keys > 1][0]
        raise UserError(
            f"{method}, seed {seed}, on {dataset} was finished with two different settings: "
            "one of these frames is of another version"
        )
