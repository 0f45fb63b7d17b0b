"""Figures on which everything has its place in inches, from the lower left corner.

Matplotlib's own axes and texts measure each other again and again to find their places, which takes longest
of all about a figure. Here one artist draws all texts of a figure, one all its images, one the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from PIL import Image

from reports.style import figure_style
from reports.style.figure_font import families_for, text_width

SIZE = 8.0  # of letters, in points, as all sizes here
POINT = 1 / 72  # in inches
CAP = 0.012  # half the width of the end of a whisker, in inches
Height = Literal["baseline", "middle", "top", "bottom"]
# From a height of a text to its baseline, as a share of its size: half a digit, a digit, what hangs below
TO_BASELINE: dict[Height, float] = {"baseline": 0.0, "middle": -0.36, "top": -0.76, "bottom": 0.22}
SWATCH, AFTER_SWATCH, BETWEEN, LEGEND_LINE = 0.12, 0.07, 0.18, 0.18  # the parts of a legend


@dataclass(frozen=True)
class Word:
    """A text, where its baseline starts, its size, and by how many degrees it is turned."""

    text: str
    left: float
    bottom: float
    size: float
    angle: float


@dataclass(frozen=True)
class Tile:
    """An image uint8 (H, W, 3), its place and its size; `sharp` where its pixels are no photograph's."""

    image: np.ndarray
    left: float
    bottom: float
    width: float
    height: float
    sharp: bool

    def dots(self, dpi: float) -> tuple[int, int]:
        """Return width and height in dots."""
        return round(self.width * dpi), round(self.height * dpi)


@dataclass(frozen=True)
class Shape:
    """Lines of some points' width, or rectangles that are filled, in one colour."""

    path: Path
    colour: str
    width: float
    alpha: float = 1.0
    filled: bool = False


class _Layer(Artist):
    """All parts of one kind of a figure, drawn one over another in the order in which they were added."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw every part at its place."""
        figure = self.get_figure(root=True)
        assert figure is not None
        context = renderer.new_gc()
        self.draw_parts(renderer, context, figure)
        context.restore()

    def draw_parts(self, renderer: RendererBase, context: GraphicsContextBase, figure: Figure) -> None:
        """Draw every part with a context that this layer alone has."""
        raise NotImplementedError


