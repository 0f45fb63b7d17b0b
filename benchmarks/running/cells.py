"""Cells: one (dataset, method, config, seed) each, named by a hash of everything that decides the result."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.suites.former_names import is_of_twin
from eggan.config import content_hash
from eggan.files import Holder, is_locked, is_number, lock_holder, read_json, try_lock, write_json
from eggan.tracking import TrackedRun, read_record, ship_or_warn
from eggan.tracking.presence import DIED

if TYPE_CHECKING:  # torch takes seconds to import, and a state is read without it
    from benchmarks.suites.methods import Entry
    from benchmarks.suites.suite import Row
    from eggan.tracking import Store

KEY_CHARACTERS = 20
TRAINED = "trained"  # key of cell.json: training costs, once the training has reached its end
WEIGHTS_OF = "weights_of"  # key of cell.json: the note on whose training a cell scores
LOCK = ".lock"
KINDS: Mapping[str, tuple[type, ...]] = {  # of the values of cell.json, where they are no numbers
    **dict.fromkeys(("key", "state", "reason", "name", WEIGHTS_OF), (str,)),
    "spec": (dict,),
    "alarms": (list,),
    TRAINED: (dict, type(None)),
    "mlflow_run_id": (str, type(None)),
}
SPEC_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("suite", "title", "method", "dataset"), (str,)),
    **dict.fromkeys(("method_version", "image_size", "seed"), (int,)),
    **dict.fromkeys(("config", "training", "protocol", "datasets", "instruments", "pairs"), (dict,)),
}


@dataclass(frozen=True)
class CellSpec:
    """What decides a cell's result; `suite` and `title` only label it.

    `config` and `training` are plain mappings (empty for references); `datasets`, `instruments`, `pairs` map
    a role to a sha256.
    """

    suite: str
    title: str
    method: str
    method_version: int
    dataset: str
    image_size: int
    seed: int
    config: dict[str, Any]
    training: dict[str, Any]
    protocol: dict[str, Any]
    datasets: dict[str, str]
    instruments: dict[str, str]
    pairs: dict[str, str]

    @property
    def key(self) -> str:
        """The cell's name: a hash of all fields but the labels."""
        deciding = {
            name: value for name, value in asdict(self).items() if name not in ("suite", "title", "dataset")
        }
        return content_hash(deciding)[:KEY_CHARACTERS]

    @property
    def name(self) -> str:
        """The run's name, such as `eggan/synfacs-64/s0`."""
        return f"{self.method}/{self.dataset}/s{self.seed}"


@dataclass(frozen=True)
class PlannedCell:
    """One cell of a suite: its row, the row's method and its full specification."""

    row: "Row"
    entry: "Entry"
    spec: CellSpec


@dataclass(frozen=True)
class CellStatus:
    """What `cell.json` says, corrected for a process that died."""

    key: str
    state: str
    reason: str
    values: dict[str, Any]


def read_status(folder: Path) -> CellStatus:
    """Return a cell's status; `pending` where there is none, `interrupted` where its process is gone."""
    try:
        values = read_json(folder / "cell.json")
    except FileNotFoundError:
        return CellStatus(folder.name, "pending", "", {})
    except ValueError:
        return CellStatus(folder.name, "failed", "cell.json is corrupted", {})
    if not _has_its_kinds(values):
        return CellStatus(folder.name, "failed", "cell.json is corrupted", {})
    state, reason = values["state"], values.get("reason", "")
    if state == "running" and not is_claimed(folder):
        state, reason = "interrupted", DIED
    return CellStatus(folder.name, state, reason, values)


def _has_its_kinds(values: Any) -> bool:
    """Return whether a JSON value has a state, and what it has beside is of the kind that is written.

    A specification may lack fields: earlier versions had fewer.
    """
    if not isinstance(values, dict) or "state" not in values or not _are(values, KINDS):
        return False
    numbers = [values.get("seconds", 0), values.get("peak_memory_mib", 0)]
    numbers += (values.get(TRAINED) or {}).values()
    texts = [*values.get("alarms", []), *values.get("spec", {}).get("datasets", {}).values()]
    all_texts = all(isinstance(text, str) for text in texts)
    return _are(values.get("spec", {}), SPEC_KINDS) and all_texts and all(map(is_number, numbers))


def _are(values: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> bool:
    return all(isinstance(values[name], kind) for name, kind in kinds.items() if name in values)


def write_status(folder: Path, state: str, **values: Any) -> None:
    """Update `cell.json`: the state, and further values beside those it has."""
    before = read_status(folder).values
    write_json(before | {"reason": "", **values, "key": folder.name, "state": state}, folder / "cell.json")


def claim(folder: Path) -> AbstractContextManager[bool]:
    """Hold a cell for this process; lends False where another one holds it. Freed by the system when we
    die.
    """
    return try_lock(folder / LOCK)


def is_claimed(folder: Path) -> bool:
    """Return whether a living process holds the cell; asking is in nobody's way."""
    return is_locked(folder / LOCK)


def claimed_by(folder: Path) -> Holder | None:
    """Return who holds the cell, None where nobody does."""
    return lock_holder(folder / LOCK)


def settle(folder: Path, store: "Store | None") -> None:
    """Let the run record of a cell that no process holds tell its true end, and ship it where that is not
    done.

    A process may have died before it could; `cell.json` and its lock know better.
    """
    record, status = read_record(folder), read_status(folder)
    if record is None:
        return
    if record.state != status.state:
        write_status(folder, status.state, reason=status.reason)
        TrackedRun(folder, record, store).finish(status.state, status.reason)
    elif store is not None:
        ship_or_warn(folder, store)


def all_cells(runs: Path) -> list[Path]:
    """Return the folders of all cells, finished or not."""
    return sorted(path.parent for path in (runs / "cells").glob("*/cell.json"))


def former_cells(runs: Path) -> int:
    """Return how many trained cells below `runs` are of the suite that had the name `standard` before."""
    specs = (read_status(folder).values.get("spec", {}) for folder in all_cells(runs))
    return sum(
        is_of_twin(
            spec.get("suite", ""),
            spec.get("method", ""),
            bool(spec.get("training")),
            spec.get("datasets", ()),
        )
        for spec in specs
    )


def folder_mib(folder: Path) -> float:
    """Return the size of a folder's files in MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
