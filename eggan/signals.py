"""The signals by which a system, a terminal or a user asks a program to stop: all of them mean the same."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
TERMINATION = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handling(numbers: tuple[signal.Signals, ...], handler: Handler) -> Iterator[None]:
    """Call `handler` on these signals inside the block; the old handlers come back at the end.

    A hang-up that is ignored, as under `nohup`, stays ignored. Outside the main thread nothing is changed.
    """
    old = {}
    try:
        for number in numbers:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                old[number] = signal.signal(number, handler)
    except ValueError:  # not in the main thread: the main thread's handlers get the signals
        pass
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)


@contextmanager
def stop_as_interrupt() -> Iterator[None]:
    """Raise `KeyboardInterrupt` on SIGTERM and SIGHUP inside the block; training brings its own handler."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")

    with handling(TERMINATION, stop):
        yield


@contextmanager
def resumable() -> Iterator[None]:
    """Tell a user who stops the block, by Ctrl-C or a signal, that the same command continues it."""
    with stop_as_interrupt():
        try:
            yield
        except KeyboardInterrupt:
            print("stopped: the same command goes on from here", file=sys.stderr)
            raise
