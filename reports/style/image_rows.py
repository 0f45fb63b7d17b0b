"""Figures of images: labelled rows under headings."""

import textwrap
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from reports.style.figure_style import literal, style

LABEL_CHARACTERS = 18  # in one line of the label of a row
TILE, LABEL, GAP, TOP = 0.82, 1.36, 0.12, 0.26  # the parts of a figure, in inches
ImageRow = tuple[str, list[np.ndarray | None]]  # its label and images, None where a place stays empty


def image_rows(rows: Sequence[ImageRow], headings: Sequence[str], per_face: int) -> Figure:
    """Draw labelled rows of images; every `per_face` rows a gap."""
    width = LABEL + TILE * len(headings)
    height = TOP + TILE * len(rows) + GAP * ((len(rows) - 1) // per_face)
    with style():
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))  # in inches, for all images
        axes.set_axis_off()
        text = partial(figure.text, fontsize=7.5, transform=figure.dpi_scale_trans)
        for down, (label, images) in enumerate(rows):
            bottom = height - TOP - TILE * (down + 1) - GAP * (down // per_face)
            lines = literal(textwrap.fill(label, LABEL_CHARACTERS))
            text(LABEL - 0.08, bottom + TILE / 2, lines, ha="right", va="center")
            for across, image in enumerate(images):
                if image is not None:
                    left = LABEL + TILE * across
                    extent = (left, left + TILE - 0.03, bottom, bottom + TILE - 0.03)
                    axes.imshow(image, interpolation="bicubic", aspect="auto", extent=extent)
        for across, heading in enumerate(headings):
            middle = LABEL + TILE * (across + 0.5) - 0.015
            text(middle, height - TOP + 0.06, literal(heading), ha="center", va="bottom")
    return figure
