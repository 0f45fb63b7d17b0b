"""Commands in processes of their own, some at a time: none takes another with it, and all end in time.

A node has no Dask, whose scheduler runs the cells of `eggan bench run --processes`; it would bring twenty
packages into a bundle, compiled ones among them, and it gives a process two minutes to stop.
"""

import argparse
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from eggan.child_process import child_environment
from eggan.command_call import call_command, write_call
from eggan.startup import OWN_THREADS, thread_environment


@dataclass(frozen=True)
class Job:
    """A command's parsed arguments; `name` stands before each line that its process prints."""

    name: str
    arguments: argparse.Namespace


Ended = Callable[[Job, int, float], None]  # job, status (negative for a signal), seconds
_Process = subprocess.Popen[str]


def run_jobs(jobs: Iterable[Job], at_once: int, stopping: float, on_end: Ended) -> None:
    """Run the command of each job, `at_once` at a time, and call `on_end` as each ends.

    The next job is asked for when there is room for it. What stops this asks the processes to stop, and ends
    those that have not done so after `stopping` seconds.
    """
    ends: queue.SimpleQueue[tuple[Job, int, float]] = queue.SimpleQueue()
    running: dict[int, _Process] = {}  # by the job, not its name: cells of two suites may have one name
    waiting = iter(jobs)
    with tempfile.TemporaryDirectory(prefix="eggan-calls-") as folder:
        try:
            while True:
                while len(running) < at_once and (job := next(waiting, None)) is not None:
                    call = Path(folder, f"{time.monotonic_ns()}.json")
                    write_call(job.arguments, call)
                    running[id(job)] = process = _start(call, at_once)
                    threading.Thread(target=_follow, args=(job, process, ends), daemon=True).start()
                if not running:
                    return
                ended = ends.get()
                del running[id(ended[0])]
                on_end(*ended)
        finally:
            _stop(list(running.values()), stopping)


def _start(call: Path, at_once: int) -> _Process:
    environment = {**os.environ, **thread_environment(os.environ, at_once), **child_environment()}
    environment.pop(OWN_THREADS, None)  # or the process would take all cores
    return subprocess.Popen(
        call_command(call),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )


def _follow(job: Job, process: _Process, ends: "queue.SimpleQueue[tuple[Job, int, float]]") -> None:
    started = time.monotonic()
    threading.Thread(target=_relay, args=(job.name, process.stdout), daemon=True).start()
    status = process.wait()
    ends.put((job, status, time.monotonic() - started))


def _relay(name: str, lines: IO[str]) -> None:
    for line in lines:
        print(f"{name}: {line.rstrip()}", file=sys.stderr, flush=True)


def _stop(processes: list[_Process], seconds: float) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
