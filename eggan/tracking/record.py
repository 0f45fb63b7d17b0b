"""What a run's folder holds: `run.json` says what the run is, `metrics.jsonl` every logged value in order."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eggan import files
from eggan.errors import UserError
from eggan.files import locked, write_json

RECORD_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
SHIPPED_FILE = "tracking.json"  # what each store has of the run
CELL_LIST = "cells."  # start of the tags in which a suite's run lists its cells' keys; they may change
LATER_COMMITS = "later_commits"  # tag: what went on with the run, in order, where its first commit did not


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


KINDS: Mapping[str, tuple[type, ...]] = {  # of the values of a record's fields in JSON
    **dict.fromkeys(("name", "state", "reason"), (str,)),
    **dict.fromkeys(("tags", "params"), (dict,)),
    **dict.fromkeys(("datasets", "artifacts"), (list,)),
    "parent": (str, type(None)),
    "started_ms": (int,),
    "ended_ms": (int, type(None)),
}


def read_record(folder: Path) -> RunRecord | None:
    """Return the record of the run in `folder`, None where there is none; any other file is a `UserError`."""
    values = read_json(folder / RECORD_FILE)
    if values is None:
        return None
    if not _is_record(values):
        raise UserError(
            f"{folder / RECORD_FILE} is no record of a run: move it away, or choose another folder"
        )
    return RunRecord(**values)


def readable_record(folder: Path) -> RunRecord | None:
    """Return the record of the run in `folder`, None where it is missing or damaged."""
    try:
        return read_record(folder)
    except UserError:
        return None


def _is_record(values: Any) -> bool:
    """Return whether a JSON value has a record's fields, and only those, with their kinds of values."""
    if not isinstance(values, dict) or not {"name", "tags"} <= values.keys() <= KINDS.keys():
        return False
    if not all(isinstance(value, KINDS[name]) for name, value in values.items()):
        return False
    texts = *values["tags"].values(), *values.get("params", {}).values(), *values.get("artifacts", [])
    entries = values.get("datasets", [])
    return all(isinstance(text, str) for text in texts) and all(isinstance(entry, dict) for entry in entries)


def write_record(record: RunRecord, folder: Path) -> None:
    """Write `run.json` atomically."""
    write_json(asdict(record), folder / RECORD_FILE)


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, None where there is none; a damaged one is a `UserError`."""
    try:
        return files.read_json(path)
    except FileNotFoundError:
        return None
    except ValueError:
        raise UserError(f"{path} is damaged: restore it, or remove it") from None


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


def logged_values(folder: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a run's metrics log: mappings with `step`, `time_ms` and `values`.

    A last line without its end is left out, and left alone: the run's own process may be writing it. Any
    other line that is none of these is a `UserError`.
    """
    path = folder / METRICS_FILE
    if not path.exists():
        return []
    text = path.read_bytes()
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    return [_logged(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def _logged(line: bytes, where: str) -> dict[str, Any]:
    try:
        logged = json.loads(line)
        kinds = isinstance(logged["step"], int), isinstance(logged["time_ms"], int)
        if not all(kinds) or not all(map(files.is_number, logged["values"].values())):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError(f"{where} is no logged value: remove the line, or move the file away") from None
    return dict(logged)


def ship_lock(folder: Path) -> AbstractContextManager[None]:
    """Hold what is remembered of a run's shipping: its own process and a sync may be at it at once."""
    return locked(folder / ".ship.lock")
