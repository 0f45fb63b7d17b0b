"""Reading tracked cells back: what reports stand on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault(
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"
)  # a bar per file drowns the one that counts

from eggan.errors import UserError
from eggan.tracking.address import first_line
from eggan.tracking.record import CELL_LIST

if TYPE_CHECKING:  # a report of an exported frame needs no MLflow
    from mlflow.entities import Run

    from eggan.tracking.store import Store

PAGE = 500


@dataclass(frozen=True)
class TrackedCell:
    """One cell's run in a store; `datasets` maps name to digest, times are in milliseconds."""

    run_id: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    datasets: Mapping[str, str]
    started_ms: int
    ended_ms: int
    artifact_uri: str = ""


def search_cells(store: "Store", suite: str | None = None) -> list[TrackedCell]:
    """Return the cells' runs (those with a `cell` tag) of a suite, or of all suites, newest first.

    A suite's cells are those that it ran and those that its own run lists: another suite may have run these.
    """
    cells = [_cell(run) for run in _search(store, "tags.cell LIKE '%'")]
    if suite is None:
        return cells
    listed = _listed_cells(store, suite)
    return [cell for cell in cells if cell.tags.get("suite") == suite or cell.tags["cell"] in listed]


def _listed_cells(store: "Store", suite: str) -> set[str]:
    """Return the keys of the cells that the runs of a suite list."""
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


def download_artifacts(store: "Store", run_id: str, name: str, destination: Path) -> Path | None:
    """Copy the run's artifact (file or folder) `name` under `destination`; None where the run has none."""
    from eggan.tracking.store import STORE_ERRORS

    try:
        if not any(entry.path == name for entry in store.client.list_artifacts(run_id)):
            return None
        return Path(store.client.download_artifacts(run_id, name, str(destination)))
    except STORE_ERRORS as error:
        raise UserError(f"the artifacts of run {run_id} cannot be read: {first_line(error)}") from None


def metric_history(store: "Store", run_id: str, name: str) -> list[tuple[int, float]]:
    """Return (step, value) of one metric of a run, by step."""
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
