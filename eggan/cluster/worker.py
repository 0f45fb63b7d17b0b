"""What a worker of a cluster does: it takes files in, runs calls in processes of their own, hands files out.

`dask worker ADDRESS --preload eggan.cluster.worker` loads this module. A worker needs no disk that others
see: below its folder lie files by content (`files/`), and what calls work on (`data/`, `runs/`, `weights/`).
Nothing here imports torch: the processes of the calls do.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import dask
import psutil
from dask.utils import parse_timedelta
from distributed import Status, Worker, get_worker
from distributed.utils import sync

from eggan.child_process import child_environment
from eggan.cluster.version import program_version
from eggan.command_call import call_command
from eggan.files import files_in, hash_files, is_locked
from eggan.process_owner import owner_lives, owner_of, this_host
from eggan.startup import OWN_THREADS, THREADS, WAITING
from eggan.tracking.record import METRICS_FILE, SHIPPED_FILE

MANY = 1e6  # how often a worker offers its version: it is asked for, and never used up
TRIES = 3  # starts of a call without a new checkpoint in between
LOOK_SECONDS = 0.25
STOP_SECONDS = 120.0  # for a process to save what it has
LAST_WORDS = 2000  # characters
CHUNK = 8 << 20  # bytes of one message
NO_STATE = -1
_at_work: set[tuple[str, str]] = set()  # addresses of this process's workers, names of their calls
Stamp = tuple[int, int]  # size and time of change in nanoseconds: a file with another stamp has changed


@dataclass(frozen=True)
class Call:
    """A command's parsed arguments as JSON, and what its process finds below the worker's folder.

    `files` maps places to sha256. `folder` is the place of what the call works on, with `state_file` as its
    checkpoint and `lock` as what a process at work there holds; all of them "" where there is none. With
    `in_place` it is one of a worker inside the client, and its process is as if the client had started it: in
    the client's folder, with `environment` beside the client's, printing where the client prints.
    """

    text: str
    files: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    folder: str = ""
    state_file: str = ""
    lock: str = ""
    in_place: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a call ended at `worker`: with a status (negative for a signal), or without having been run.

    `missing` are sha256 of files that the worker lacks; `stopped` says that it was not wanted any more.
    """

    worker: str
    status: int | None = None
    missing: tuple[str, ...] = ()
    stopped: bool = False
    last_words: str = ""


def dask_setup(worker: Worker) -> None:
    """Let a worker offer its program's version, and its threads and memory where it was given no numbers."""
    limit = worker.memory_manager.memory_limit or psutil.virtual_memory().total
    usual = {"threads": float(worker.state.nthreads), "memory_gib": limit / 2**30}
    offered = usual | worker.state.total_resources | {program_version(): MANY}
    worker.state.total_resources.update(offered)
    worker.state.available_resources.update(offered)
    if worker.nanny:  # Ctrl-C reaches all processes of a terminal, and this one is stopped by its nanny
        with suppress(ValueError):  # in a thread, where signals are somebody else's
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def root_of(worker: Worker) -> Path:
    """Return a worker's folder; the workers of one machine that share a scratch folder share it."""
    root = Path(worker.local_directory).parent / "eggan"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to another user: give the worker a --local-directory")
    return root.resolve()


# --- a call


def run_call(call: Call) -> Ended:
    """Run a call in a process of its own, once its files are here; for as long as it is wanted."""
    worker = get_worker()
    name = str(worker.get_current_task())
    _at_work.add((worker.address, name))
    try:
        return (
            _run_in_place(call, worker, name)
            if call.in_place
            else _run_below(root_of(worker), call, worker, name)
        )
    finally:
        _at_work.discard((worker.address, name))


def at_work(dask_worker: Worker) -> list[str]:
    """Return the calls whose processes a worker has, wanted or not."""
    return [name for address, name in _at_work if address == dask_worker.address]