class Shapes(_Layer):
    """All lines and filled shapes of a figure."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.shapes = shapes

    def draw_parts(self, renderer: RendererBase, context: GraphicsContextBase, figure: Figure) -> None:
        """Draw every shape in its colour."""
        for shape in self.shapes:
            context.set_foreground(shape.colour)
            context.set_alpha(shape.alpha)
            context.set_linewidth(shape.width)
            filling = to_rgb(shape.colour) if shape.filled else None
            renderer.draw_path(context, shape.path, figure.dpi_scale_trans, filling)


class Words(_Layer):
    """All texts of a figure."""

    def __init__(self, words: Sequence[Word]) -> None:
        super().__init__()
        self.words = words

    def draw_parts(self, renderer: RendererBase, context: GraphicsContextBase, figure: Figure) -> None:
        """Draw every text in the colour of ink."""
        context.set_foreground(figure_style.INK)
        top = figure.bbox.height
        for word in self.words:
            font = FontProperties(family=families_for(word.text), size=word.size)
            x, y = word.left * figure.dpi, word.bottom * figure.dpi
            renderer.draw_text(context, x, top - y if renderer.flipy() else y, word.text, font, word.angle)


class Tiles(_Layer):
    """All images of a figure.

    In a PNG they are enlarged to its dots, photographs smoothly; a PDF holds the pixels themselves, unless
    these are finer than the dots, and leaves the rest to who shows it.
    """

    def __init__(self, tiles: Sequence[Tile]) -> None:
        super().__init__()
        self.tiles = tiles

    def draw_parts(self, renderer: RendererBase, context: GraphicsContextBase, figure: Figure) -> None:
        """Draw every image as large as the renderer wants it."""
        for tile in self.tiles:
            x, y = tile.left * figure.dpi, tile.bottom * figure.dpi
            if renderer.option_scale_image():
                most = tile.dots(figure_style.DPI)
                held = tile.image if tile.image.shape[1] <= most[0] else _resized(tile, most)
                scaled = Affine2D().scale(tile.width * figure.dpi, tile.height * figure.dpi)
                renderer.draw_image(context, x, y, _upwards(held), scaled)
            else:
                enlarged = _resized(tile, tile.dots(figure.dpi))
                renderer.draw_image(context, round(x), round(y), _upwards(enlarged))


def _resized(tile: Tile, dots: tuple[int, int]) -> np.ndarray:
    how = Image.Resampling.NEAREST if tile.sharp else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(tile.image).resize(dots, how))


def _upwards(image: np.ndarray) -> np.ndarray:
    """Return an image as renderers take it: RGBA, the lowest row first."""
    opaque = np.full((*image.shape[:2], 4), 255, np.uint8)
    opaque[..., :3] = image[::-1]
    return opaque


class Sheet:
    """A figure in the making, of `width` x `height`; made under the house style."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        self.words, self.tiles, self.shapes = list[Word](), list[Tile](), list[Shape]()
        for artist in (Tiles(self.tiles), Shapes(self.shapes), Words(self.words)):
            self.figure.add_artist(artist)

    def write(
        self,
        x: float,
        y: float,
        text: str,
        size: float = SIZE,
        align: float = 0.0,
        height: Height = "baseline",
        upwards: bool = False,
    ) -> None:
        """Write a text, from `x` on, or with `align` so much of it before `x`: 0.5 around it, 1 up to it.

        `height`: what of the text is at `y`. `upwards`: turned to the left, along `y`.
        """
        before, down = align * text_width(text, size), TO_BASELINE[height] * size * POINT
        left, bottom = (x - down, y - before) if upwards else (x - before, y + down)
        self.words.append(Word(text, left, bottom, size, 90.0 if upwards else 0.0))

    def show(
        self, image: np.ndarray, left: float, bottom: float, width: float, height: float, sharp: bool = False
    ) -> None:
        """Show an image uint8 (H, W, 3) at a place."""
        self.tiles.append(Tile(image, left, bottom, width, height, sharp))

    def lines(self, paths: Sequence[np.ndarray], colour: str, width: float, alpha: float = 1.0) -> None:
        """Draw lines through points (N, 2), `width` points wide; where a point is not finite, a gap."""
        self.shapes.append(Shape(Path.make_compound_path(*map(Path, paths)), colour, width, alpha))

    def boxes(
        self,
        left: np.ndarray,
        bottom: np.ndarray,
        right: np.ndarray,
        top: np.ndarray,
        colour: str,
        alpha: float = 1.0,
    ) -> None:
        """Fill rectangles, each side (N,); those with a side that is no number are left out."""
        corners = np.stack([left, bottom, left, top, right, top, right, bottom, left, bottom], axis=1)
        finite = corners[np.isfinite(corners).all(axis=1)].reshape(-1, 2)
        codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * (len(finite) // 5)
        self.shapes.append(Shape(Path(finite, codes), colour, 0.0, alpha, filled=True))

    def whiskers(
        self, places: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, width: float
    ) -> None:
        """Draw an upright line at each of places (N,) from `low` to `high`, with a cap at either end."""
        upright = [np.array([[at, one], [at, two]]) for at, one, two in zip(places, low, high, strict=True)]
        caps = [
            np.array([[at - CAP, end], [at + CAP, end]])
            for reached in (low, high)
            for at, end in zip(places, reached, strict=True)
        ]
        self.lines(upright + caps, colour, width)

    def dots(self, points: np.ndarray, size: float, colour: str) -> None:
        """Fill a circle of `size` points around each of points (N, 2) that are finite."""
        circle = Path.unit_circle()
        finite = points[np.isfinite(points).all(axis=1)]
        outline = np.asarray(circle.vertices) * (size * POINT / 2)
        around = [Path(outline + point, circle.codes) for point in finite]
        self.shapes.append(Shape(Path.make_compound_path(*around), colour, 0.0, filled=True))

    def frame(self, left: float, bottom: float, right: float, top: float) -> None:
        """Draw the left and the lower side of a panel."""
        corner = np.array([[left, top], [left, bottom], [right, bottom]])
        self.lines([corner], figure_style.FAINT, 0.8)

    def legend(self, entries: Sequence[tuple[str, str]], columns: int) -> float:
        """Write names beside their colours along the upper edge, in so many columns or in as many as fit;
        return where they end.
        """
        steps = _steps([name for name, _ in entries], columns)
        while steps[-1] > self.width and columns > 1:
            columns -= 1
            steps = _steps([name for name, _ in entries], columns)
        start, lines = (self.width - steps[-1]) / 2, -(-len(entries) // columns)
        for number, (name, colour) in enumerate(entries):
            left = start + steps[number % columns]
            middle = self.height - LEGEND_LINE * (number // columns + 0.6)
            ends = np.array([[left], [middle - SWATCH / 3], [left + SWATCH], [middle + SWATCH / 3]])
            self.boxes(ends[0], ends[1], ends[2], ends[3], colour)
            self.write(left + SWATCH + AFTER_SWATCH, middle, name, height="middle")
        return self.height - LEGEND_LINE * (lines + 0.4)


def _steps(names: Sequence[str], columns: int) -> np.ndarray:
    """Return where each column of a legend begins, and where the last one ends, (columns + 1,)."""
    widths = [
        max((text_width(name, SIZE) for name in names[k::columns]), default=0.0) for k in range(columns)
    ]
    return np.cumsum([0.0, *(SWATCH + AFTER_SWATCH + width + BETWEEN for width in widths)])
