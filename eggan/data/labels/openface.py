"""OpenFace's CSV files, as every 2.x version writes them.

FaceLandmarkImg writes one file per image (`face, confidence, ...`), a row per face and no row or no file
where it finds none. FeatureExtraction writes one file per video or image sequence (`frame, [face_id,]
timestamp, confidence, success, ...`) and fills frames without a face with zeros. Headers have spaces after
their commas up to 2.1 and none from 2.2 on; `face_id` came with 2.1. Intensities are the columns AU01_r ..
AU45_r; AU01_c .. are presences and are not used.
"""

import csv
import math
from pathlib import Path
from typing import Literal

import pandas as pd

from eggan.aus import AU_COLUMNS, AU_NUMBERS, MAX_INTENSITY
from eggan.data.labels.table import FRAME, LabelTable, make_table, merge
from eggan.errors import UserError
from eggan.progress import progress_bar

TOOL = "OpenFace"
INTENSITIES = tuple(f"AU{number:02d}_r" for number in AU_NUMBERS)
NO_FACE = "OpenFace found no face"
MANY_FILES = 500

Row = dict[str, str]
Mode = Literal["static", "dynamic"]


def read_openface(path: Path, version: str, mode: Mode | None = None) -> LabelTable:
    """Read a CSV file, or every CSV below a folder, as one table.

    The files carry no version, so the caller names it. `mode` None reads single images as static and
    sequences as dynamic, which is what OpenFace does unless FeatureExtraction is given -au_static; only the
    user can know that. Single images are never dynamic.
    """
    path = Path(path)
    files = sorted(path.rglob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise UserError(f"{path} holds no CSV file of OpenFace")
    shown = progress_bar(files, len(files), "OpenFace labels") if len(files) > MANY_FILES else files
    root = path if path.is_dir() else path.parent
    return merge([_read_file(file, root, version, mode) for file in shown], path)


def is_openface(header: list[str]) -> bool:
    """Return whether a header is one of OpenFace's."""
    return "confidence" in header and any(name.endswith("_r") and name.startswith("AU") for name in header)


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Return header and rows of a CSV as text without outer spaces; an empty or cut file is a `UserError`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [[cell.strip() for cell in line] for line in csv.reader(stream) if line]
    except FileNotFoundError:
        raise UserError(f"no such label file: {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV: {error}") from None
    if not lines:
        raise UserError(f"{path} is empty")
    header = lines[0]
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise UserError(
                f"{path}, line {number}: {len(line)} values under a header of {len(header)}: the file is cut"
            )
    return header, [dict(zip(header, line, strict=True)) for line in lines[1:]]


def number_in(row: Row, name: str, where: str) -> float:
    """Return a finite number of a row; anything else is a `UserError` that says where it stands."""
    try:
        value = float(row[name])
    except ValueError:
        raise UserError(f"{where}: {name} is {row[name]!r}, not a number") from None
    if not math.isfinite(value):
        raise UserError(f"{where}: {name} is {row[name]}")
    return value


def _read_file(path: Path, root: Path, version: str, mode: Mode | None) -> LabelTable:
    header, rows = read_rows(path)
    if not is_openface(header):
        raise UserError(f"{path} is not a CSV of OpenFace with AU intensities (columns AU01_r .. AU45_r)")
    missing = [name for name in INTENSITIES if name not in header]
    if missing:
        raise UserError(f"{path} lacks the column {missing[0]}")
    key = path.relative_to(root).with_suffix("").as_posix()
    sequence = "frame" in header
    if mode == "dynamic" and not sequence:
        raise UserError(f"{path} is of a single image: OpenFace's mode was static, not dynamic")
    table = _sequence(path, key, rows) if sequence else _image(path, key, rows)
    return make_table(TOOL, version, mode or ("dynamic" if sequence else "static"), table, path)


def _image(path: Path, key: str, rows: list[Row]) -> pd.DataFrame:
    """Return the one row of an image's file."""
    if len(rows) > 1:
        return _table({key: _failed(f"OpenFace found several faces ({len(rows)})")})
    return _table({key: _face(rows[0], f"{path}, line 2") if rows else _failed(NO_FACE)})


def _sequence(path: Path, key: str, rows: list[Row]) -> pd.DataFrame:
    """Return a row per frame of a video's file; OpenFace counts frames from 1, keys count from 0."""
    found: dict[str, dict[str, object]] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{path}, line {line}"
        frame = number_in(row, "frame", where)
        if frame < 1 or frame != int(frame):
            raise UserError(f"{where}: frame is {row['frame']}: OpenFace counts frames from 1")
        name = f"{key}{FRAME}{int(frame) - 1}"
        several = name in found
        found[name] = _failed("OpenFace found several faces") if several else _face(row, where)
    return _table(found)


def _face(row: Row, where: str) -> dict[str, object]:
    if "success" in row and number_in(row, "success", where) == 0:
        return _failed(NO_FACE)  # what else such a row holds, zeros or leftovers, means nothing
    values = [number_in(row, name, where) for name in INTENSITIES]
    confidence = number_in(row, "confidence", where)
    if confidence == 0 and not any(values):
        return _failed(NO_FACE)
    for name, value in zip(INTENSITIES, values, strict=True):
        if not 0 <= value <= MAX_INTENSITY:
            raise UserError(f"{where}: {name} is {value:g}, outside [0, {MAX_INTENSITY:g}]")
    return {**dict(zip(AU_COLUMNS, values, strict=True)), "confidence": confidence, "problem": ""}


def _failed(problem: str) -> dict[str, object]:
    return {**dict.fromkeys(AU_COLUMNS, math.nan), "confidence": 0.0, "problem": problem}


def _table(rows: dict[str, dict[str, object]]) -> pd.DataFrame:
    columns = [*AU_COLUMNS, "confidence", "problem"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
