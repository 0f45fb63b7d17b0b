"""The font of figures: DejaVu Sans without what no figure needs, since every PDF reads a whole font anew.

Letters, digits and signs look the same, to the dot; a figure with other signs has the whole font beside it.
"""

import tempfile
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib import font_manager

from eggan.files import hash_files, write_atomically

DIGITS = 16  # of the hashes in the name of a file
WHOLE, LEAN = "DejaVu Sans", "DejaVu Sans Lean"
# Latin with its accents, Greek, punctuation, arrows, signs of mathematics
SIGNS = (*range(0x20, 0x250), *range(0x370, 0x400), *range(0x2010, 0x2070), *range(0x2190, 0x2270))
FAMILY, FULL_NAME, POSTSCRIPT, TYPOGRAPHIC = 1, 4, 6, 16  # names in a font's table of names


@cache
def families() -> list[str]:
    """Return the families of figures, the first where it has a sign."""
    font_manager.fontManager.addfont(_lean(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf")))
    return [LEAN, WHOLE]


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

    options = subset.Options(
        layout_features=["*"], drop_tables=[*subset.Options().drop_tables, "FFTM"], name_IDs=["*"]
    )
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
