"""Files that appear whole or not at all, folders that are replaced in one step, locks, content hashes.

What is being written lies in a hidden folder beside its place (`.eggan-*.tmp`) that its writer has locked.
A killed writer's lock is freed by the system, and the next writer beside it removes what it left. Modes are
those that the user's umask gives.
"""

import ctypes
import errno
import hashlib
import json
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from filelock import FileLock, Timeout

from eggan.errors import UserError

# What file managers put into any folder that they have shown; nobody misses it.
LITTER = (".DS_Store", "._*", ".localized", "Thumbs.db", "desktop.ini", ".directory")
STAGING = ".eggan-*.tmp"
STAGING_LOCK = ".lock"
OLD = ".old"  # inside a staging folder: what had to be moved away before the new folder could take its place
PROBE = 1 << 16  # bytes
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # of a file system that knows no locks
NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
CHUNK = 1 << 20
MOST_INTEGER = 1 << 63  # JSON knows longer ones, which no float can hold
LOCK_POLL_SECONDS = 0.01
HOLDER_START = b'{"pid": '  # of what a lock file holds, if anything


# --- writing


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a path of the same name in a hidden folder and move the file into place.

    A disk that fails is a `UserError`, and then `path` is as it was.
    """
    path = Path(path)
    try:
        with staging_folder(path.parent) as staging:
            write(staging / path.name)
            _let_umask_decide(staging)
            os.replace(staging / path.name, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda staged: staged.write_text(text, encoding="utf-8"))


def write_json(value: Any, path: Path) -> None:
    """Write JSON atomically, keys sorted."""
    write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", path)


def read_json(path: Path) -> Any:
    """Return what a JSON file in UTF-8 holds; anything else, such as endless nesting, is a `ValueError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_number(value: object) -> bool:
    """Return whether a value from a JSON file is a number with which one can calculate; NaN is one."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < MOST_INTEGER)


def read_whole_json(path: Path) -> Any:
    """Return what a JSON file holds; None where there is none, or it is broken, as after a crash."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def announce_remaking(path: Path) -> None:
    """Print that a file which this program keeps to save work cannot be used, and is made again."""
    print(f"note: {path} is damaged or of another version: it is made again", file=sys.stderr)


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a kill or a full disk left half-written in a file of JSON lines.

    Only for what writes the file. One that does not begin as such a file is left alone.
    """
    if not path.exists():
        return
    with path.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 1))
        if stream.read(1) in (b"", b"\n"):
            return
        stream.seek(0)
        content = stream.read()
        if content.startswith(b"{"):
            stream.truncate(content.rfind(b"\n") + 1)


@contextmanager
def replaced_folder(folder: Path, ours: Sequence[str]) -> Iterator[Path]:
    """Lend an empty folder, which takes the place of `folder` in one step when the block ends well.

    `ours` are patterns, as in `refuse_foreign`: a folder with anything else in it is left alone with a
    `UserError`. A kill at any moment leaves the old folder or the new one; so does a full disk, which is a
    `UserError`.
    """
    folder = Path(folder).resolve()
    refuse_foreign(folder, ours)
    try:
        with staging_folder(folder.parent) as staging:
            new = staging / folder.name
            new.mkdir()
            yield new
            _let_umask_decide(staging)
            refuse_foreign(folder, ours)  # something may have been put there meanwhile
            _take_place(new, folder, staging)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from None


def refuse_foreign(folder: Path, ours: Sequence[str]) -> None:
    """Raise a `UserError` where `folder` is a file, or holds a file that this program did not write.

    `ours` are patterns of file names relative to the folder; `*` stands for any part of one name. What file
    managers leave behind does not count.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: move it away or choose another place")
    for name in files_in(folder):
        if not any(_matches(name, pattern) for pattern in ours):
            raise UserError(
                f"{folder} holds {name!r}, which this program did not write: move it away or choose another "
                "place"
            )


def check_replaceable(
    folder: Path, ours: Sequence[str], is_earlier: Callable[[Path], bool], what: str
) -> None:
    """Raise a `UserError` where `folder` cannot be written, or is neither empty nor `what`, as `is_earlier`
    says, or holds a file that is not of the patterns `ours`.
    """
    check_writable(folder)
    if folder.exists() and (not folder.is_dir() or (files_in(folder) and not is_earlier(folder))):
        raise UserError(f"{folder} exists and is not {what}")
    refuse_foreign(folder, ours)


def dated_folder(parent: Path) -> Path:
    """Make a folder in `parent` that is named by the time, and return it; no other process has the same."""
    date, number = time.strftime("%Y%m%d-%H%M%S"), 1
    while True:
        folder = parent / (date if number == 1 else f"{date}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def files_in(folder: Path) -> list[str]:
    """Return the names of all files below a folder, relative to it, without what file managers left there."""
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    kept = [name for name in names if not is_litter(name.name) and not _is_staging(name.parts[0])]
    return sorted(name.as_posix() for name in kept)


def is_litter(name: str) -> bool:
    """Return whether a file of this name was put there by a file manager, such as `.DS_Store`."""
    return any(fnmatchcase(name, pattern) for pattern in LITTER)


def _matches(name: str, pattern: str) -> bool:
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _is_staging(name: str) -> bool:
    return fnmatchcase(name, STAGING)


def _let_umask_decide(staging: Path) -> None:
    """Give every file the mode of a newly opened one: some libraries write for their owner's eyes only."""
    usual = staging.stat().st_mode & 0o666  # the umask made this folder's mode
    for path in staging.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(usual)


def _take_place(new: Path, folder: Path, staging: Path) -> None:
    """Move `new` to `folder`; what was there ends in `staging`."""
    while True:
        if folder.exists():
            if not _exchange(new, folder):
                _move_aside(new, folder, staging)
            return
        try:
            os.rename(new, folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another writer was quicker
                raise


def _move_aside(new: Path, folder: Path, staging: Path) -> None:
    """Replace in two steps, where there is no exchange; `sweep` undoes the first one of a killed process."""
    old = staging / OLD / folder.name
    old.parent.mkdir()
    os.rename(folder, old)
    try:
        os.rename(new, folder)
    except OSError:
        os.rename(old, folder)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    names = os.fsencode(one), os.fsencode(other)
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        swap, arguments = getattr(libc, "renamex_np", None), (*names, ctypes.c_uint(2))
    else:
        here = ctypes.c_int(-100)  # AT_FDCWD
        swap = getattr(libc, "renameat2", None)
        arguments = (here, names[0], here, names[1], ctypes.c_uint(2))
    if swap is None:
        return False
    if swap(*arguments) == 0:
        return True
    number = ctypes.get_errno()
    if number in NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def check_writable(place: Path) -> None:
    """Raise a `UserError` where `place`, a file or folder to be written, could not be written.

    For the start of a command that works for long and then writes; it leaves nothing behind.
    """
    above = place = Path(place)
    try:
        while not above.exists():
            above = above.parent
    except OSError as error:  # a name that is too long, a folder that cannot be entered
        raise UserError(f"cannot write {place}: {error.strerror or error}") from None
    if above != place and not above.is_dir():
        raise UserError(f"cannot write {place}: {above} is a file")
    if above.exists() and not (above.is_file() or above.is_dir()):  # a result would take its place
        raise UserError(f"{place} is a device or a pipe: name a file or folder of your own")
    folder = above if above.is_dir() else above.parent
    for needed in {above, folder}:
        if not is_writable(needed):
            raise UserError(f"cannot write {place}: {needed} is read-only for you")
    _refuse_long_names(place, folder)
    try:
        with TemporaryFile(dir=folder) as probe:  # full disks, and some that are shared, say it only now
            probe.write(bytes(PROBE))
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror or error}") from None


def _refuse_long_names(place: Path, folder: Path) -> None:
    """Raise a `UserError` for a name that the file system of `folder`, which is there, does not take."""
    most = os.pathconf(folder, "PC_NAME_MAX")
    if any(len(os.fsencode(name)) > most for name in place.parts):
        raise UserError(f"cannot write {place}: a name has at most {most} bytes there")


def is_writable(place: Path) -> bool:
    """Return whether this process may write an existing file, or into an existing folder."""
    return os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0))


# --- what is being written


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Lend a hidden, locked folder in `parent`; it is removed at the end, and so are those of the dead."""
    parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(parent)
    folder, lock = _make_staging(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            lock.release()


@lru_cache(maxsize=256)  # a process that lands thousands of cells does not keep the name of each
def _sweep_once(parent: Path) -> None:
    sweep(parent)


def _make_staging(parent: Path) -> tuple[Path, FileLock | None]:
    while True:
        folder = parent / STAGING.replace("*", secrets.token_hex(8))
        folder.mkdir()
        try:
            lock = waiting_lock(folder / STAGING_LOCK)
            lock.acquire(blocking=False)
        except (Timeout, FileNotFoundError):  # a sweeper took the folder before it was locked
            continue
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return folder, None
        if (folder / STAGING_LOCK).exists():
            return folder, lock
        lock.release()


def sweep(folder: Path) -> None:
    """Remove what killed writers left in `folder`; a folder that one of them had moved aside comes back."""
    with suppress(OSError):
        found = [entry for entry in os.scandir(folder) if _is_staging(entry.name)]
        for entry in found:
            with suppress(Timeout, OSError), waiting_lock(Path(entry) / STAGING_LOCK).acquire(blocking=False):
                _restore(Path(entry))
                shutil.rmtree(entry, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Bring back a folder that a killed writer had moved aside on a file system without an exchange."""
    if not folder.exists():
        sweep(folder.parent)


def _restore(staging: Path) -> None:
    for old in (staging / OLD).glob("*"):
        if not (staging.parent / old.name).exists():
            os.rename(old, staging.parent / old.name)


# --- locks


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: process, machine, and since when in seconds since 1970 on that machine's clock."""

    pid: int
    host: str
    since: float

    def __str__(self) -> str:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} since {began}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the block, waiting for it; the system frees it when we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with waiting_lock(path):
        yield


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` for the block; yields False, at once, where another process holds it.

    A file of that name with other content than a lock's is a `UserError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_foreign_lock(path)
    lock = waiting_lock(path, _sign)
    while True:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if is_locked(path):
                yield False
                return
            continue  # it was a reader's glance, or it has just been freed
        try:
            yield True
        finally:
            lock.release()
        return


