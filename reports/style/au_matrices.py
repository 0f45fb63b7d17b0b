"""Figures of square matrices over AUs, side by side, with one scale of colours."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from eggan.aus import AU_COUNT, AU_NUMBERS
from reports.style.figure_style import INK
from reports.style.ranges import Range
from reports.style.sheet import Sheet

ACROSS = 5  # panels in a row
WIDTH, HEIGHT, SIDE = 2.6, 2.84, 2.2  # of a panel with what stands around it, and of its matrix, in inches
LEFT, BELOW = 0.4, 0.4  # of a matrix
SCALE = 0.9  # room for the scale of colours
SMALL, TITLE = 6.0, 9.0  # letters at rows and columns and of titles, in points
COLOURS = "RdBu_r"
LEAST = 0.5  # where the scale of colours ends at least
ENLARGED = 12  # dots of a value in a PDF: some viewers blur larger ones


def matrices(titles: Sequence[str], tables: Sequence[np.ndarray]) -> Figure:
    """Draw matrices (17, 17) whose rows are the AUs that were set, and whose columns those that were read."""
    across = min(ACROSS, len(tables))
    down = -(-len(tables) // across)
    sheet = Sheet(WIDTH * across + SCALE, HEIGHT * down)
    limit = max(LEAST, float(np.nanmax(np.abs(np.stack(tables)))))
    for number, (title, table) in enumerate(zip(titles, tables, strict=True)):
        left = WIDTH * (number % across) + LEFT
        bottom = HEIGHT * (down - 1 - number // across) + BELOW
        sheet.show(
            _coloured(np.repeat(table, ENLARGED, axis=0).repeat(ENLARGED, axis=1), limit),
            left,
            bottom,
            SIDE,
            SIDE,
            sharp=True,
        )
        sheet.write(left + SIDE / 2, bottom + SIDE + 0.08, title, TITLE, align=0.5, height="bottom")
        _dress(sheet, left, bottom, first=number % across == 0)
    _scale(sheet, WIDTH * across + 0.2, limit)
    return sheet.figure


def _coloured(values: np.ndarray, limit: float) -> np.ndarray:
    """Return values from -limit to limit as colours, uint8 (..., 3); white for NaN."""
    shares = np.ma.masked_invalid((values / limit + 1) / 2)
    colours = mpl.colormaps[COLOURS].with_extremes(bad="white")(shares, bytes=True)
    return np.ascontiguousarray(colours[..., :3])


def _dress(sheet: Sheet, left: float, bottom: float, first: bool) -> None:
    for place, number in enumerate(AU_NUMBERS):
        middle = SIDE * (place + 0.5) / AU_COUNT
        sheet.write(left + middle, bottom - 0.06, str(number), SMALL, align=0.5, height="top")
        sheet.write(left - 0.05, bottom + SIDE - middle, str(number), SMALL, align=1.0, height="middle")
    sheet.write(left + SIDE / 2, bottom - 0.2, "AU read", align=0.5, height="top")
    if first:
        sheet.write(left - 0.24, bottom + SIDE / 2, "AU set from 0 to 4", align=0.5, upwards=True)


def _scale(sheet: Sheet, left: float, limit: float) -> None:
    height, width = 0.8 * (sheet.height - HEIGHT + SIDE), 0.12
    bottom = (sheet.height - height) / 2
    strip = np.linspace(limit, -limit, 256)[:, None].repeat(8, axis=1)
    sheet.show(_coloured(strip, limit), left, bottom, width, height, sharp=True)
    for place, label in Range(-limit, limit, bottom, bottom + height).ticks(9):
        sheet.lines([np.array([[left + width, place], [left + width + 0.03, place]])], INK, 0.8)
        sheet.write(left + width + 0.07, place, label, height="middle")
    sheet.write(sheet.width - 0.08, bottom + height / 2, "change of the reading", align=0.5, upwards=True)
