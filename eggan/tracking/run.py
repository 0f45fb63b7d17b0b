"""One run: a local folder that is written first, and its copy in a tracking store.

`run.json` says what the run is, `metrics.jsonl` holds every logged value in order, `tracking.json` remembers
per store what has been shipped. `ship_folder` brings a store up to date from the folder alone.
"""

import dataclasses
import fcntl
import json
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from eggan.tracking.store import STORE_ERRORS, Store, first_line

STATUS = {
    "finished": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
    "pruned": "KILLED",  # MLflow has no word for a trial that was stopped early; the tag `state` does
    "running": "RUNNING",
}
METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 5000
DIGEST_CHARACTERS = 36
CELL_LIST = "cells."  # start of the tags in which a suite's run lists its cells' keys; they may change
SHIP_EVERY_SECONDS = 15.0
FIRST_PAUSE_SECONDS = 60.0  # after a failed attempt; doubled by each further one


@dataclass(frozen=True)
class RunRecord:
    """What a run is. `parent` is the folder of the parent run, relative to the run's folder.

    `datasets` are mappings with `name`, `digest`, `context` and free further entries that say how to build
    it. `artifacts` are glob patterns inside the folder.
    """

    name: str
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    datasets: list[dict[str, str]] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    parent: str | None = None
    state: str = "running"
    reason: str = ""
    started_ms: int = 0
    ended_ms: int | None = None


