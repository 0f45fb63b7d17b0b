"""Progress on stderr: a bar with an ETA on a terminal, a plain line now and then in a log file.

for step in progress_bar(range(steps), steps, "train eggan"): ...
with progress_bar(total=images, description="render", unit="image") as bar: bar.update(24)
with working("loading the AU estimators"): ...
"""

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, TextIO, TypeVar

T = TypeVar("T")

QUIET_SECONDS = 2.0  # what takes less than this needs no word
LOG_SECONDS = 10.0  # between two lines of a log file
TERMINAL_SECONDS = 1.0  # between two drawings of a bar that does not move: its clock does


def progress_bar(
    iterable: Iterable[T] | None = None, total: int | None = None, description: str = "", unit: str = "step"
) -> "Progress[T]":
    """Return `iterable` behind a bar, or a bar to `update` inside a `with`; `total` counts `unit`s.

    On a terminal it is drawn from the start. In a log file it prints a line after two seconds, then every
    ten, and one at the end; what is shorter prints nothing.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    return Progress(iterable, total, description, unit)


@contextmanager
def working(description: str) -> Iterator[None]:
    """Say what is done inside the block and for how long, should it take more than two seconds.

    In a log file it leaves the word to a bar inside it that has something to say.
    """
    with Progress[None](None, None, description, unit=""):
        yield


@contextmanager
def loading() -> Iterator[None]:
    """Say that libraries are being loaded, around the imports of a command that is heavy.

    What they make stays: to look through all of it for garbage again and again takes a tenth of the time.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        with working("loading libraries"):
            yield
    finally:
        if collected:
            gc.enable()


class Progress(Generic[T]):
    """Something that is under way; see `progress_bar`."""

    def __init__(self, iterable: Iterable[T] | None, total: int | None, description: str, unit: str) -> None:
        self.iterable = iterable
        self.total, self.description, self.unit = total, description, unit
        self.done = 0
        self._display: _Terminal | _Log | None = None

    def __iter__(self) -> Iterator[T]:
        if self.iterable is None:
            raise TypeError("a bar without an iterable is used with `with` and `update`")
        with self:
            for item in self.iterable:
                yield item
                self.update()

    def __enter__(self) -> "Progress[T]":
        _under_way.append(self)
        stream = sys.stderr
        if stream is not None and not stream.closed:  # without a stderr (`2>&-`) nobody reads
            self._display = _Terminal(self, stream) if stream.isatty() else _Log(self, stream)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self in _under_way:  # it may have been stopped from outside
            _under_way.remove(self)
        if self._display is not None:
            self._display.close(completed=kind is None)
            self._display = None

    @property
    def has_spoken(self) -> bool:
        """Whether a line of a log file is this one's."""
        return isinstance(self._display, _Log) and self._display.printed

    def update(self, count: int = 1) -> None:
        """Note that `count` more units are done."""
        self.done += count
        if self._display is not None:
            self._display.update(count)


_under_way: list[Progress[Any]] = []  # the outermost first


@contextmanager
def none_left() -> Iterator[None]:
    """Stop on leaving what is still under way: a loop that an error ended does not know that it has ended."""
    before = len(_under_way)
    try:
        yield
    finally:
        for left in reversed(_under_way[before:]):
            left.__exit__(GeneratorExit, None, None)


class _Terminal:
    """tqdm's bar, drawn again every second, so that its clock runs through a long step."""

    def __init__(self, progress: Progress[Any], stream: TextIO) -> None:
        self.progress, self.stream = progress, stream
        self.bar: Any = None
        self.counted = bool(progress.unit)
        if self.counted:
            self._open()
        self.beat = _Beat(QUIET_SECONDS, TERMINAL_SECONDS, self._draw)

    def _open(self) -> None:
        from tqdm import tqdm

        progress = self.progress
        counted = {"unit": f" {progress.unit}", "total": progress.total, "mininterval": 0.2}
        plain = {"bar_format": "{desc} .. {elapsed}", "leave": False}
        self.bar = tqdm(
            desc=progress.description,
            **_shape(self.stream),
            file=self.stream,
            **(counted if self.counted else plain),
        )

    def _draw(self) -> None:
        if self.bar is None:
            self._open()
        self.bar.refresh()

    def update(self, count: int) -> None:
        if self.bar is not None:
            self.bar.update(count)

    def close(self, completed: bool) -> None:
        self.beat.stop()
        if self.bar is not None:
            self.bar.close()


def _shape(stream: TextIO) -> dict[str, Any]:
    """Return tqdm's options for the size: some terminals say that they have none, and would show nothing."""
    try:
        known = os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        known = False
    return {"dynamic_ncols": True} if known else {"ncols": 80, "nrows": 24}


class _Log:
    """Plain lines, none of which a later one overwrites."""

    def __init__(self, progress: Progress[Any], stream: TextIO) -> None:
        self.progress, self.stream = progress, stream  # the block's own may lead elsewhere for a while
        self.started = time.monotonic()
        self.printed = False
        self.beat = _Beat(QUIET_SECONDS, LOG_SECONDS, self._print)

    def _print(self) -> None:
        inner = _under_way[_under_way.index(self.progress) + 1 :]
        if any(other.has_spoken for other in inner):
            return
        self.printed = True
        print(log_line(self.progress, time.monotonic() - self.started), file=self.stream, flush=True)

    def update(self, count: int) -> None:
        """Nothing: the lines come by the clock."""

    def close(self, completed: bool) -> None:
        self.beat.stop()
        if self.printed and completed:
            done = f" {_count(self.progress.done, self.progress.unit)}" if self.progress.unit else ""
            with _unheard():
                print(
                    f"{self.progress.description}:{done} done in {clock(time.monotonic() - self.started)}",
                    file=self.stream,
                    flush=True,
                )


def log_line(progress: Progress[Any], seconds: float) -> str:
    """Return what is known of a progress after `seconds`: how far, how fast, how long it will take."""
    head = f"{progress.description}:"
    if not progress.unit:
        return f"{head} {clock(seconds)} so far"
    rate = progress.done / seconds if seconds else 0.0
    speed = (
        f"{rate:.3g} {progress.unit}s/s" if rate >= 0.1 or not rate else f"{1 / rate:.1f} s/{progress.unit}"
    )
    if not progress.total:
        return f"{head} {_count(progress.done, progress.unit)}, {clock(seconds)}, {speed}"
    part = 100 * progress.done / progress.total
    left = f"{clock((progress.total - progress.done) / rate)} left" if rate else f"{clock(seconds)} so far"
    count = f"{progress.done} of {_count(progress.total, progress.unit)} ({part:.0f} %)"
    return f"{head} {count}, {speed}, {left}"


def clock(seconds: float) -> str:
    """Return a duration as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


@contextmanager
def _unheard() -> Iterator[None]:
    """Let no reader that has gone away (a closed pipe, a full disk under a log) end the work itself."""
    try:
        yield
    except (OSError, ValueError):
        return


class _Beat:
    """Calls a function from a thread: after `first` seconds, then every `interval`, until `stop`."""

    def __init__(self, first: float, interval: float, call: Callable[[], None]) -> None:
        self.first, self.interval, self.call = first, interval, call
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        wait = self.first
        while not self.stopped.wait(wait):
            wait = self.interval
            with _unheard():
                self.call()

    def stop(self) -> None:
        """Stop, and wait for a call that is under way."""
        self.stopped.set()
        self.thread.join()
