"""A run on its way: a local folder that is written first, and its copy in a tracking store."""

import dataclasses
import json
import os
import shlex
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from eggan.errors import UserError
from eggan.files import drop_torn_line
from eggan.options import command
from eggan.tracking.presence import Presence
from eggan.tracking.record import (
    LATER_COMMITS,
    METRICS_FILE,
    RECORD_FILE,
    SHIPPED_FILE,
    RunRecord,
    logged_values,
    read_record,
    ship_lock,
    write_record,
)

if TYPE_CHECKING:  # a run that is tracked in its folder alone needs no MLflow, not even an installed one
    from eggan.tracking.store import Store

SHIP_EVERY_SECONDS = 15.0
FIRST_PAUSE_SECONDS = 60.0  # after a failed attempt; doubled by each further one
BEFORE = "before"  # folder of earlier runs of the same folder
SUPERSEDED = "a training that began anew in its folder took its place"


class TrackedRun:
    """Writes a run's folder and ships it to `store` now and then; no store error ever leaves this class."""

    def __init__(self, folder: Path, record: RunRecord, store: "Store | None") -> None:
        self.folder = folder
        self.store = store
        folder.mkdir(parents=True, exist_ok=True)
        self._presence = Presence(folder)
        before = read_record(folder)
        started = before.started_ms if before else int(time.time() * 1000)
        tags = _commits_joined(before.tags, record.tags) if before else record.tags
        self.record = dataclasses.replace(record, started_ms=started, tags=tags)
        write_record(self.record, folder)
        self._last_step: dict[str, int] | None = None  # of each name, once something is logged
        self._next_attempt = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self.ship()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append metric values; a name's steps that were logged before a resume are not logged again."""
        if self._last_step is None:
            drop_torn_line(self.folder / METRICS_FILE)
            self._last_step = _last_steps(self.folder)
        fresh = {name: value for name, value in values.items() if step > self._last_step.get(name, -1)}
        if not fresh:
            return
        self._last_step |= dict.fromkeys(fresh, step)
        line = json.dumps({"step": step, "time_ms": int(time.time() * 1000), "values": fresh})
        with (self.folder / METRICS_FILE).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
        if time.monotonic() >= self._next_attempt:
            self.ship()

    def finish(self, state: str, reason: str = "") -> None:
        """Set the final state (`finished`, `failed`, `interrupted`, `pruned`) with its reason; ship all."""
        ended = int(time.time() * 1000)
        self.record = dataclasses.replace(self.record, state=state, reason=reason, ended_ms=ended)
        write_record(self.record, self.folder)
        self._presence.end()
        if self.store is not None and self.ship():
            from eggan.tracking.ship import missing_artifacts

            missing = missing_artifacts(self.folder, self.store.uri)
            if missing is not None:
                _warn(self.folder, f"the tracking store has this run without its files ({missing})")

    def ship(self) -> bool:
        """Try to bring the store up to date; return whether it is. A failure is warned of and retried
        later.
        """
        if self.store is None:
            return False
        if not ship_or_warn(self.folder, self.store):
            self._next_attempt = time.monotonic() + self._pause
            self._pause *= 2
            return False
        self._next_attempt = time.monotonic() + SHIP_EVERY_SECONDS
        self._pause = FIRST_PAUSE_SECONDS
        return True


def _commits_joined(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return a resumed run's tags: the commit that began it, and in order every other that went on with it.

    Once made from a changed tree, it stays `dirty`.
    """
    first, later = before.get("commit", ""), before.get(LATER_COMMITS, "").split()
    newest = now.get("commit", "")
    if not first or not newest:
        return dict(now)
    if newest != (later or [first])[-1]:
        later.append(newest)
    dirty = {"dirty": "true"} if before.get("dirty") == "true" else {}
    return {**now, "commit": first} | ({LATER_COMMITS: " ".join(later)} if later else {}) | dirty


def ship_or_warn(folder: Path, store: "Store") -> bool:
    """Bring the store up to date with the run in `folder`; return whether it is, and warn where it is not."""
    from eggan.tracking.address import first_line
    from eggan.tracking.ship import ship_folder
    from eggan.tracking.store import STORE_ERRORS

    try:
        ship_folder(folder, store)
    except (*STORE_ERRORS, UserError) as error:
        _warn(folder, f"the tracking store does not take this run ({first_line(error)})")
        return False
    return True


def _warn(folder: Path, what: str) -> None:
    line = command(f"bench sync {shlex.quote(str(folder))}")
    warnings.warn(f"{what}; it is kept in {folder}, and `{line}` ships it later", stacklevel=5)


def _last_steps(folder: Path) -> dict[str, int]:
    last: dict[str, int] = {}
    for line in logged_values(folder):
        for name in line["values"]:
            last[name] = max(line["step"], last.get(name, -1))
    return last


def put_aside(folder: Path) -> None:
    """Move an earlier training's run of this folder to `before/START`: what is logged next is another run.

    A run that has logged no step of a training goes on as it is. The moved run says that it was superseded;
    a sync ships it like any other.
    """
    record, logged = read_record(folder), logged_values(folder)
    if record is None:
        return
    old = folder / BEFORE / str(record.started_ms)
    if not logged and (old / RECORD_FILE).exists():  # a kill came before the end of what follows
        (folder / RECORD_FILE).unlink()
        return
    if all(line["step"] == 0 for line in logged):
        return
    if record.state == "running":
        ended = int(logged[-1]["time_ms"])
        record = dataclasses.replace(record, state="interrupted", reason=SUPERSEDED, ended_ms=ended)
    if record.parent is not None:
        record = dataclasses.replace(record, parent=f"../../{record.parent}")
    old.mkdir(parents=True, exist_ok=True)
    with ship_lock(folder):
        write_record(record, old)
        for name in (SHIPPED_FILE, METRICS_FILE):
            if (folder / name).exists():
                os.replace(folder / name, old / name)
        (folder / RECORD_FILE).unlink()  # last: after a kill before this the next call ends the move
