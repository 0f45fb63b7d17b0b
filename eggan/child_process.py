"""Pythons that this program starts: they load no file of the working folder, and end with their parent."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PARENT = "EGGAN_PARENT_PROCESS"  # environment variable: the number of the process that waits for this one
SAFE_PATH = "PYTHONSAFEPATH"
LOOK_SECONDS = 1.0


def python_command(module: str) -> list[str]:
    """Return the command that runs a module; a user's `statistics.py` is not taken for Python's."""
    return [sys.executable, "-P", "-m", module]


@contextmanager
def safe_path() -> Iterator[None]:
    """Let Pythons that a library starts inside the block load no file of the working folder, as -P does."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


def child_environment() -> dict[str, str]:
    """Return the variable by which a child knows whom to end with."""
    return {PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Ask this process to stop, as SIGTERM does, once the process that started it is gone.

    Nothing happens in a process that was started by a user.
    """
    parent = os.environ.pop(PARENT, None)
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def how_ended(status: int) -> str:
    """Return how a process ended, from the status that `Popen` gives: negative for a signal."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
