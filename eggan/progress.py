"""Progress bars with an ETA, on stderr; quiet where stderr is not a terminal."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress_bar(iterable: Iterable[T], total: int | None = None, description: str = "") -> Iterable[T]:
    """Return `iterable` behind a bar; without a terminal it prints a line every 30 seconds at most."""
    seconds = 0.2 if sys.stderr.isatty() else 30.0
    return tqdm(
        iterable, total=total, desc=description, mininterval=seconds, dynamic_ncols=True, file=sys.stderr
    )