def _write_json(path: Path, value: Any) -> None:
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    staging.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    os.replace(staging, path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def read_record(folder: Path) -> RunRecord | None:
    """Return the record of the run in `folder`, None where there is none."""
    values = _read_json(folder / "run.json")
    return None if values is None else RunRecord(**values)


def flat_params(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested mappings into `group.field -> text`, as MLflow params want them."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flat_params(value, f"{name}.")
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value)
    return flat


class TrackedRun:
    """Writes a run's folder and ships it to `store` now and then; no store error ever leaves this class.

    `sync` is the command that ships the run later, for the warning about a store that is down.
    """

    def __init__(
        self, folder: Path, record: RunRecord, store: Store | None, sync: str = "eggan bench sync"
    ) -> None:
        self.folder = folder
        self.store = store
        self.sync = sync
        folder.mkdir(parents=True, exist_ok=True)
        before = read_record(folder)
        started = before.started_ms if before else int(time.time() * 1000)
        self.record = dataclasses.replace(record, started_ms=started)
        _write_json(folder / "run.json", dataclasses.asdict(self.record))
        self._last_step = _last_steps(folder / "metrics.jsonl")
        self._next_attempt = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self.ship()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append metric values; a name's steps that were logged before a resume are not logged again."""
        fresh = {name: value for name, value in values.items() if step > self._last_step.get(name, -1)}
        if not fresh:
            return
        self._last_step |= dict.fromkeys(fresh, step)
        line = json.dumps({"step": step, "time_ms": int(time.time() * 1000), "values": fresh})
        with (self.folder / "metrics.jsonl").open("a") as stream:
            stream.write(line + "\n")
        if time.monotonic() >= self._next_attempt:
            self.ship()

    def finish(self, state: str, reason: str = "") -> None:
        """Set the final state (`finished`, `failed`, `interrupted`, `pruned`) with its reason; ship all."""
        ended = int(time.time() * 1000)
        self.record = dataclasses.replace(self.record, state=state, reason=reason, ended_ms=ended)
        _write_json(self.folder / "run.json", dataclasses.asdict(self.record))
        self.ship()

    def ship(self) -> bool:
        """Try to bring the store up to date; return whether it is. A failure is warned of and retried
        later.
        """
        if self.store is None:
            return False
        try:
            ship_folder(self.folder, self.store)
        except STORE_ERRORS as error:
            warnings.warn(
                f"the tracking store does not take this run ({first_line(error)}); it is kept in "
                f"{self.folder}, and `{self.sync}` ships it later",
                stacklevel=2,
            )
            self._next_attempt = time.monotonic() + self._pause
            self._pause *= 2
            return False
        self._next_attempt = time.monotonic() + SHIP_EVERY_SECONDS
        self._pause = FIRST_PAUSE_SECONDS
        return True


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a metrics log; a last line cut off by a kill is dropped from the file."""
    if not path.exists():
        return []
    text = path.read_bytes()
    complete = text[: text.rfind(b"\n") + 1]
    if len(complete) < len(text):
        with path.open("r+b") as stream:
            stream.truncate(len(complete))
    return [json.loads(line) for line in complete.splitlines()]


def _last_steps(path: Path) -> dict[str, int]:
    last: dict[str, int] = {}
    for line in _lines(path):
        for name in line["values"]:
            last[name] = max(line["step"], last.get(name, -1))
    return last


def run_id_in(folder: Path, uri: str) -> str | None:
    """Return the run id that `folder` has in the store at `uri`, None if it was never shipped there."""
    return (_read_json(folder / "tracking.json") or {}).get(uri, {}).get("run_id")


def adopt_run(folder: Path, store: Store, run_id: str) -> None:
    """Let `folder` stand for a run that another machine created in `store`, unless it has its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with _ledger(folder, store.uri) as ledger:
        if "run_id" not in ledger:
            ledger.update(run_id=run_id, params=True)


def ship_folder(folder: Path, store: Store) -> str:
    """Bring `store` up to date with the run in `folder` and return the run id.

    Repeatable: what the store has is not sent again. Raises MLflow's, SQLAlchemy's or the system's error.
    """
    record = read_record(folder)
    if record is None:
        raise FileNotFoundError(f"{folder} holds no run record")
    with _ledger(folder, store.uri) as ledger:
        if not _exists(store, ledger.get("run_id")):
            ledger.clear()
            ledger["run_id"] = _create(folder, record, store)
        run_id = str(ledger["run_id"])
        _ship_cell_list(record, run_id, store, ledger)
        _ship_params(record, run_id, store, ledger)
        _ship_metrics(folder, run_id, store, ledger)
        if record.state != "running":
            _ship_artifacts(folder, record, run_id, store, ledger)
        _ship_state(record, run_id, store, ledger)
        return run_id


@contextmanager
def _ledger(folder: Path, uri: str) -> Iterator[dict[str, Any]]:
    """Lend what has been shipped to `uri`, under a lock; it is stored again even when shipping breaks off."""
    with (folder / ".ship.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ledgers = _read_json(folder / "tracking.json") or {}
        ledger = ledgers.setdefault(uri, {})
        try:
            yield ledger
        finally:
            _write_json(folder / "tracking.json", ledgers)


def _exists(store: Store, run_id: str | None) -> bool:
    if run_id is None:
        return False
    try:
        return bool(store.client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _create(folder: Path, record: RunRecord, store: Store) -> str:
    tags = {name: value[:TAG_CHARACTERS] for name, value in record.tags.items()}
    if record.parent is not None:
        tags["mlflow.parentRunId"] = ship_folder((folder / record.parent).resolve(), store)
    run = store.client.create_run(
        store.experiment_id, start_time=record.started_ms, tags=tags, run_name=record.name
    )
    return str(run.info.run_id)


def _ship_cell_list(record: RunRecord, run_id: str, store: Store, ledger: dict[str, Any]) -> None:
    """Send the tags that list cells where they changed; all other tags are of the run's creation."""
    listed = {name: value for name, value in record.tags.items() if name.startswith(CELL_LIST)}
    if listed == ledger.get("cells", {}):
        return
    store.client.log_batch(
        run_id, tags=[RunTag(name, value[:TAG_CHARACTERS]) for name, value in listed.items()]
    )
    ledger["cells"] = listed


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
    lines = _lines(folder / "metrics.jsonl")
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


def _ship_artifacts(
    folder: Path, record: RunRecord, run_id: str, store: Store, ledger: dict[str, Any]
) -> None:
    shipped = ledger.setdefault("artifacts", {})
    for path in sorted(
        {path for pattern in record.artifacts for path in folder.glob(pattern) if path.is_file()}
    ):
        name = path.relative_to(folder)
        stamp = f"{path.stat().st_size}:{path.stat().st_mtime_ns}"
        if shipped.get(name.as_posix()) == stamp:
            continue
        inside = name.parent.as_posix()
        store.client.log_artifact(run_id, str(path), None if inside == "." else inside)
        shipped[name.as_posix()] = stamp


def _ship_state(record: RunRecord, run_id: str, store: Store, ledger: dict[str, Any]) -> None:
    told = [record.state, record.reason]
    if ledger.get("state") == told:
        return
    tags = [RunTag("state", record.state), RunTag("reason", record.reason[:TAG_CHARACTERS])]
    store.client.log_batch(run_id, tags=tags)
    if record.state == "running":
        store.client.update_run(run_id, status="RUNNING")
    else:
        store.client.set_terminated(run_id, STATUS[record.state], record.ended_ms)
    ledger["state"] = told
