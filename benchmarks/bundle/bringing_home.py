"""Bringing archives of results into a runs folder: everything is checked before anything is put there.

An archive may come from anybody: only names and kinds of files that a node writes are taken, records may name
no other place, and a cell's key must be that of what it says it is. A finished cell that is here is kept.
"""

import hashlib
import io
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open

from benchmarks.bundle.archive_format import (
    MANIFEST,
    MEMBER,
    MOST_BYTES,
    MOST_FILES,
    SHOWCASE,
    read_parts,
)
from benchmarks.bundle.packing import TRACEBACK
from benchmarks.running.cells import CellSpec, claim, read_status
from benchmarks.running.showcase import write_showcase
from benchmarks.running.suite_run import ARTIFACTS
from eggan.checkpoint import STATE_FILE
from eggan.errors import UserError
from eggan.files import read_json, staging_folder
from eggan.tables import read_csv_table, read_table, write_table
from eggan.tracking import CELL_LIST, read_record
from eggan.tracking.record import logged_values, write_record

ENDED = ("finished", "failed", "interrupted")
MOST_ROWS, MOST_VALUES = 2_000_000, 50_000_000  # of a table
MOST_WORDS, MOST_CHARACTERS = 1_000, 200  # that name pictures, and of each
MOST_PIXELS = 16_000_000


class _Refused(Exception):
    """What is wrong with an archive."""


def bring_home(paths: Sequence[Path], runs: Path) -> list[str]:
    """Put the results of archives, given as all of their parts, into `runs`; return a line on each.

    Anything that no node writes, and a part that is missing, is a `UserError`; then nothing was changed, by
    none of the archives. What is here already stays as it is, so the same archive again changes nothing.
    """
    lines = []
    with ExitStack() as open_folders:
        staged: list[tuple[Path, Path, list[str]]] = []
        for path, content in read_parts(paths):
            runs.mkdir(parents=True, exist_ok=True)
            staging = open_folders.enter_context(staging_folder(runs))
            staged.append((path, staging, _checked(path, content, staging)))
        for path, staging, lacking in staged:
            lines += [f"{path.name}: {line}" for line in (_take(staging, runs), *lacking)]
    return lines


def _checked(path: Path, content: bytes, staging: Path) -> list[str]:
    """Unpack an archive into `staging` and check all of it; return lines on what it lacks."""
    try:
        lacking = _unpack(content, staging)
        for folder in sorted(staging.glob("cells/*")):
            _check_cell(folder)
        for folder in sorted(staging.glob("suites/*")):
            _check_suite(folder)
    except (_Refused, UserError) as error:
        reason = str(error).replace(f"{staging}{os.sep}", "")
        raise UserError(f"{path} is refused: {reason}") from None
    return lacking


def _take(staging: Path, runs: Path) -> str:
    """Put an archive that has been checked into `runs`; return how many of its cells were new there."""
    for folder in sorted(staging.glob("suites/*")):
        _take_suite(folder, runs / "suites" / folder.name)
    cells = sorted(staging.glob("cells/*"))
    taken = [_take_cell(folder, runs / "cells" / folder.name) for folder in cells]
    here = "" if all(taken) else f", {taken.count(False)} were here already"
    return f"{taken.count(True)} cells brought{here}"


