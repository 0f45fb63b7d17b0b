"""Reading labels of any known kind."""

from pathlib import Path
from typing import Literal

from eggan.data.labels import openface, plain, pyfeat
from eggan.data.labels.csv_rows import read_rows
from eggan.data.labels.openface import Mode
from eggan.data.labels.table import LabelTable
from eggan.errors import UserError, known_names

Kind = Literal["auto", "openface", "csv"]
KINDS = ("auto", "openface", "csv")
FIRST_COLUMNS = 3  # of a table that is not understood: enough to see which names it uses
UNKNOWN_VERSION = "of unknown version"


def read_labels(
    path: Path, kind: str = "auto", version: str | None = None, mode: Mode | None = None
) -> LabelTable:
    """Return the labels of a file or folder; `version` and `mode` describe OpenFace's files.

    A py-feat file, an unknown format or a format other than the one named is a `UserError`.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"no such label file or folder: {path}")
    if kind not in KINDS:
        raise UserError(f"unknown kind of labels {kind!r}{known_names(kind, KINDS)}")
    found = _kind(path)
    if kind not in ("auto", found):
        raise UserError(f"{path} holds labels of kind {found}, not {kind}")
    if found == "csv":
        return plain.read_plain(path)
    return openface.read_openface(path, version or UNKNOWN_VERSION, mode)


def _kind(path: Path) -> str:
    first = next(iter(openface.csv_files(path)), None)
    if first is None:
        raise UserError(f"{path} holds no CSV file")
    header, _ = read_rows(first)
    if pyfeat.is_pyfeat(header):
        raise UserError(f"{first}: {pyfeat.REFUSED} (`eggan data compare-labels` takes it as second opinion)")
    if openface.is_openface(header):
        return "openface"
    if plain.is_plain(header) and path.is_file():
        return "csv"
    raise UserError(
        f"{first} holds no AU intensities: neither OpenFace's columns (confidence, AU01_r, ..) "
        f"nor a table with file, au01, ..; it begins with {', '.join(map(repr, header[:FIRST_COLUMNS]))}"
    )
