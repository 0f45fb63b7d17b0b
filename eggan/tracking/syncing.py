"""Shipping whatever lies below a folder: suites, cells, single trainings, studies with trials and re-runs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from eggan.errors import UserError
from eggan.progress import progress_bar
from eggan.tracking.address import EXPERIMENT, SINGLE, STUDIES, first_line
from eggan.tracking.presence import close_dead
from eggan.tracking.record import RECORD_FILE, RunRecord, read_record
from eggan.tracking.ship import missing_artifacts, ship_folder
from eggan.tracking.store import STORE_ERRORS, Store, sibling_store

EXPERIMENT_OF_KIND = {"suite": EXPERIMENT, "cell": EXPERIMENT} | dict.fromkeys(
    ("study", "trial", "rerun"), STUDIES
)


@dataclass
class Synced:
    """What was shipped: run ids by folder; `left` holds, by reason, what was not, or not with all files."""

    runs: dict[Path, str] = field(default_factory=dict)
    left: dict[str, list[Path]] = field(default_factory=dict)


def sync(folders: Iterable[Path], store: Store, runs: Path) -> Synced:
    """Ship every run below `folders` to a store, each to the experiment of its kind; dead ones say so first.

    `runs` is the folder in which a local store keeps its artifacts. A damaged record is left out; a store
    that stops answering is a `UserError`.
    """
    done, stores, folders = Synced(), dict[str, Store](), list(folders)
    close_dead(folders)
    found = list(dict.fromkeys(path.parent for top in folders for path in sorted(top.rglob(RECORD_FILE))))
    for folder in progress_bar(found, len(found), "ship runs", "run"):
        try:
            record = read_record(folder)
            if record is None:  # it was moved aside meanwhile
                continue
            name = experiment_of(record)
            if name not in stores:
                stores[name] = sibling_store(store, name, runs)
            done.runs[folder] = ship_folder(folder, stores[name])
            missing = missing_artifacts(folder, store.uri)
        except STORE_ERRORS as error:
            raise UserError(
                f"the tracking store stopped answering ({first_line(error)}): sync again later"
            ) from None
        except UserError as damaged:
            missing = str(damaged)
        if missing is not None:
            done.left.setdefault(missing, []).append(folder)
    return done


def experiment_of(record: RunRecord) -> str:
    """Return the experiment that runs of a record's kind go to."""
    return EXPERIMENT_OF_KIND.get(record.tags.get("kind", ""), SINGLE)
