"""The font of figures: DejaVu Sans without what no figure needs, so small that every PDF holds all of it.

To look for what one figure needs of a font takes longer than all else about its PDF. Letters, digits and
signs look the same, to the dot; a figure with other signs has a part of the whole font beside it.
"""

import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font, LoadFlags

from eggan.files import hash_files, write_atomically

DIGITS = 16  # of the hashes in the name of a file
WHOLE, LEAN = "DejaVu Sans", "DejaVu Sans Lean"
# Latin with its accents, Greek, punctuation, arrows, signs of mathematics
SIGNS = (
    *(*range(0x20, 0x180), *range(0x391, 0x3CA), *range(0x2010, 0x203B), *range(0x2190, 0x2194)),
    *map(ord, "−∈∉∞≈≠≤≥"),
)
_LEAN_SIGNS = frozenset(SIGNS)
FAMILY, FULL_NAME, POSTSCRIPT, TYPOGRAPHIC = 1, 4, 6, 16  # names in a font's table of names


@cache
def families() -> list[str]:
    """Return the families of figures, the first where it has a sign."""
    font_manager.fontManager.addfont(_lean_font())
    return [LEAN, WHOLE]


def families_for(text: str) -> list[str]:
    """Return the families that have the signs of a text: to look for one is faster than for two."""
    return families() if set(map(ord, text)) - _LEAN_SIGNS else families()[:1]


@lru_cache(maxsize=4096)  # the same words stand on many figures
def text_width(text: str, size: float) -> float:
    """Return how wide a text of `size` points is, in inches."""
    font = _font(tuple(families_for(text)))
    font.set_size(size, 72)
    font.set_text(text, 0.0, flags=LoadFlags.NO_HINTING)
    return float(font.get_width_height()[0]) / 64 / 72


@cache
def _font(names: tuple[str, ...]) -> FT2Font:
    return font_manager.get_font([font_manager.findfont(name) for name in names])


@contextmanager
def held_whole() -> Iterator[None]:
    """Write PDFs inside the block with all of the lean font in them, and what they need of other fonts."""
    _import_when_used("fontTools", "subset")
    from matplotlib.backends import _backend_pdf_ps

    part_of = _backend_pdf_ps.get_glyphs_subset

    def whole_or_part(fontfile: Any, glyphs: set[Any]) -> AbstractContextManager[Any]:
        if Path(fontfile) != _lean_font():
            return part_of(fontfile, glyphs)
        same = {glyph: glyph for glyph in glyphs}
        return nullcontext(_backend_pdf_ps.SubsetResults(_FontFile(_lean_font()), same))

    _backend_pdf_ps.get_glyphs_subset = whole_or_part
    try:
        yield
    finally:
        _backend_pdf_ps.get_glyphs_subset = part_of


def _import_when_used(package: str, name: str) -> None:
    """Let matplotlib import a module of a package without loading it: it may never be used."""
    parent, whole = importlib.import_module(package), f"{package}.{name}"
    spec = None if whole in sys.modules else importlib.util.find_spec(whole)
    if spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    setattr(parent, name, module)
    sys.modules[whole] = module
    spec.loader.exec_module(module)


class _FontFile:
    """What matplotlib takes for a part of a font: a file as it is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, file: BinaryIO, **_: Any) -> None:
        """Write the font."""
        file.write(self.path.read_bytes())


@cache
def _lean_font() -> Path:
    return _lean(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf"))


def _lean(whole: Path) -> Path:
    """Return the font without what no figure needs; it is made once, beside matplotlib's own list of fonts.

    Its name says of which file and by which code it was made, and what is in it.
    """
    made_of = hash_files([whole, Path(__file__)])[:DIGITS]
    cache = Path(mpl.get_cachedir())
    for path in cache.glob(f"eggan-{made_of}-*.ttf"):
        if path.stem.endswith(hash_files([path])[:DIGITS]):
            return path
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "lean.ttf")
        _write_lean(whole, made)
        kept = cache / f"eggan-{made_of}-{hash_files([made])[:DIGITS]}.ttf"
        write_atomically(kept, lambda path: path.write_bytes(made.read_bytes()))
    return kept


def _write_lean(whole: Path, path: Path) -> None:
    from fontTools import subset

    dropped = [*subset.Options().drop_tables, "FFTM"]
    options = subset.Options(layout_features=["*"], drop_tables=dropped, name_IDs=["*"])
    with subset.load_font(str(whole), options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=SIGNS)
        subsetter.subset(font)
        for record in font["name"].names:
            if record.nameID in (FAMILY, FULL_NAME, TYPOGRAPHIC):
                record.string = LEAN
            elif record.nameID == POSTSCRIPT:
                record.string = LEAN.replace(" ", "")
        font.save(path)
