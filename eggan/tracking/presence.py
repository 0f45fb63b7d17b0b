"""Whether the process that writes a run still lives: it holds a shared lock in the run's folder.

The system frees the lock when a process dies. Several may hold one, as the commands that share a study do;
whoever looks takes it alone, for a moment in which nobody is refused but only waits.
"""

import dataclasses
import fcntl
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from eggan.errors import UserError
from eggan.files import NO_LOCKS
from eggan.tracking.record import RECORD_FILE, RunRecord, logged_values, readable_record, write_record

PRESENCE_FILE = ".running.lock"  # holds the name of the machine whose process had it last
DIED = "its process ended without a word (killed, or the machine went down)"


class Presence:
    """This process's share of the lock, until `end` or its death."""

    def __init__(self, folder: Path) -> None:
        path = folder / PRESENCE_FILE
        path.touch()
        self._stream = path.open("r+b", buffering=0)
        try:
            fcntl.flock(self._stream, fcntl.LOCK_SH)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return  # an empty file: nobody will take this run for a dead one
        self._stream.write(_machine())
        self._stream.truncate()

    def end(self) -> None:
        """Free the share."""
        self._stream.close()

    def __del__(self) -> None:
        self.end()


def _machine() -> bytes:
    return socket.gethostname().encode()


def close_dead(folders: Iterable[Path]) -> list[Path]:
    """Let the runs below `folders` whose process has died say so, and return where they lie.

    Only this machine's own: a runs folder may be a copy of one in which another machine is at work.
    """
    found = dict.fromkeys(path.parent for top in folders for path in sorted(top.rglob(RECORD_FILE)))
    return [folder for folder in found if _close(folder)]


def _close(folder: Path) -> bool:
    if _running(folder) is None:
        return False
    with _alone(folder) as alone:
        record = _running(folder) if alone else None
        if record is None:
            return False
        closed = dataclasses.replace(
            record, state="interrupted", reason=DIED, ended_ms=_last_sign(record, folder)
        )
        write_record(closed, folder)
        return True


def _last_sign(record: RunRecord, folder: Path) -> int:
    """Return when a run logged last, or started where it logged nothing that can be read."""
    try:
        logged = logged_values(folder)
    except UserError:  # damaged: as below
        return record.started_ms
    return int(logged[-1]["time_ms"]) if logged else record.started_ms


def _running(folder: Path) -> RunRecord | None:
    record = readable_record(folder)  # a damaged one: whoever ships it says so
    return record if record is not None and record.state == "running" else None


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Lend whether a process of this machine had the lock and none has it; nobody takes it meanwhile."""
    try:
        stream = (folder / PRESENCE_FILE).open("rb")
    except OSError:  # a run of an earlier version, or not for us to touch
        yield False
        return
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield stream.read() == _machine()