def _run_below(root: Path, call: Call, worker: Worker, name: str) -> Ended:
    state = _ask(worker, "get_metadata", keys=[state_key(name)], default=None) or {}
    missing = _missing(root, call, state)
    if missing:
        return Ended(worker.address, missing=missing)
    if state.get("starts", 0) >= TRIES:
        reason = f"its worker died {TRIES} times without a new checkpoint"
        return Ended(worker.address, last_words=reason)
    for place, sha256 in call.files.items():
        _place(root, place, sha256)
    if not _is_alone(root, call, worker, name):
        return Ended(worker.address, stopped=True)
    if call.state_file:
        _go_on_from(root, call, state)
        _ask(worker, "set_metadata", keys=[state_key(name), "starts"], value=state.get("starts", 0) + 1)
    threads = int(worker.state.total_resources.get("threads", 1) // worker.state.nthreads)
    own = {THREADS: str(max(1, call.threads, threads)), WAITING: "PASSIVE"}
    own["EGGAN_WEIGHTS"] = str(root / "weights")
    with tempfile.TemporaryFile() as words:
        out_of_sight: dict[str, Any] = {"cwd": root, "stdout": words, "stderr": words}
        out_of_sight["start_new_session"] = True  # Ctrl-C in the worker's terminal is the worker's to pass on
        status, wanted = _process(
            call.text, own, worker, name, partial(_note_owner, worker, name), **out_of_sight
        )
        if worker.status in (Status.running, Status.paused):
            _ask(worker, "set_metadata", keys=[owner_key(name)], value=None)
        words.seek(max(0, words.seek(0, os.SEEK_END) - LAST_WORDS))
        last = words.read().decode(errors="replace")
    return Ended(worker.address, status, (), not wanted, last)


def _is_alone(root: Path, call: Call, worker: Worker, name: str) -> bool:
    """Wait until no other process of a call can be at work; return False where it is not wanted any more.

    A worker that was lost may live on behind a cut network. It notices within the time that Dask gives a
    silent connection, so that one on another machine is given as long again to end its process.
    """
    owner = _ask(worker, "get_metadata", keys=[owner_key(name)], default=None)
    elsewhere = owner is not None and owner["host"] != this_host()
    deadline = time.monotonic() + (cut_seconds() if elsewhere else 0.0)

    def others() -> bool:
        if call.lock and is_locked(inside(root, call.lock)):  # of a worker that died a moment ago
            return True
        return time.monotonic() < deadline if elsewhere else owner is not None and owner_lives(owner)

    while others():
        if not _is_wanted(worker, name):
            return False
        time.sleep(LOOK_SECONDS)
    return True


def cut_seconds() -> float:
    """Return after how many seconds without an answer Dask takes a connection for cut."""
    return float(parse_timedelta(dask.config.get("distributed.comm.timeouts.tcp")))


def owner_key(name: str) -> str:
    """Return where the scheduler keeps which process a task has, until that has ended."""
    return f"{name}-owner"


def _note_owner(worker: Worker, name: str, pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        _ask(worker, "set_metadata", keys=[owner_key(name)], value=owner_of(pid))


def _run_in_place(call: Call, worker: Worker, name: str) -> Ended:
    status, wanted = _process(call.text, call.environment, worker, name)
    return Ended(worker.address, status, (), not wanted)


def state_key(name: str) -> str:
    """Return where the scheduler keeps what a task goes on from; under its own name it goes with the task."""
    return f"{name}-state"


def _ask(worker: Worker, what: str, **values: Any) -> Any:
    return sync(worker.loop, getattr(worker.scheduler, what), **values)


def _process(
    text: str,
    own: Mapping[str, str],
    worker: Worker,
    name: str,
    on_start: Callable[[int], None] = lambda _: None,
    **options: Any,
) -> tuple[int, bool]:
    """Run a call's process; return its status, and whether it was wanted to its end."""
    environment = {**os.environ, **own, **child_environment()}
    environment.pop(OWN_THREADS, None)  # or the process would take all cores
    with tempfile.TemporaryDirectory(prefix="eggan-call-") as folder:  # readable by this user alone
        path = Path(folder, "call.json")
        path.write_text(text, encoding="utf-8")
        process = subprocess.Popen(call_command(path), env=environment, stdin=subprocess.DEVNULL, **options)
        wanted = _waited_for(process, lambda: _is_wanted(worker, name), on_start)
    return process.returncode, wanted


def _waited_for(
    process: "subprocess.Popen[bytes]", is_wanted: Callable[[], bool], on_start: Callable[[int], None]
) -> bool:
    """Wait for a process, which is asked to stop once it is not wanted; return whether it was to its end."""
    try:
        on_start(process.pid)
        while is_wanted():
            try:
                process.wait(LOOK_SECONDS)
                return True
            except subprocess.TimeoutExpired:
                continue
        process.terminate()
        process.wait(STOP_SECONDS)
        return False
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _is_wanted(worker: Worker, name: str) -> bool:
    """Return whether the worker goes on and its scheduler has not taken the task back."""
    task = worker.state.tasks.get(name)
    running = worker.status in (Status.running, Status.paused, Status.closing_gracefully)
    return running and task is not None and task.state in ("executing", "long-running")


def _missing(root: Path, call: Call, state: Mapping[str, Any]) -> tuple[str, ...]:
    needed = [sha256 for place, sha256 in call.files.items() if not inside(root, place).exists()]
    if call.state_file and not _has_own(root, call, state):
        needed += state.get("files", {}).values()
    return tuple(sha256 for sha256 in dict.fromkeys(needed) if not (root / "files" / sha256).exists())


def _has_own(root: Path, call: Call, state: Mapping[str, Any]) -> bool:
    """Return whether this machine has a checkpoint of the call that is at least as late as the client's."""
    return progress(inside(root, call.folder), call.state_file) >= max(0, state.get("progress", NO_STATE))


def _go_on_from(root: Path, call: Call, state: Mapping[str, Any]) -> None:
    if _has_own(root, call, state):
        return
    folder, files = inside(root, call.folder), state.get("files", {})
    shutil.rmtree(folder, ignore_errors=True)
    for name, sha256 in files.items():
        target = inside(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / "files" / sha256, target)  # no link: logs grow in their place
    for sha256 in set(files.values()) - set(call.files.values()):
        (root / "files" / sha256).unlink(missing_ok=True)


def progress(folder: Path, state_file: str) -> int:
    """Return how far a training got, by the size of its log; -1 where it has no checkpoint to go on from."""
    metrics = folder / METRICS_FILE
    has_state = state_file and (folder / state_file).is_file()
    return metrics.stat().st_size if has_state and metrics.is_file() else NO_STATE


# --- files


def inside(root: Path, name: str) -> Path:
    """Return a place below a folder; a name that leads out of it is a `ValueError`."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise ValueError(f"{name!r} does not lie inside {root}")
    return root / parts


def take(sha256: str, sender: str, start: int, data: bytes, last: bool, dask_worker: Worker) -> None:
    """Keep a part of a file; with its last one its content is checked, and it is there for calls."""
    folder = root_of(dask_worker) / "files"
    folder.mkdir(exist_ok=True)
    part = folder / f".{sha256}.{sender}"
    with part.open("r+b" if start else "wb") as stream:
        stream.seek(start)
        stream.write(data)
    if last:
        if hash_files([part]) != sha256:
            part.unlink()
            raise ValueError(f"a file arrived with another content than {sha256}")
        os.replace(part, folder / sha256)


def _place(root: Path, place: str, sha256: str) -> None:
    target = inside(root, place)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(root / "files" / sha256, target)
    except FileExistsError:  # another worker of this machine was quicker
        return


def hand_out(
    folder: str, known: Mapping[str, Stamp], patterns: Sequence[str], dask_worker: Worker
) -> tuple[list[tuple[str, Stamp, bytes | None]], list[str]]:
    """Return the files of a folder that changed since their stamps in `known`, and the names of all.

    Files that match an earlier pattern come first. Small ones come with their content, None stands for
    others. Hidden files stay, and so does what a tracking store has.
    """
    found: list[tuple[str, Stamp, bytes | None]] = []
    names, left = list(_named(inside(root_of(dask_worker), folder), patterns)), CHUNK
    for name, path in names:
        try:
            stamp = stamp_of(path)
            if known.get(name) == stamp:
                continue
            data = path.read_bytes() if stamp[0] <= left else None
            if data is not None and stamp_of(path) != stamp:
                data = None
        except FileNotFoundError:
            continue
        left -= len(data or b"")
        found.append((name, stamp, data))
    return found, [name for name, _ in names]


def hand_out_part(folder: str, name: str, stamp: Stamp, start: int, dask_worker: Worker) -> bytes | None:
    """Return a part of a file, None where the file is another one by now."""
    path = inside(inside(root_of(dask_worker), folder), name)
    try:
        with path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            if (found.st_size, found.st_mtime_ns) != stamp:
                return None
            stream.seek(start)
            return stream.read(CHUNK)
    except FileNotFoundError:
        return None


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file does."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _named(folder: Path, patterns: Sequence[str]) -> Iterator[tuple[str, Path]]:
    names = movable(folder)
    chosen = [name for pattern in patterns for name in names if PurePosixPath(name).match(pattern)]
    for name in dict.fromkeys(chosen):
        yield name, folder / name


def movable(folder: Path) -> list[str]:
    """Return the names of the files of a folder that travel between machines."""
    if not folder.is_dir():
        return []
    hidden = [name for name in files_in(folder) if any(part.startswith(".") for part in name.split("/"))]
    return [name for name in files_in(folder) if name not in hidden and not name.endswith(SHIPPED_FILE)]


def held(pattern: str, state_file: str, lock: str, dask_worker: Worker) -> dict[str, tuple[int, bool]]:
    """Return the folders of this machine's calls: how far each got, and whether a process works there."""
    root = root_of(dask_worker)
    found = {path.relative_to(root).as_posix(): path for path in root.glob(pattern) if path.is_dir()}
    return {name: (progress(path, state_file), is_locked(path / lock)) for name, path in found.items()}


def forget(folder: str, dask_worker: Worker) -> None:
    """Remove what a call left here; its results have come to the client."""
    shutil.rmtree(inside(root_of(dask_worker), folder), ignore_errors=True)
