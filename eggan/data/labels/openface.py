"""OpenFace's CSV files, as every 2.x version writes them.

FaceLandmarkImg writes one file per image (`face, confidence, ...`), a row per face and no row or no file
where it finds none. FeatureExtraction writes one file per video or image sequence (`frame, [face_id,]
timestamp, confidence, success, ...`) and fills frames without a face with zeros. Headers have spaces after
their commas up to 2.1 and none from 2.2 on; `face_id` came with 2.1. Intensities are the columns AU01_r ..
AU45_r; AU01_c .. are presences and are not used.
"""

import math
from pathlib import Path
from typing import Literal

import pandas as pd

from eggan.aus import AU_COLUMNS, AU_NUMBERS, MAX_INTENSITY
from eggan.data.file_tree import read_tree
from eggan.data.labels.csv_rows import CsvRow, read_rows
from eggan.data.labels.table import FRAME, LabelTable, key_of, make_table, merge
from eggan.errors import UserError
from eggan.progress import progress_bar

TOOL = "OpenFace"
INTENSITIES = tuple(f"AU{number:02d}_r" for number in AU_NUMBERS)
NO_FACE = "OpenFace found no face"
MANY_FILES = 500

Mode = Literal["static", "dynamic"]


def read_openface(path: Path, version: str, mode: Mode | None = None) -> LabelTable:
    """Read a CSV file, or every CSV below a folder, as one table.

    The files carry no version, so the caller names it. `mode` None reads single images as static and
    sequences as dynamic, which is what OpenFace does unless FeatureExtraction is given -au_static; only the
    user can know that. Single images are never dynamic.
    """
    path = Path(path)
    files = csv_files(path)
    if not files:
        raise UserError(f"{path} holds no CSV file of OpenFace")
    counted = progress_bar(files, len(files), "OpenFace labels") if len(files) > MANY_FILES else files
    root = path if path.is_dir() else path.parent
    return merge([_read_file(file, root, version, mode) for file in counted], path)


def csv_files(path: Path) -> list[Path]:
    """Return a file, or every CSV file below a folder, without what is hidden there."""
    if not path.is_dir():
        return [path]
    return [path / file for file in read_tree(path).files if file.lower().endswith(".csv")]


def is_openface(header: list[str]) -> bool:
    """Return whether a header is one of OpenFace's."""
    return "confidence" in header and any(name.endswith("_r") and name.startswith("AU") for name in header)


def missing_intensities(header: list[str]) -> list[str]:
    """Return the columns of intensities that a header lacks."""
    return [name for name in INTENSITIES if name not in header]


def _read_file(path: Path, root: Path, version: str, mode: Mode | None) -> LabelTable:
    header, rows = read_rows(path)
    if not is_openface(header):
        raise UserError(f"{path} is not a CSV of OpenFace with AU intensities (columns AU01_r .. AU45_r)")
    missing = missing_intensities(header)
    if missing:
        raise UserError(f"{path} lacks the column {missing[0]}")
    key = key_of(path.relative_to(root).as_posix())
    sequence = "frame" in header
    if mode == "dynamic" and not sequence:
        raise UserError(f"{path} is of a single image: OpenFace's mode was static, not dynamic")
    table = _sequence(key, rows) if sequence else _image(key, rows)
    return make_table(TOOL, version, mode or ("dynamic" if sequence else "static"), table, path)


def _image(key: str, rows: list[CsvRow]) -> pd.DataFrame:
    """Return the one row of an image's file."""
    if len(rows) > 1:
        return _table({key: _failed(f"OpenFace found several faces ({len(rows)})")})
    return _table({key: _face(rows[0]) if rows else _failed(NO_FACE)})


def _sequence(key: str, rows: list[CsvRow]) -> pd.DataFrame:
    """Return a row per frame of a video's file; OpenFace counts frames from 1, keys count from 0."""
    found: dict[str, dict[str, object]] = {}
    for row in rows:
        frame = row.number("frame")
        if frame < 1 or frame != int(frame):
            raise UserError(f"{row.where}: frame is {row['frame']}: OpenFace counts frames from 1")
        name = f"{key}{FRAME}{int(frame) - 1}"
        several = name in found
        found[name] = _failed("OpenFace found several faces") if several else _face(row)
    return _table(found)


def _face(row: CsvRow) -> dict[str, object]:
    if "success" in row and row.number("success") == 0:
        return _failed(NO_FACE)  # what else such a row holds, zeros or leftovers, means nothing
    values = [row.number(name) for name in INTENSITIES]
    confidence = row.number("confidence")
    if confidence == 0 and not any(values):
        return _failed(NO_FACE)
    for name, value in zip(INTENSITIES, values, strict=True):
        if not 0 <= value <= MAX_INTENSITY:
            raise UserError(f"{row.where}: {name} is {value:g}, outside [0, {MAX_INTENSITY:g}]")
    return {**dict(zip(AU_COLUMNS, values, strict=True)), "confidence": confidence, "problem": ""}


def _failed(problem: str) -> dict[str, object]:
    return {**dict.fromkeys(AU_COLUMNS, math.nan), "confidence": 0.0, "problem": problem}


def _table(rows: dict[str, dict[str, object]]) -> pd.DataFrame:
    columns = [*AU_COLUMNS, "confidence", "problem"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
