"""Reading tracked cells back: what reports stand on."""

from pathlib import Path
from typing import Protocol

from eggan.progress import working
from eggan.tracking.own_store import own_store
from eggan.tracking.record import CELL_LIST
from eggan.tracking.tracked_cell import TrackedCell


class Readable(Protocol):
    """The benchmark's runs in a store. What cannot be read is a `UserError`."""

    def cells(self) -> list[TrackedCell]:
        """Return the runs that have a `cell` tag, newest first."""

    def suite_tags(self) -> list[dict[str, str]]:
        """Return the tags of the runs of suites."""

    def artifact(self, run_id: str, name: str, scratch: Path) -> Path | None:
        """Return a run's file or folder `name`, copied under `scratch` unless it lies on this machine; None
        where the run has none of that name. It must not be written to.
        """

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return (step, value) of one metric of a run, by step."""


def open_to_read(uri: str | None, runs: Path, suite: str | None = None) -> Readable:
    """Open the store at `uri` (None: the one of `runs`) to read the benchmark's cells from it.

    A store that is not there or does not answer is a `UserError`; `suite` is what would be run first.
    """
    store = own_store(uri, runs)
    if store is not None:
        return store
    with working("loading MLflow"):  # a report of the folder's own store or of an exported frame needs none
        from eggan.tracking.store import read_store
    return read_store(uri, runs, suite=suite)


def search_cells(store: Readable, suite: str | None = None) -> list[TrackedCell]:
    """Return the cells' runs (those with a `cell` tag) of a suite, or of all suites, newest first.

    A suite's cells are those that it ran and those that its own run lists: another suite may have run these.
    """
    cells = store.cells()
    if suite is None:
        return cells
    listed = _listed_cells(store, suite)
    return [cell for cell in cells if cell.tags.get("suite") == suite or cell.tags["cell"] in listed]


def _listed_cells(store: Readable, suite: str) -> set[str]:
    """Return the keys of the cells that the runs of a suite list."""
    mine = [values for values in store.suite_tags() if values.get("suite") == suite]
    lists = [value for values in mine for name, value in values.items() if name.startswith(CELL_LIST)]
    return {key for keys in lists for key in keys.split()}
