"""Figures of images: labelled rows under headings."""

import textwrap
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D
from PIL import Image

from reports.style import figure_style
from reports.style.figure_style import literal, style

LABEL_CHARACTERS = 18  # in one line of the label of a row
TILE, LABEL, GAP, TOP = 0.82, 1.36, 0.12, 0.26  # the parts of a figure, in inches
SIDE = TILE - 0.03  # of an image, in inches
ImageRow = tuple[str, list[np.ndarray | None]]  # its label and images, None where a place stays empty


class Tiles(Artist):
    """All images of a figure: an artist of matplotlib's own for each costs more than the rest of a page.

    In a PNG they are enlarged smoothly to its dots; a PDF holds the pixels themselves, unless these are finer
    than the dots, and leaves the rest to who shows it. `images`: (left, bottom) in inches, and uint8 (S, S,
    3).
    """

    def __init__(self, images: Sequence[tuple[float, float, np.ndarray]]) -> None:
        super().__init__()
        self.images = images

    def draw(self, renderer: RendererBase) -> None:
        """Draw every image at its place."""
        figure = self.get_figure(root=True)
        assert figure is not None
        context = renderer.new_gc()
        for left, bottom, image in self.images:
            x, y = left * figure.dpi, bottom * figure.dpi
            if renderer.option_scale_image():
                most = round(SIDE * figure_style.DPI)
                held = image if len(image) <= most else _resized(image, most)
                scaled = Affine2D().scale(SIDE * figure.dpi)
                renderer.draw_image(context, x, y, _upwards(held), scaled)
            else:
                enlarged = _resized(image, round(SIDE * figure.dpi))
                renderer.draw_image(context, round(x), round(y), _upwards(enlarged))
        context.restore()


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def _upwards(image: np.ndarray) -> np.ndarray:
    """Return an image as renderers take it: RGBA, the lowest row first."""
    opaque = np.full((*image.shape[:2], 4), 255, np.uint8)
    opaque[..., :3] = image[::-1]
    return opaque


def image_rows(rows: Sequence[ImageRow], headings: Sequence[str], per_face: int) -> Figure:
    """Draw labelled rows of square images; every `per_face` rows a gap."""
    width = LABEL + TILE * len(headings)
    height = TOP + TILE * len(rows) + GAP * ((len(rows) - 1) // per_face)
    tiles = []
    with style():
        figure = Figure(figsize=(width, height))
        text = partial(figure.text, fontsize=7.5, transform=figure.dpi_scale_trans)
        for down, (label, images) in enumerate(rows):
            bottom = height - TOP - TILE * (down + 1) - GAP * (down // per_face)
            lines = literal(textwrap.fill(label, LABEL_CHARACTERS))
            text(LABEL - 0.08, bottom + TILE / 2, lines, ha="right", va="center")
            placed = enumerate(images)
            tiles += [(LABEL + TILE * across, bottom, image) for across, image in placed if image is not None]
        for across, heading in enumerate(headings):
            middle = LABEL + TILE * (across + 0.5) - 0.015
            text(middle, height - TOP + 0.06, literal(heading), ha="center", va="bottom")
        figure.add_artist(Tiles(tiles))
    return figure
