"""Figures of many small panels of lines, each with its own ranges."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.style.figure_style import FAINT
from reports.style.ranges import Range, range_of
from reports.style.sheet import Sheet

WIDTH, HEIGHT = 1.95, 1.45  # of a panel with what stands around it, in inches as all here
LEFT, BELOW, RIGHT, ABOVE = 0.42, 0.24, 0.1, 0.24  # what stands around it
TICKS_ALONG, TICKS_UP = 3, 4  # at most as many spaces between them
SMALL, TITLE = 6.0, 7.0  # letters at ticks and of titles, in points


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


def line_panels(panels: Sequence[Panel], most_across: int, above: float) -> Sheet:
    """Draw panels of one size in rows, under room of `above` inches."""
    across = min(most_across, len(panels))
    down = -(-len(panels) // across)
    sheet = Sheet(WIDTH * across, HEIGHT * down + above)
    for number, panel in enumerate(panels):
        left = WIDTH * (number % across) + LEFT
        bottom = HEIGHT * (down - 1 - number // across) + BELOW
        right, top = left + WIDTH - LEFT - RIGHT, bottom + HEIGHT - BELOW - ABOVE
        x = range_of([line.places for line in panel.lines], left, right)
        y = range_of([line.values for line in panel.lines], bottom, top)
        _ticks(sheet, x, y)
        sheet.frame(left, bottom, right, top)
        sheet.write(left, top + 0.05, panel.title, TITLE, height="bottom")
        for line in panel.lines:
            points = np.column_stack([x.inches(line.places), y.inches(line.values)])
            sheet.lines([points], line.colour, 0.9, 0.85)
    return sheet


def _ticks(sheet: Sheet, x: Range, y: Range) -> None:
    thin = list[np.ndarray]()
    for place, label in x.ticks(TICKS_ALONG):
        thin.append(np.array([[place, y.start], [place, y.end]]))
        sheet.write(place, y.start - 0.05, label, SMALL, align=0.5, height="top")
    for place, label in y.ticks(TICKS_UP):
        thin.append(np.array([[x.start, place], [x.end, place]]))
        sheet.write(x.start - 0.04, place, label, SMALL, align=1.0, height="middle")
    sheet.lines(thin, FAINT, 0.4, 0.6)
