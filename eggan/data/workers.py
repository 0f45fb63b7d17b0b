"""Processes that render: as many as asked for, gone when their parent is, one where the system lends none."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TypeVar

from eggan.child_process import safe_path
from eggan.errors import UserError
from eggan.machine import default_workers

Task = TypeVar("Task")
Result = TypeVar("Result")
_kept: list["_Kept"] = []  # the innermost block's last


def worker_count(workers: int | None) -> int:
    """Return the number of processes: what was asked for, or as many as cores and memory allow."""
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, not {workers}")
    return workers or default_workers()


@contextmanager
def kept_processes(workers: int) -> Iterator[None]:
    """Let all that is spread inside the block share `workers` processes: to start them takes seconds."""
    kept = _Kept(workers)
    _kept.append(kept)
    try:
        yield
    finally:
        _kept.remove(kept)
        if kept.pool is not None:
            kept.pool.shutdown(cancel_futures=True)


class _Kept:
    """The processes of a block, started by the first who needs them."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.pool: ProcessPoolExecutor | None = None

    def lend(self) -> ProcessPoolExecutor | None:
        if self.pool is None:
            self.pool = _pool(self.workers)
        return self.pool


def spread(work: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """Yield `work(task)` of each task, in order, from `workers` processes; from this one if there is but one.

    Inside `kept_processes` they are that block's. Where the system lends no processes (a `/dev/shm` that
    cannot be written), a note says so and this process works alone. A worker that was killed is a
    `UserError`.
    """
    alone = min(workers, len(tasks)) < 2
    kept = _kept[-1] if _kept and not alone else None
    with safe_path():  # starts the process that looks after semaphores
        pool = kept.lend() if kept is not None else _pool(min(workers, len(tasks)))
    if pool is None:
        yield from map(work, tasks)
        return
    try:
        with safe_path():  # starts the processes
            results = pool.map(work, tasks)
        yield from results
    except BrokenProcessPool:
        raise UserError(
            "a rendering process was killed, perhaps for want of memory: use fewer --workers"
        ) from None
    finally:
        if kept is None:
            pool.shutdown(cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor | None:
    if workers < 2:
        return None
    try:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)
    except (OSError, ImportError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        print(f"rendering in one process: no semaphores for several ({reason}; /dev/shm?)", file=sys.stderr)
        return None


def end_with_parent() -> None:
    """Make this worker end as soon as the process that started it is gone, however that ended.

    A worker waits for tasks on a pipe whose other end its siblings hold open too, so it would wait for ever.
    """
    parent = multiprocessing.parent_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which then ends its workers
    if parent is None:
        raise RuntimeError("only a worker process ends with its parent")

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
