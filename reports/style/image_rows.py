"""Figures of images: labelled rows under headings."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from reports.style.figure_style import style
from reports.style.sheet import POINT, Sheet

LABEL_CHARACTERS = 18  # in one line of the label of a row
TILE, LABEL, GAP, TOP = 0.82, 1.36, 0.12, 0.26  # the parts of a figure, in inches
SIDE = TILE - 0.03  # of an image, in inches
LETTERS, LINE = 7.5, 7.5 * 1.2  # size of letters, and from line to line, in points
ImageRow = tuple[str, list[np.ndarray | None]]  # its label and images, None where a place stays empty


def image_rows(rows: Sequence[ImageRow], headings: Sequence[str], per_face: int) -> Figure:
    """Draw labelled rows of square images; every `per_face` rows a gap."""
    width = LABEL + TILE * len(headings)
    height = TOP + TILE * len(rows) + GAP * ((len(rows) - 1) // per_face)
    with style():
        sheet = Sheet(width, height)
        for down, (label, images) in enumerate(rows):
            bottom = height - TOP - TILE * (down + 1) - GAP * (down // per_face)
            _label(sheet, label, bottom + TILE / 2)
            for across, image in enumerate(images):
                if image is not None:
                    sheet.show(image, LABEL + TILE * across, bottom, SIDE, SIDE)
        for across, heading in enumerate(headings):
            middle = LABEL + TILE * across + SIDE / 2
            sheet.write(middle, height - TOP + 0.06, heading, LETTERS, align=0.5, height="bottom")
    return sheet.figure


def _label(sheet: Sheet, label: str, middle: float) -> None:
    lines = textwrap.wrap(label, LABEL_CHARACTERS)
    for number, line in enumerate(lines):
        y = middle + LINE * POINT * ((len(lines) - 1) / 2 - number)
        sheet.write(LABEL - 0.08, y, line, LETTERS, align=1.0, height="middle")