def _unpack(content: bytes, staging: Path) -> list[str]:
    """Write the files of an archive below `staging` as a home keeps them; return lines on what it lacks."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive)
            manifest = json.loads(archive.read(MANIFEST))
            files, tracebacks = manifest["files"], manifest["tracebacks"]
            lacking = [f"without {name}" for name in manifest["left_out"]]
            lacking += [f"not begun: {name}" for name in manifest["not_begun"]]
            names = {info.filename for info in archive.infolist()} - {MANIFEST}
            if set(files) != names:
                raise _Refused(f"{MANIFEST} does not list its files")
            for name in sorted(names):
                data = archive.read(name)
                if hashlib.sha256(data).hexdigest() != files[name]:
                    raise _Refused(f"{name} is not the file that {MANIFEST} lists")
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                _check_file(path)
            for key, text in dict(tracebacks).items():
                if f"cells/{key}/cell.json" in names:
                    (staging / "cells" / key / TRACEBACK).write_text(str(text), encoding="utf-8")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _Refused(f"it is no archive ({error})") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _Refused(f"{MANIFEST} is damaged") from None
    return [" ".join(line.split()) for line in lacking]


def _check_members(archive: zipfile.ZipFile) -> None:
    """Refuse names, kinds and sizes that no node writes, before anything is unpacked."""
    infos = archive.infolist()
    if len(infos) > MOST_FILES or sum(info.file_size for info in infos) > MOST_BYTES:
        raise _Refused("it holds more than any node's results")
    if len({info.filename for info in infos}) < len(infos):
        raise _Refused("it holds a file twice")
    for info in infos:
        plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not info.flag_bits & 1
        kind = stat.S_IFMT(info.external_attr >> 16)
        known = info.filename == MANIFEST or MEMBER.fullmatch(info.filename)
        if not known or info.orig_filename != info.filename:
            raise _Refused(f"it holds {info.orig_filename[:100]!r}, which is no file of results")
        if kind not in (0, stat.S_IFREG) or not plain:
            raise _Refused(f"{info.filename} is no plain file")


def _check_file(path: Path) -> None:
    """Read a file as what its name says; turn a table and pictures into what reports read."""
    try:
        if path.suffix == ".json":
            read_json(path)
        elif path.suffix == ".png":
            with Image.open(path, formats=["PNG"]) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise _Refused(f"{path.name} is too large a picture")
                image.verify()
        elif path.suffix == ".parquet":
            _check_parquet(path)
        elif path.suffix == ".csv":
            write_table(read_csv_table(path), path.with_suffix(".parquet"))  # in the place of the CSV
        elif path.name == f"{Path(SHOWCASE).name}.safetensors":
            write_showcase(_showcase(path), path.with_suffix(".npz"))
            path.unlink()
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="np"):
                pass
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError, SafetensorError):
        raise _Refused(f"{path.name} of {path.parent.parent.name} is damaged") from None


def _check_parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(path)
    except Exception:  # on damaged files pyarrow raises anything
        raise ValueError from None
    if found.num_rows > MOST_ROWS or found.num_rows * found.num_columns > MOST_VALUES:
        raise _Refused(f"{path.name} is too long a table")
    read_table(path)


def _showcase(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, framework="np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
        text = {name: _words(json.loads(value)) for name, value in (file.metadata() or {}).items()}
    return arrays | text


def _words(values: object) -> np.ndarray:
    """Return a few short texts as an array, in which the longest one's length is that of all."""
    if not isinstance(values, list) or len(values) > MOST_WORDS:
        raise ValueError
    if not all(isinstance(word, str) and len(word) <= MOST_CHARACTERS for word in values):
        raise ValueError
    return np.array(values)


def _check_cell(folder: Path) -> None:
    """Refuse a cell whose key is not its own, that has not ended, or whose record names other places."""
    status, record = read_status(folder), read_record(folder)
    values = status.values.get("spec")
    try:
        spec = CellSpec(**values)  # type: ignore[arg-type]
        mine = spec.key == folder.name == status.values.get("key")
    except (TypeError, ValueError, AttributeError):
        mine = False
    if not mine:
        raise _Refused(f"cell.json of {folder.name} is not that cell's")
    if status.state not in ENDED:
        raise _Refused(f"the cell {folder.name} is {status.state}")
    if record is None or record.tags.get("cell") != folder.name or record.state != status.state:
        raise _Refused(f"run.json of {folder.name} is not that cell's")
    if record.artifacts != ARTIFACTS or record.parent != f"../../suites/{spec.suite}":
        raise _Refused(f"run.json of {folder.name} names other files than a cell's")
    if "/" in spec.suite or spec.suite in ("", ".", ".."):
        raise _Refused(f"run.json of {folder.name} names other files than a cell's")
    if status.state == "finished" and not (folder / "scores" / "summary.json").is_file():
        raise _Refused(f"the cell {folder.name} has no scores")
    logged_values(folder)


def _check_suite(folder: Path) -> None:
    record = read_record(folder)
    ours = record is not None and record.name == folder.name == record.tags.get("suite")
    if record is None or not ours or record.artifacts or record.parent is not None:
        raise _Refused(f"run.json of {folder.name} is not that suite's")
    logged_values(folder)


def _take_suite(staged: Path, folder: Path) -> None:
    """Put a suite's record here; one that is here learns of the cells that it did not list."""
    brought, here = read_record(staged), read_record(folder)
    if brought is None:
        return
    if here is None:
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(staged.iterdir()):
            os.replace(path, folder / path.name)
        return
    tags = dict(here.tags)
    for name, keys in brought.tags.items():
        if name.startswith(CELL_LIST):
            tags[name] = " ".join(dict.fromkeys([*tags.get(name, "").split(), *keys.split()]))
    if tags != here.tags:
        write_record(replace(here, tags=tags), folder)


def _take_cell(staged: Path, folder: Path) -> bool:
    """Put a cell here; False where a finished one, the same one, or work on it is here."""
    with claim(folder) as ours:
        if not ours or read_status(folder).state == "finished" or (folder / STATE_FILE).exists():
            return False
        there = folder / "cell.json"
        if there.is_file() and there.read_bytes() == (staged / "cell.json").read_bytes():
            return False
        paths = [path for path in staged.rglob("*") if path.is_file()]
        for path in sorted(paths, key=lambda path: path.name == "cell.json"):  # the state comes last
            place = folder / path.relative_to(staged)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
        return True
