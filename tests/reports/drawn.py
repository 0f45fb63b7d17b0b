"""What is on a figure."""

import re

import numpy as np
from matplotlib.figure import Figure

from reports.style.figure_font import text_width
from reports.style.sheet import Shape, Shapes, Tiles, Words


def texts(figure: Figure) -> list[str]:
    """Return the texts of a figure in the order in which they were written."""
    return [word.text for words in figure.findobj(Words) for word in words.words]


def images(figure: Figure) -> list[np.ndarray]:
    """Return the images of a figure in the order in which they were put there."""
    return [tile.image for tiles in figure.findobj(Tiles) for tile in tiles.tiles]


def extents(figure: Figure) -> list[tuple[float, float, float, float]]:
    """Return left, bottom, right and top of each text, in inches."""
    found = []
    for words in figure.findobj(Words):
        for word in words.words:
            along, up = text_width(word.text, word.size), 0.76 * word.size / 72
            width, height = (up, along) if word.angle else (along, up)
            left = word.left - width if word.angle else word.left
            found.append((left, word.bottom, left + width, word.bottom + height))
    return found


def fillings(figure: Figure) -> list[str]:
    """Return the colour of each set of filled rectangles: those of the legend, then what it is of."""
    return [shape.colour.upper() for shape in _shapes(figure) if shape.filled]


def lines(figure: Figure) -> list[Shape]:
    """Return the sets of lines of a figure in the order in which they were drawn."""
    return [shape for shape in _shapes(figure) if not shape.filled]


def values_at(figure: Figure, heights: np.ndarray) -> np.ndarray:
    """Return what heights (N,) in inches stand for, by the numbers beside the first panel."""
    found = [word for words in figure.findobj(Words) for word in words.words]
    rights = {word.text: word.left + text_width(word.text, word.size) for word in found}
    edge = min(right for text, right in rights.items() if _is_number(text))
    beside = [
        w for w in found if _is_number(w.text) and abs(w.left + text_width(w.text, w.size) - edge) < 1e-6
    ]
    low, high = min(beside, key=lambda w: w.bottom), max(beside, key=lambda w: w.bottom)
    bottom, top = (word.bottom + 0.36 * word.size / 72 for word in (low, high))
    return float(low.text) + (heights - bottom) / (top - bottom) * (float(high.text) - float(low.text))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text) is not None


def _shapes(figure: Figure) -> list[Shape]:
    return [shape for shapes in figure.findobj(Shapes) for shape in shapes.shapes]
