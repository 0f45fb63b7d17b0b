"""Bringing a store up to date with a run's folder: repeatable, so that a store may be away for a while.

`tracking.json` remembers per store what it has. A run's state goes before its artifacts: where these cannot
be stored the run still says how it ended.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path

from eggan.config import content_hash
from eggan.errors import UserError
from eggan.files import write_json
from eggan.tracking.address import sqlite_file, without_password
from eggan.tracking.record import (
    CELL_LIST,
    LATER_COMMITS,
    SHIPPED_FILE,
    RunRecord,
    logged_values,
    read_json,
    read_record,
    ship_lock,
)
from eggan.tracking.store import STORE_ERRORS, Store, first_line

STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "pruned": "KILLED",  # MLflow has no word for a trial that was stopped early; the tag `state` does
    "running": "RUNNING",
}
UNFINISHED_UPLOAD = ".artifact.uploading."  # start of the names of MLflow's own staging files
METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 5000
DIGEST_CHARACTERS = 36
ABOVE = "above:"  # start of the name of a store that lies in a folder above the run's
ORIGIN = "eggan.origin"  # tag: which record a run was created for
MISSING_ARTIFACTS = "artifacts_missing"  # tag: why the store has not all artifacts of a run


def run_id_in(folder: Path, uri: str) -> str | None:
    """Return the run id that `folder` has in the store at `uri`, None if it was never shipped there."""
    return _shipped_to(folder, uri).get("run_id")


def missing_artifacts(folder: Path, uri: str) -> str | None:
    """Return why the store at `uri` has not all artifacts of the run in `folder`, None where it has."""
    return _shipped_to(folder, uri).get(MISSING_ARTIFACTS)


def _shipped_to(folder: Path, uri: str) -> dict[str, Any]:
    return dict(_entry(_ledgers(folder), folder, uri))


def _ledgers(folder: Path) -> dict[str, Any]:
    ledgers = read_json(folder / SHIPPED_FILE)
    if ledgers is None:
        return {}
    if not isinstance(ledgers, dict) or not all(isinstance(entry, dict) for entry in ledgers.values()):
        raise UserError(f"{folder / SHIPPED_FILE} is damaged: restore it, or remove it")
    return ledgers


def _entry(ledgers: dict[str, Any], folder: Path, uri: str) -> dict[str, Any]:
    """Return the part of `tracking.json` for one store; a store above the folder is known by its name.

    So a runs folder that was moved or copied goes on with the store in it. Earlier versions wrote addresses.
    """
    file = sqlite_file(uri)
    if file is None or file.resolve().parent not in folder.resolve().parents:
        return _named_entry(ledgers, without_password(uri), [uri])
    earlier = [key for key in ledgers if (sqlite_file(key) or Path()).name == file.name]
    return _named_entry(ledgers, f"{ABOVE}{file.name}", earlier[-1:])


def _named_entry(ledgers: dict[str, Any], key: str, earlier: list[str]) -> dict[str, Any]:
    if key not in ledgers:
        ledgers[key] = next((ledgers.pop(old) for old in earlier if old in ledgers), {})
    entry: dict[str, Any] = ledgers[key]
    return entry


def adopt_run(folder: Path, store: Store, run_id: str) -> None:
    """Let `folder` stand for a run that another machine created in `store`, unless it has its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with ship_lock(folder), _ledger(folder, store.uri) as ledger:
        if "run_id" not in ledger:
            ledger.update(run_id=run_id, params=True)


def ship_folder(folder: Path, store: Store) -> str:
    """Bring `store` up to date with the run in `folder` and return the run id.

    Repeatable: what the store has is not sent again. Raises MLflow's, SQLAlchemy's or the system's error;
    artifacts that cannot be stored are none: `missing_artifacts` says why.
    """
    with ship_lock(folder):
        record = read_record(folder)
        if record is None:
            raise FileNotFoundError(f"{folder} holds no run record")
        with _ledger(folder, store.uri) as ledger:
            if not _exists(store, ledger.get("run_id")):
                ledger.clear()
                ledger["run_id"] = _created_before(record, store) or _create(folder, record, store)
            run_id = str(ledger["run_id"])
            _ship_changing_tags(record, run_id, store, ledger)
            _ship_params(record, run_id, store, ledger)
            _ship_metrics(folder, run_id, store, ledger)
            _ship_state(record, run_id, store, ledger)
            if record.state != "running":
                _ship_artifacts(folder, record, run_id, store, ledger)
            return run_id


@contextmanager
def _ledger(folder: Path, uri: str) -> Iterator[dict[str, Any]]:
    """Lend what has been shipped to `uri`; it is stored again even when shipping breaks off."""
    ledgers = _ledgers(folder)
    try:
        yield _entry(ledgers, folder, uri)
    finally:
        write_json(ledgers, folder / SHIPPED_FILE)


