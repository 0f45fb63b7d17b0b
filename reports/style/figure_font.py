"""The font of figures: DejaVu Sans without what no figure needs, since every PDF reads a whole font anew.

Letters, digits and signs look the same, to the dot; a figure with other signs has the whole font beside it.
"""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import matplotlib as mpl
from fontTools import subset
from matplotlib import font_manager

WHOLE, LEAN = "DejaVu Sans", "DejaVu Sans Lean"
# Latin with its accents, Greek, punctuation, arrows, signs of mathematics
SIGNS = (*range(0x20, 0x250), *range(0x370, 0x400), *range(0x2010, 0x2070), *range(0x2190, 0x2270))
FAMILY, FULL_NAME, POSTSCRIPT, TYPOGRAPHIC = 1, 4, 6, 16  # names in a font's table of names


@cache
def families() -> list[str]:
    """Return the families of figures, the first where it has a sign; it is made once in a process."""
    folder = Path(tempfile.mkdtemp(prefix="eggan-font-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "lean.ttf"
    options = subset.Options(
        layout_features=["*"], drop_tables=[*subset.Options().drop_tables, "FFTM"], name_IDs=["*"]
    )
    with subset.load_font(str(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=SIGNS)
        subsetter.subset(font)
        for record in font["name"].names:
            if record.nameID in (FAMILY, FULL_NAME, TYPOGRAPHIC):
                record.string = LEAN
            elif record.nameID == POSTSCRIPT:
                record.string = LEAN.replace(" ", "")
        font.save(path)
    font_manager.fontManager.addfont(path)
    return [LEAN, WHOLE]
