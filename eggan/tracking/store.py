"""A tracking store: where it is, that it answers, that its schema is created once, and what is read of it."""

import contextlib
import dataclasses
import logging
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eggan import loopback
from eggan.child_process import python_command
from eggan.errors import UserError
from eggan.files import check_writable, is_writable
from eggan.progress import working
from eggan.tracking import local, score_view
from eggan.tracking.address import (
    EXPERIMENT,
    EXPERIMENTS,
    SQLITE,
    check_address,
    check_answers,
    first_line,
    sqlite_file,
    without_password,
)
from eggan.tracking.no_runs import no_runs
from eggan.tracking.tracked_cell import TrackedCell

# MLflow reads these when a call is made. Its defaults retry a dead server for four minutes per call.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
# A bar per downloaded file drowns the one that counts.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

DATABASE = local.DATABASE
PAGE = 500  # runs per question
STORE_ERRORS = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)


@dataclass(frozen=True)
class Store:
    """An open store: its address, a client, and the experiment that runs go to ("" where it has none yet).

    What it holds is read as `read.Readable` says.
    """

    uri: str
    experiment_id: str
    client: MlflowClient

    def cells(self) -> list[TrackedCell]:
        """Return the runs that have a `cell` tag, newest first."""
        return [_cell(run) for run in self._search("tags.cell LIKE '%'")]

    def suite_tags(self) -> list[dict[str, str]]:
        """Return the tags of the runs of suites."""
        return [run.data.tags for run in self._search("tags.kind = 'suite'")]

    def artifact(self, run_id: str, name: str, scratch: Path) -> Path | None:
        """Return a run's file or folder, downloaded to `scratch` from a store that is not on this machine;
        None where the run has none of that name.
        """
        with _reading(f"the artifacts of run {run_id}"):
            if not any(entry.path == name for entry in self.client.list_artifacts(run_id)):
                return None
            return Path(self.client.download_artifacts(run_id, name, str(scratch)))

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return (step, value) of one metric of a run, by step."""
        with _reading(f"metric {metric!r} of run {run_id}"):
            points = self.client.get_metric_history(run_id, metric)
        return sorted((point.step, point.value) for point in points)

    def _search(self, query: str) -> list[Run]:
        """Return all runs that fit a query, newest first."""
        runs: list[Run] = []
        token: str | None = None
        experiments, order = [self.experiment_id], ["attributes.start_time DESC"]
        while self.experiment_id:
            with _reading("the tracking store"):
                found = self.client.search_runs(experiments, query, ViewType.ACTIVE_ONLY, PAGE, order, token)
            runs += found
            token = found.token
            if not token:
                break
        return runs


def _cell(run: Run) -> TrackedCell:
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


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """Make an error of the store a `UserError`."""
    try:
        yield
    except STORE_ERRORS as error:
        raise UserError(f"{what} cannot be read: {first_line(error)}") from None


def default_uri(runs: Path) -> str:
    """Return MLFLOW_TRACKING_URI if it is set, else the SQLite file in the `runs` folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{(runs / DATABASE).resolve()}"


def open_store(uri: str | None, runs: Path, experiment: str = EXPERIMENT) -> Store:
    """Open the store at `uri` (None: `default_uri(runs)`), creating schema and experiment where they are
    missing.

    A store that does not answer is a `UserError` within about ten seconds.
    """
    uri = uri or default_uri(runs)
    check_address(uri)
    with working(f"opening the tracking store {without_password(uri)}"):
        return _open(uri, runs, experiment)


def _open(uri: str, runs: Path, experiment: str) -> Store:
    _quiet()
    file = sqlite_file(uri)
    try:
        if file is None:
            return _open_server(uri, runs, experiment)
        check_writable(file)  # MLflow tries to open a file that cannot be for two minutes
        file.parent.mkdir(parents=True, exist_ok=True)
        with local.only_process(file.parent):
            client = _open_file(file, uri, runs)
            return Store(uri, _experiment(client, experiment, uri, runs), client)
    except (*STORE_ERRORS, ImportError) as error:  # ImportError: a database whose driver is not installed
        raise UserError(f"{_unusable(uri)}: {first_line(error)}") from None


