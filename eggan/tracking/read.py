"""Reading tracked cells back: what reports stand on."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

os.environ.setdefault(
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"
)  # a bar per file drowns the one that counts

from eggan.errors import UserError
from eggan.progress import working
from eggan.tracking.address import first_line
from eggan.tracking.own_store import OwnStore, own_store
from eggan.tracking.record import CELL_LIST
from eggan.tracking.tracked_cell import TrackedCell

if TYPE_CHECKING:  # a report of an exported frame needs no MLflow
    from mlflow.entities import Run

    from eggan.tracking.store import Store

    Readable: TypeAlias = OwnStore | Store

PAGE = 500


def open_to_read(uri: str | None, runs: Path, suite: str | None = None) -> "Readable":
    """Open the store at `uri` (None: the one of `runs`) to read the benchmark's cells from it.

    A store that is not there or does not answer is a `UserError`; `suite` is what would be run first.
    """
    store = own_store(uri, runs)
    if store is not None:
        return store
    with working("loading MLflow"):
        from eggan.tracking.store import read_store
    return read_store(uri, runs, suite=suite)


def search_cells(store: "Readable", suite: str | None = None) -> list[TrackedCell]:
    """Return the cells' runs (those with a `cell` tag) of a suite, or of all suites, newest first.

    A suite's cells are those that it ran and those that its own run lists: another suite may have run these.
    """
    if isinstance(store, OwnStore):
        cells = store.cells()
    else:
        cells = [_cell(run) for run in _search(store, "tags.cell LIKE '%'")]
    if suite is None:
        return cells
    listed = _listed_cells(store, suite)
    return [cell for cell in cells if cell.tags.get("suite") == suite or cell.tags["cell"] in listed]


def _listed_cells(store: "Readable", suite: str) -> set[str]:
    """Return the keys of the cells that the runs of a suite list."""
    if isinstance(store, OwnStore):
        tags = store.suite_tags()
    else:
        tags = [run.data.tags for run in _search(store, "tags.kind = 'suite'")]
    mine = [values for values in tags if values.get("suite") == suite]
    lists = [value for values in mine for name, value in values.items() if name.startswith(CELL_LIST)]
    return {key for keys in lists for key in keys.split()}


def _search(store: "Store", query: str) -> "list[Run]":
    """Return all runs that fit a query, newest first."""
    if not store.experiment_id:
        return []
    runs: list[Run] = []
    token = None
    from eggan.tracking.store import STORE_ERRORS

    try:
        while True:
            found = store.client.search_runs(
                [store.experiment_id],
                query,
                max_results=PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            runs += found
            token = found.token
            if not token:
                return runs
    except STORE_ERRORS as error:
        raise UserError(f"the tracking store cannot be read: {first_line(error)}") from None


def download_artifacts(store: "Readable", run_id: str, name: str, destination: Path) -> Path | None:
    """Return the run's artifact (file or folder) `name`, copied under `destination` unless it lies on this
    machine; None where the run has none. It must not be written to.
    """
    if isinstance(store, OwnStore):
        return store.artifact(run_id, name)
    from eggan.tracking.store import STORE_ERRORS

    try:
        if not any(entry.path == name for entry in store.client.list_artifacts(run_id)):
            return None
        return Path(store.client.download_artifacts(run_id, name, str(destination)))
    except STORE_ERRORS as error:
        raise UserError(f"the artifacts of run {run_id} cannot be read: {first_line(error)}") from None


def metric_history(store: "Readable", run_id: str, name: str) -> list[tuple[int, float]]:
    """Return (step, value) of one metric of a run, by step."""
    if isinstance(store, OwnStore):
        return sorted(store.history(run_id, name))
    from eggan.tracking.store import STORE_ERRORS

    try:
        return sorted((point.step, point.value) for point in store.client.get_metric_history(run_id, name))
    except STORE_ERRORS as error:
        raise UserError(f"metric {name!r} of run {run_id} cannot be read: {first_line(error)}") from None


def _cell(run: "Run") -> TrackedCell:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    return TrackedCell(
        run_id=run.info.run_id,
        tags=dict(run.data.tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        datasets={entry.dataset.name: entry.dataset.digest for entry in inputs},
        started_ms=run.info.start_time or 0,
        ended_ms=run.info.end_time or 0,
        artifact_uri=run.info.artifact_uri or "",
    )
