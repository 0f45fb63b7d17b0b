"""Matplotlib without what takes long and no figure shows.

Its import writes the documentation of some hundred classes, which takes a third of its time. What is imported
here first goes without; whatever is imported later has its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from matplotlib import artist
from PIL import Image

__all__ = ["COMPRESSION", "Figure", "FigureCanvasAgg", "quick_images"]

COMPRESSION = 2  # of PNGs and PDFs: takes a third of the time of the default, for files a quarter larger


@contextmanager
def _replaced(owner: Any, name: str, other: Any) -> Iterator[None]:
    """Have `other` inside the block in the place of an attribute of matplotlib's own.

    One that a matplotlib of another version lacks stays away: the figures are the same, only slower.
    """
    if name not in vars(owner):
        yield
        return
    kept = vars(owner)[name]
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, kept)


@contextmanager
def _undocumented() -> Iterator[None]:
    """Import inside the block without lists of properties in the documentation of artists."""
    unchanged = classmethod(lambda _: None)
    with (
        _replaced(artist, "kwdoc", lambda _: ""),
        _replaced(artist.Artist, "_update_set_signature_and_docstring", unchanged),
    ):
        yield


@contextmanager
def quick_images() -> Iterator[None]:
    """Compress images of PDFs inside the block no more than PNGs."""
    from matplotlib.backends.backend_pdf import PdfFile

    write: Any = getattr(PdfFile, "_writePng", None)
    with _replaced(PdfFile, "_writePng", lambda self, image: write(self, _QuickImage(image))):
        yield


class _QuickImage:
    """What matplotlib takes for an image that it writes into a PDF."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image

    def save(self, file: BinaryIO, format: str) -> None:
        """Write the image."""
        self.image.save(file, format=format, compress_level=COMPRESSION)


with _undocumented():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