def read_store(uri: str | None, runs: Path, experiment: str = EXPERIMENT, suite: str | None = None) -> Store:
    """Open a store that is there to read from it; it needs no lock, and may lie where nothing can be written.

    A store that is not there or does not answer is a `UserError`; `suite` is what would be run first.
    """
    uri = uri or default_uri(runs)
    check_address(uri)
    file = sqlite_file(uri)
    if file is not None and not file.is_file():
        raise no_runs(file, runs, suite)
    if file is None or (is_writable(file) and is_writable(file.parent)):
        return open_store(uri, runs, experiment)
    _quiet()
    try:
        is_store, copy = local.check_schema(file), local.private_copy(file)
        if is_store and local.is_own(file, runs):
            local.follow_move(copy, runs, EXPERIMENTS)
        client = MlflowClient(tracking_uri=f"{SQLITE}{copy}")
        found = client.get_experiment_by_name(experiment)
        return Store(f"{SQLITE}{copy}", str(found.experiment_id) if found else "", client)
    except STORE_ERRORS as error:
        raise UserError(f"the tracking store {file} cannot be read: {first_line(error)}") from None


def sibling_store(store: Store, experiment: str, runs: Path) -> Store:
    """Return another experiment of an open store; it is created where it is missing."""
    return dataclasses.replace(store, experiment_id=_experiment(store.client, experiment, store.uri, runs))


def _quiet() -> None:
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _open_server(uri: str, runs: Path, experiment: str) -> Store:
    loopback.exempt_from_proxies()
    check_answers(uri)
    # mlflow.set_tracking_uri would write MLFLOW_TRACKING_URI, and other folders would end up here
    client = MlflowClient(tracking_uri=uri)
    return Store(uri, _experiment(client, experiment, uri, runs), client)


def _open_file(file: Path, uri: str, runs: Path) -> MlflowClient:
    if not local.check_schema(file):
        local.create(file)
    elif local.is_own(file, runs):
        local.follow_move(file, runs, EXPERIMENTS)
    return MlflowClient(tracking_uri=uri if "?" in uri else f"{uri}?timeout={local.BUSY_SECONDS}")


def _unusable(uri: str) -> str:
    return f"cannot use the tracking store {without_password(uri)} (start it, or run --offline, sync later)"


def _experiment(client: MlflowClient, name: str, uri: str, runs: Path) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server decides itself where artifacts go.
        location = local.artifact_place(runs) if sqlite_file(uri) is not None else None
        try:
            made = str(client.create_experiment(name, artifact_location=location))
            _share_view(client, name, made)
            return made
        except MlflowException as error:
            found = client.get_experiment_by_name(name)  # another machine may have been quicker
            if found is None:
                raise error from None
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if score_view.TAG not in found.tags:
        _share_view(client, name, str(found.experiment_id))
    return str(found.experiment_id)


def _share_view(client: MlflowClient, name: str, experiment_id: str) -> None:
    """Give the UI of the benchmark's runs its columns. A store that takes no tag still takes runs."""
    if name == EXPERIMENT:
        with contextlib.suppress(*STORE_ERRORS):
            client.set_experiment_tag(experiment_id, score_view.TAG, score_view.view_state())


def describe(uri: str | None, runs: Path = Path("runs")) -> str:
    """Return one line about the store at `uri`: its address and number of runs; creates nothing.

    A store that does not answer is a `UserError`.
    """
    uri = uri or default_uri(runs)
    check_address(uri)
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        check_writable(file)
        return f"{uri} (not there yet: the first run creates it)"
    store = read_store(uri, runs)
    found = [store.experiment_id] if store.experiment_id else []
    count = len(store.client.search_runs(found, "tags.cell LIKE '%'", max_results=1000)) if found else 0
    return f"{without_password(uri)} ({count} cells)"


def server_command(uri: str, runs: Path, host: str, port: int) -> list[str]:
    """Return the command line that serves the MLflow UI over the store at `uri`."""
    words = [*python_command("mlflow"), "server", "--backend-store-uri", uri]
    words += ["--artifacts-destination", str((runs / local.ARTIFACTS).resolve())]
    return [*words, "--host", host, "--port", str(port), "--workers", "1"]
