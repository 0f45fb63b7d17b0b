"""Figures of many small panels of lines: the axes of matplotlib's own measure every text and take longest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from reports.style.figure_style import FAINT, literal

WIDTH, HEIGHT = 1.95, 1.45  # of a panel with what stands around it, in inches as all here
LEFT, BELOW, RIGHT, ABOVE = 0.42, 0.24, 0.1, 0.24  # what stands around it
ROOM = 0.05  # beside the lines, as a share of what they span
TICKS_ALONG, TICKS_UP = 3, 4  # at most as many spaces between them
SMALL = 6.0  # letters at ticks, in points


@dataclass(frozen=True)
class Line:
    """Values (N,) at places (N,) along a panel, and a colour; where a value is not finite, there is a gap."""

    places: np.ndarray
    values: np.ndarray
    colour: str


@dataclass(frozen=True)
class Panel:
    """Lines under a title."""

    title: str
    lines: Sequence[Line]


def line_panels(panels: Sequence[Panel], most_across: int, above: float) -> Figure:
    """Draw panels of one size in rows, each with its own ranges, under room of `above` inches."""
    across = min(most_across, len(panels))
    down = -(-len(panels) // across)
    width, height = WIDTH * across, HEIGHT * down + above
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))  # in inches, for all panels
    axes.set_axis_off()
    text = partial(axes.text, fontsize=SMALL)
    thin, frame = list[np.ndarray](), list[np.ndarray]()
    lines, colours = list[np.ndarray](), list[str]()
    for number, panel in enumerate(panels):
        left = WIDTH * (number % across) + LEFT
        bottom = HEIGHT * (down - 1 - number // across) + BELOW
        right, top = left + WIDTH - LEFT - RIGHT, bottom + HEIGHT - BELOW - ABOVE
        x = _Range([line.places for line in panel.lines], left, right)
        y = _Range([line.values for line in panel.lines], bottom, top)
        for place, label in x.ticks(TICKS_ALONG):
            thin.append(np.array([[place, bottom], [place, top]]))
            text(place, bottom - 0.05, label, ha="center", va="top")
        for place, label in y.ticks(TICKS_UP):
            thin.append(np.array([[left, place], [right, place]]))
            text(left - 0.04, place, label, ha="right", va="center_baseline")
        frame.append(np.array([[left, top], [left, bottom], [right, bottom]]))
        text(left, top + 0.05, literal(panel.title), fontsize=7)
        for line in panel.lines:
            lines.append(np.column_stack([x.inches(line.places), y.inches(line.values)]))
            colours.append(line.colour)
    axes.add_collection(LineCollection(thin, colors=FAINT, linewidths=0.4, alpha=0.6))
    axes.add_collection(LineCollection(frame, colors=FAINT, linewidths=0.8))
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.9, alpha=0.85))
    return figure


class _Range:
    """What the lines of a panel span in one direction, and where that lies on the figure, in inches."""

    def __init__(self, values: Sequence[np.ndarray], start: float, end: float) -> None:
        finite = np.concatenate([own[np.isfinite(own)] for own in values])
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        room = ROOM * (high - low) or max(ROOM * abs(high), ROOM)
        self.low, self.high = low - room, high + room
        self.start, self.end = start, end

    def inches(self, values: np.ndarray) -> np.ndarray:
        share = (np.where(np.isfinite(values), values, np.nan) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, spaces: int) -> Iterator[tuple[float, str]]:
        """Yield where round numbers lie, and how they are written."""
        found = np.asarray(MaxNLocator(spaces).tick_values(self.low, self.high))
        inside = found[(found >= self.low) & (found <= self.high)]
        formatter = ScalarFormatter(useOffset=False)
        formatter.create_dummy_axis()
        assert formatter.axis is not None
        formatter.axis.set_view_interval(self.low, self.high)
        labels, factor = (
            formatter.format_ticks(inside.tolist()),
            formatter.get_offset().removeprefix("1"),
        )  # of 1e6
        for place, label in zip(self.inches(inside), labels, strict=True):
            yield float(place), f"{label}{factor}"