def _exists(store: Store, run_id: str | None) -> bool:
    if run_id is None:
        return False
    try:
        return bool(store.client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _created_before(record: RunRecord, store: Store) -> str | None:
    """Return the id of the run that a process created for this record before it was killed."""
    mine = f"tags.`{ORIGIN}` = '{_origin(record)}'"
    found = store.client.search_runs([store.experiment_id], mine, max_results=1)
    return str(found[0].info.run_id) if found else None


def _origin(record: RunRecord) -> str:
    """Return what names a record in every store: no two begin at one millisecond under one name."""
    return content_hash([record.name, record.started_ms, record.tags.get("cell", "")])


def _create(folder: Path, record: RunRecord, store: Store) -> str:
    tags = {name: value[:TAG_CHARACTERS] for name, value in record.tags.items()}
    tags[ORIGIN] = _origin(record)
    if record.parent is not None and read_record(folder / record.parent) is not None:
        tags["mlflow.parentRunId"] = ship_folder((folder / record.parent).resolve(), store)
    run = store.client.create_run(
        store.experiment_id, start_time=record.started_ms, tags=tags, run_name=record.name
    )
    return str(run.info.run_id)


def _ship_changing_tags(record: RunRecord, run_id: str, store: Store, ledger: dict[str, Any]) -> None:
    """Send the tags that another sitting may change, where it did; all others are of the run's creation."""
    changing = {
        name: value
        for name, value in record.tags.items()
        if name.startswith(CELL_LIST) or name in (LATER_COMMITS, "dirty")
    }
    if changing == ledger.get("cells", {}):
        return
    store.client.log_batch(
        run_id, tags=[RunTag(name, value[:TAG_CHARACTERS]) for name, value in changing.items()]
    )
    ledger["cells"] = changing


def _ship_params(record: RunRecord, run_id: str, store: Store, ledger: dict[str, Any]) -> None:
    if ledger.get("params"):
        return
    params = [Param(name, value[:PARAM_CHARACTERS]) for name, value in record.params.items()]
    for start in range(0, len(params), PARAMS_PER_CALL):
        store.client.log_batch(run_id, params=params[start : start + PARAMS_PER_CALL])
    if record.datasets:
        store.client.log_inputs(run_id, [_dataset_input(entry) for entry in record.datasets])
    ledger["params"] = True


def _dataset_input(entry: dict[str, str]) -> DatasetInput:
    free = {name: value for name, value in entry.items() if name not in ("name", "digest", "context")}
    source = CodeDatasetSource(tags=free)
    # MetaDataset leaves `profile` to the base class's default, which mypy takes for missing
    dataset = MetaDataset(  # type: ignore[abstract]
        source=source, name=entry["name"], digest=entry["digest"][:DIGEST_CHARACTERS]
    )
    return DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", entry["context"])])


def _ship_metrics(folder: Path, run_id: str, store: Store, ledger: dict[str, Any]) -> None:
    lines = logged_values(folder)
    batch: list[Metric] = []
    for number, line in enumerate(lines[ledger.get("lines", 0) :], start=ledger.get("lines", 0) + 1):
        batch += [
            # MLflow turns infinity into 1.8e308, which no plot survives
            Metric(name, value if math.isfinite(value) else math.nan, line["time_ms"], line["step"])
            for name, value in line["values"].items()
        ]
        if len(batch) >= METRICS_PER_CALL // 2 or number == len(lines):
            store.client.log_batch(run_id, metrics=batch)
            ledger["lines"] = number
            batch = []


def _ship_state(record: RunRecord, run_id: str, store: Store, ledger: dict[str, Any]) -> None:
    state = [record.state, record.reason]
    if ledger.get("state") == state:
        return
    tags = [RunTag("state", record.state), RunTag("reason", record.reason[:TAG_CHARACTERS])]
    store.client.log_batch(run_id, tags=tags)
    if record.state == "running":
        store.client.update_run(run_id, status="RUNNING")
    else:
        store.client.set_terminated(run_id, STATUS[record.state], record.ended_ms)
    ledger["state"] = state


def _ship_artifacts(
    folder: Path, record: RunRecord, run_id: str, store: Store, ledger: dict[str, Any]
) -> None:
    """Send the artifacts; a place that takes none is kept as a tag of the run, and tried again by a sync."""
    reason = None
    try:
        _send_files(folder, record, run_id, store, ledger.setdefault("artifacts", {}))
    except STORE_ERRORS as error:
        reason = first_line(error)
    if reason == ledger.get(MISSING_ARTIFACTS):
        return
    if reason is None:
        store.client.delete_tag(run_id, MISSING_ARTIFACTS)
        del ledger[MISSING_ARTIFACTS]
    else:
        store.client.set_tag(run_id, MISSING_ARTIFACTS, reason)
        ledger[MISSING_ARTIFACTS] = reason


def _sweep_unfinished_uploads(run_id: str, store: Store) -> None:
    """Remove what an upload that was killed left half-written among a run's artifacts, where these are files.

    MLflow hides such files and leaves them. Nobody else uploads: the caller holds the run's lock.
    """
    place = store.client.get_run(run_id).info.artifact_uri
    if urlsplit(place).scheme in ("", "file"):
        for path in Path(local_file_uri_to_path(place)).rglob(f"{UNFINISHED_UPLOAD}*"):
            path.unlink(missing_ok=True)


def _send_files(folder: Path, record: RunRecord, run_id: str, store: Store, shipped: dict[str, str]) -> None:
    _sweep_unfinished_uploads(run_id, store)
    if shipped and not store.client.list_artifacts(run_id):
        shipped.clear()  # they were lost there
    found = {path for pattern in record.artifacts for path in folder.glob(pattern) if path.is_file()}
    for path in sorted(found):
        name = path.relative_to(folder)
        stamp = f"{path.stat().st_size}:{path.stat().st_mtime_ns}"
        if shipped.get(name.as_posix()) == stamp:
            continue
        inside = name.parent.as_posix()
        store.client.log_artifact(run_id, str(path), None if inside == "." else inside)
        shipped[name.as_posix()] = stamp
