"""SIGTERM ends a command as Ctrl-C does, so that states are written and child processes are stopped."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Raise `KeyboardInterrupt` on SIGTERM inside the block; training brings its own handler."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt("stopped by SIGTERM")

    try:
        old = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread: the system's default holds
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


@contextmanager
def resumable() -> Iterator[None]:
    """Tell a user who stops the block, by Ctrl-C or SIGTERM, that the same command continues it."""
    with sigterm_as_interrupt():
        try:
            yield
        except KeyboardInterrupt:
            print("stopped: the same command goes on from here", file=sys.stderr)
            raise
