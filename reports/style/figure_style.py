"""How figures look and are stored: PNG and PDF with the same bytes for the same input.

Figures are built without pyplot and under a local style, so that importing or drawing changes nothing global.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

from reports.style.figure_font import families, held_whole
from reports.style.quick_matplotlib import COMPRESSION, Figure, FigureCanvasAgg, quick_images

DPI = 162  # images of 128 px have their own dots on a page, those of 64 px twice as many
INK, FAINT = "#1f2933", "#cbd2d9"
STYLE: dict[str, Any] = {
    "font.size": 8.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0.0,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "image.composite_image": False,  # in a PDF every picture keeps its own place and size
    "pdf.fonttype": 42,
    "ps.fonttype": 42,  # by which matplotlib decides whether a PDF has a font twice: for signs above 255
    "pdf.compression": COMPRESSION,
    "svg.hashsalt": "eggan",
    "figure.dpi": DPI,
}
NO_DATES = {"CreationDate": None, "Producer": None}


@dataclass(frozen=True)
class Picture:
    """A figure with its name, title and caption."""

    key: str
    title: str
    caption: str
    figure: Figure

    @property
    def alternative(self) -> str:
        """What is shown, in words, for who cannot see it."""
        return f"{self.title}. {self.caption}"

    @property
    def inches(self) -> float:
        """Width of the figure as printed: its letters have the size of the page's text there."""
        return round(float(self.figure.get_figwidth()), 2)

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height of the PNG, for a page that keeps the place before it is loaded."""
        width, height = self.figure.get_size_inches()
        return int(width * DPI), int(height * DPI)


def _defaults() -> dict[str, Any]:
    """Matplotlib's own defaults, so that a user's style file changes no report; the backend stays."""
    return {name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")}


def legend_columns(entries: int, most: int) -> int:
    """Return in how many columns, of at most `most`, the entries of a legend fill its rows evenly."""
    rows = max(1, -(-entries // most))
    return max(1, -(-entries // rows))


@contextmanager
def style() -> Iterator[None]:
    """Draw under the house style inside the block."""
    settings: Any = _defaults() | STYLE | {"font.family": families()}  # the stubs want literal names
    with mpl.rc_context(settings):
        yield


def save(picture: Picture, folder: Path) -> list[Path]:
    """Write `<key>.png` (162 dpi) and `<key>.pdf` and return their paths; no dates inside.

    The folder is one that nobody reads yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    png, pdf = (folder / f"{picture.key}.{suffix}" for suffix in ("png", "pdf"))
    picture.figure.dpi = DPI
    canvas = FigureCanvasAgg(picture.figure)
    with style(), held_whole(), quick_images():
        lay_out(picture.figure)
        canvas.draw()
        dots = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")  # nothing shines through
        dots.save(png, format="PNG", compress_level=COMPRESSION, dpi=(DPI, DPI))
        picture.figure.savefig(pdf, format="pdf", dpi=DPI, metadata=NO_DATES)
    return [png, pdf]


def lay_out(figure: Figure) -> None:
    """Give everything its place, once: with its engine, a figure is laid out and drawn twice a file."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)
