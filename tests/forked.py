"""Processes for tests that are killed or meet: forked from one that has loaded what takes three seconds."""

import gc
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import chdir
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOADED = ("tests.studies.work", "benchmarks.running.suite_run")


def started(work: Callable[..., object], *given: object) -> BaseProcess:
    """Start `work(*given)` in a process of its own, in the folder of the sources.

    It is forked from a server that has imported `LOADED` and run nothing, and shares no state with the test.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED))
    process = context.Process(target=_as_a_new_one, args=(work, *given), daemon=True)
    with chdir(ROOT):
        process.start()
    return process


def _as_a_new_one(work: Callable[..., object], *given: object) -> None:
    gc.freeze()  # a search for garbage would copy every page that is shared with the server
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which the server ignores where the tests do
    work(*given)


def ended(process: BaseProcess) -> int:
    """Wait for a process; return its exit status, negative for a signal."""
    process.join()
    assert process.exitcode is not None
    return process.exitcode
