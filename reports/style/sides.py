"""The sides of a panel of a figure: what stands beneath it and beside it, and thin lines across."""

from collections.abc import Iterable

import numpy as np

from reports.style.figure_style import FAINT
from reports.style.ranges import ROUND, Range
from reports.style.sheet import Sheet

ALONG, UP = 9, 7  # at most as many spaces between round numbers


def write_beneath(sheet: Sheet, y: Range, places: Iterable[tuple[float, str]]) -> None:
    """Write words beneath a panel, each around a place in inches."""
    for place, label in places:
        sheet.write(place, y.start - 0.07, label, align=0.5, height="top")


def write_values(sheet: Sheet, x: Range, y: Range) -> None:
    """Write round numbers beside a panel, and draw a thin line across it from each."""
    thin = []
    for place, label in y.ticks(UP, ROUND):
        thin.append(np.array([[x.start, place], [x.end, place]]))
        sheet.write(x.start - 0.06, place, label, align=1.0, height="middle")
    sheet.lines(thin, FAINT, 0.5, 0.6)
