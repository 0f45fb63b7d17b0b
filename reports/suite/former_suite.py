"""The suite `twin` had the name `standard` once: its runs and frames are reported under the name of now."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.suites.former_names import STANDARD, TWIN_SUITE, is_of_twin
from eggan.tracking.read import search_cells
from eggan.tracking.tracked_cell import TrackedCell

if TYPE_CHECKING:  # a frame is made without this module's help
    from eggan.tracking.read import Readable
    from reports.suite.frame import Frame

TRAINED = "training."  # the parameters of a run that was trained begin with it


def cells_of(store: "Readable", suite: str | None) -> tuple[str | None, list[TrackedCell]]:
    """Return a suite's name of now and its runs, newest first; without a name those of the suite that ran
    last. No name and no runs: the store has none.
    """
    if suite is None:
        everything = search_cells(store)
        if not everything:
            return None, []
        suite = TWIN_SUITE if _is_former(everything[0]) else everything[0].tags["suite"]
    found = search_cells(store, suite)
    if suite == TWIN_SUITE:
        return suite, _with_former(found, search_cells(store, STANDARD))
    if suite != STANDARD:
        return suite, found
    if any(_is_former(cell) for cell in found) and not any(_is_present(cell) for cell in found):
        print(
            f"these runs of {STANDARD} learn from the twin's people: that suite is {TWIN_SUITE} now",
            file=sys.stderr,
        )
        return TWIN_SUITE, found
    return suite, [cell for cell in found if not _is_former(cell)]


def _with_former(own: Sequence[TrackedCell], standard: Sequence[TrackedCell]) -> list[TrackedCell]:
    """Return the runs of `twin` and those of `standard` that are its own: what it trained, and references."""
    if not any(_is_former(cell) for cell in standard):
        return list(own)
    former = [cell for cell in standard if not _is_present(cell)]
    return list({cell.run_id: cell for cell in (*own, *former)}.values())


def _is_trained(cell: TrackedCell) -> bool:
    return any(name.startswith(TRAINED) for name in cell.params)


def _is_former(cell: TrackedCell) -> bool:
    return is_of_twin(
        cell.tags.get("suite", ""), cell.tags.get("method", ""), _is_trained(cell), cell.datasets
    )


def _is_present(cell: TrackedCell) -> bool:
    return _is_trained(cell) and not _is_former(cell)


def with_present_name(frame: "Frame") -> "Frame":
    """Return a frame under the suite's name of now: `twin` for a `standard` whose runs know no crowd."""
    ran = set(frame.settings.loc[_starts(frame.settings), "run_id"])
    trained = frame.cells[frame.cells["run_id"].isin(ran)]
    data = trained["dataset_digest"].fillna("")
    former = [
        is_of_twin(frame.suite, method, True, [digest])
        for method, digest in zip(trained["method"], data, strict=True)
    ]
    return frame.under(TWIN_SUITE) if former and all(former) else frame


def _starts(settings: pd.DataFrame) -> pd.Series:
    return settings["setting"].str.startswith(TRAINED)
