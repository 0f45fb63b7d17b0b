"""What values span, and where that lies on a figure, in inches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator, ScalarFormatter

ROUND = (1, 2, 2.5, 5, 10)  # steps that are read fast, where there is room for many
ROOM = 0.05  # beside the values, as a share of what they span


@dataclass(frozen=True)
class Range:
    """From `low`, which lies at `start`, to `high`, at `end`."""

    low: float
    high: float
    start: float
    end: float

    def inches(self, values: np.ndarray) -> np.ndarray:
        """Return where values (N,) lie; NaN for what is not finite."""
        share = (np.where(np.isfinite(values), values, np.nan) - self.low) / (self.high - self.low)
        return np.asarray(self.start + share * (self.end - self.start))

    def ticks(self, spaces: int, steps: Sequence[float] | None = None) -> Iterator[tuple[float, str]]:
        """Yield where round numbers lie, with at most `spaces` between them, and how they are written.

        `steps`: from one to the next, times a power of ten; by default what comes next to that many.
        """
        found = np.asarray(MaxNLocator(spaces, steps=steps).tick_values(self.low, self.high))
        inside = found[(found >= self.low) & (found <= self.high)]
        formatter = ScalarFormatter(useOffset=False)
        formatter.create_dummy_axis()
        assert formatter.axis is not None
        formatter.axis.set_view_interval(self.low, self.high)
        labels = formatter.format_ticks(inside.tolist())
        factor = formatter.get_offset().removeprefix("1")  # of 1e6
        for place, label in zip(self.inches(inside), labels, strict=True):
            yield float(place), f"{label}{factor}"


def range_of(values: Sequence[np.ndarray], start: float, end: float) -> Range:
    """Return the range of all that is finite in `values`, with a little room at both ends."""
    finite = np.concatenate([own[np.isfinite(own)] for own in values])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    room = ROOM * (high - low) or max(ROOM * abs(high), ROOM)
    return Range(low - room, high + room, start, end)
