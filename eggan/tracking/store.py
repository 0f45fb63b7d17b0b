"""Opening a tracking store: where it is, that it answers, and that its schema is created once."""

import fcntl
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from eggan.errors import UserError

# MLflow reads these when a call is made. Its defaults retry a dead server for four minutes per call.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

EXPERIMENT = "eggan-benchmark"
PROBE_SECONDS = 5.0
PORTS = {"https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
SQLITE_WAIT_SECONDS = 60  # how long a writer waits for another one's lock; SQLite's own default is 5
STORE_ERRORS = (MlflowException, SQLAlchemyError, OSError)


@dataclass(frozen=True)
class Store:
    """An open store: its address, a client, and the experiment that runs go to."""

    uri: str
    experiment_id: str
    client: MlflowClient


def default_uri(runs: Path) -> str:
    """Return MLFLOW_TRACKING_URI if it is set, else the SQLite file in the `runs` folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(runs / 'mlflow.db').resolve()}"


def open_store(uri: str | None, runs: Path, experiment: str = EXPERIMENT) -> Store:
    """Open the store at `uri` (None: `default_uri(runs)`), creating schema and experiment where they are
    missing.

    A store that does not answer is a `UserError` within about ten seconds.
    """
    uri = uri or default_uri(runs)
    _check_address(uri)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with _only_process(runs / ".store.lock"):
            # mlflow.set_tracking_uri would write MLFLOW_TRACKING_URI, and other folders would end up here
            client = MlflowClient(tracking_uri=_with_timeout(uri))
            experiment_id = _experiment(client, experiment, uri, runs)
    except (*STORE_ERRORS, ImportError) as error:  # ImportError: a database whose driver is not installed
        raise UserError(f"{_unusable(uri)}: {first_line(error)}") from None
    return Store(uri, experiment_id, client)


def _unusable(uri: str) -> str:
    return f"cannot use the tracking store {_without_password(uri)} (start it, or run --offline, sync later)"


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


def first_line(error: BaseException) -> str:
    """Return what an error says, on one line of bounded length."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _check_address(uri: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        raise UserError(f"{uri!r} is not a tracking URI: use sqlite:///FILE or http://HOST:PORT")
    if not parts.hostname:
        return
    try:
        port = parts.port or PORTS.get(parts.scheme.partition("+")[0], 80)
        socket.create_connection((parts.hostname, port), timeout=PROBE_SECONDS).close()
    except (OSError, ValueError, UnicodeError) as error:
        raise UserError(f"{_unusable(uri)}: {first_line(error)}") from None


def _with_timeout(uri: str) -> str:
    if uri.startswith("sqlite:///") and "?" not in uri:
        return f"{uri}?timeout={SQLITE_WAIT_SECONDS}"
    return uri


@contextmanager
def _only_process(lock: Path) -> Iterator[None]:
    """Hold an exclusive lock: two processes that create one SQLite schema at once break each other."""
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _experiment(client: MlflowClient, name: str, uri: str, runs: Path) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        local = uri.startswith("sqlite:")  # a server decides itself where artifacts go
        location = (runs / "artifacts").resolve().as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=location))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def describe(uri: str | None, runs: Path = Path("runs")) -> str:
    """Return one line about the store at `uri`: its address and number of runs; creates nothing.

    A store that does not answer is a `UserError`.
    """
    uri = uri or default_uri(runs)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///").partition("?")[0]).exists():
        return f"{uri} (not there yet: the first run creates it)"
    store = open_store(uri, runs)
    count = len(store.client.search_runs([store.experiment_id], "tags.cell LIKE '%'", max_results=1000))
    return f"{_without_password(uri)} ({count} cells)"


def server_command(uri: str, runs: Path, host: str, port: int) -> list[str]:
    """Return the command line that serves the MLflow UI over the store at `uri`."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--artifacts-destination", str((runs / "artifacts").resolve())]
    return [*command, "--host", host, "--port", str(port), "--workers", "1"]
