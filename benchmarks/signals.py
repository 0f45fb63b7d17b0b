"""SIGTERM ends a command as Ctrl-C does, so that states are written and child processes are stopped."""

import signal
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
