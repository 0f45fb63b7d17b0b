"""Kills a process at every step that it takes in the file system, to see what each kill leaves."""

import os
import signal
import sys
from collections.abc import Callable, Iterator

import psutil

STEPS = ("open", "os.", "shutil.", "tempfile.")
NOT_STEPS = ("os.listdir", "os.scandir", "os.fork", "os.walk")
MOST_STEPS = 2000


def each_kill(action: Callable[[], object]) -> Iterator[int]:
    """Run `action` in a process that is killed at its first step; then at its second; until it ends.

    Yields the number of the step after each kill. An action that fails is an error here.
    """
    for step in range(1, MOST_STEPS):
        status = _killed_at(step, action)
        if status == 0:
            return
        assert os.WIFSIGNALED(status), "the action failed"
        assert os.WTERMSIG(status) == signal.SIGKILL
        yield step
    raise AssertionError("the action takes too many steps")


def _killed_at(step: int, action: Callable[[], object]) -> int:
    """Return the wait status of a child that is killed just before a step; 0 where it ended before."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    taken = 0

    def count(event: str, _arguments: object) -> None:
        nonlocal taken
        if event.startswith(STEPS) and not event.startswith(NOT_STEPS):
            taken += 1
            if taken == step:
                os.kill(os.getpid(), signal.SIGKILL)

    status = 1
    try:
        sys.addaudithook(count)
        action()
        status = 0
    finally:
        os._exit(status)


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; it may do so while it is asked."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
