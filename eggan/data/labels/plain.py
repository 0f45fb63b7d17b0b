"""A plain table of AU labels: `file, au01, .., au45` and what else is known of each image."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from eggan.aus import AU_COLUMNS, AU_COUNT
from eggan.data.labels.csv_rows import CsvRow, read_rows
from eggan.data.labels.table import LabelTable, key_of, make_table
from eggan.errors import UserError, known_names

KNOWN = (
    "file",
    *AU_COLUMNS,
    "identity",
    "expression",
    "gaze",
    "split",
    "tool",
    "version",
    "mode",
    "confidence",
)


def is_plain(header: list[str]) -> bool:
    """Return whether a header is a plain table's."""
    return "file" in header and any(name in header for name in AU_COLUMNS)


def read_plain(path: Path) -> LabelTable:
    """Read a plain table; columns `tool`, `version`, `mode` are equal in all rows where they are given.

    Further columns (identity, expression, gaze, split) are kept as text. An unknown column is a `UserError`,
    since a misspelt one would be ignored.
    """
    path = Path(path)
    header, rows = read_rows(path)
    _check_header(path, header)
    if not rows:
        raise UserError(f"{path} has a header and no row")
    table = {}
    for row in rows:
        if not row["file"]:
            raise UserError(f"{row.where}: the column 'file' is empty")
        key = key_of(row["file"])
        if key in table:
            raise UserError(f"{row.where}: {row['file']!r} is labelled twice")
        values = {name: row.number(name) for name in AU_COLUMNS}
        confidence = row.number("confidence") if row.get("confidence") else 1.0
        if not 0 <= confidence <= 1:
            raise UserError(f"{row.where}: confidence is {confidence:g}, outside [0, 1]")
        extra = {name: row[name] for name in header if name not in (*AU_COLUMNS, "confidence")}
        table[key] = {**values, "confidence": confidence, "problem": "", **extra}
    frame = pd.DataFrame.from_dict(table, orient="index")
    tool, version, mode = (_same(path, rows, name) for name in ("tool", "version", "mode"))
    return make_table(tool or "table", version, mode, frame, path)


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in ("file", *AU_COLUMNS) if name not in header]
    if missing:
        near = next((other for other in header if other.casefold() == missing[0]), None)
        hint = f" (it has {near!r}: write it in small letters)" if near else ""
        raise UserError(f"{path} lacks the column {missing[0]!r}{hint}{'' if hint else _further(missing)}")
    unknown = [name for name in header if name not in KNOWN]
    if unknown:
        raise UserError(f"{path} has the unknown column {unknown[0]!r}{known_names(unknown[0], KNOWN)}")


def _further(missing: Sequence[str]) -> str:
    """Return the end of a message on the first missing column: the others, and how a table gets them."""
    others = f", and {', '.join(missing[1:])}" if len(missing) > 1 else ""
    return (
        f"{others}: photographs need all {AU_COUNT} AUs, as OpenFace measures them (--openface in place of "
        "--labels); labels that lack some, as DISFA's and BP4D's do, cannot be filled up"
    )


def _same(path: Path, rows: Sequence[CsvRow], name: str) -> str:
    values = sorted({row.get(name, "") for row in rows})
    if len(values) > 1:
        raise UserError(f"{path}: labels of {name} {values[0]!r} and {values[1]!r} cannot be mixed")
    return values[0]