def is_locked(path: Path) -> bool:
    """Return whether a living process holds the lock file `path`; any number may ask at once."""
    import fcntl  # filelock knows no shared lock, and an exclusive one would be in the way of others

    try:
        with path.open(encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def lock_holder(path: Path) -> Holder | None:
    """Return who holds a lock that was taken with `try_lock`; None where nobody does."""
    if not is_locked(path):
        return None
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # it is being taken at this moment
        return Holder(0, "?", time.time())


def _refuse_foreign_lock(path: Path) -> None:
    """Raise a `UserError` for a file with content that `_sign` has not even begun to write."""
    with suppress(FileNotFoundError):
        if not HOLDER_START.startswith(path.read_bytes()[: len(HOLDER_START)]):
            raise UserError(f"{path} is no lock of this program: move it away, or choose another folder")


def _sign(descriptor: int) -> None:
    text = json.dumps(asdict(Holder(os.getpid(), socket.gethostname(), time.time()))) + "\n"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def waiting_lock(path: Path, on_acquired: Callable[[int], None] | None = None) -> FileLock:
    """Return a lock on the file `path`, not yet held; the system frees it when its holder dies."""
    # A soft lock would outlive a killed process, which nothing here could tell from one at work.
    return FileLock(path, poll_interval=LOCK_POLL_SECONDS, fallback_to_soft=False, on_acquired=on_acquired)


# --- content


def hash_files(paths: Iterable[Path]) -> str:
    """Return the sha256 over the contents of files, in the given order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
