"""Packing results into an archive: records and scores, then what fits of pictures, then of weights.

Pictures come seed by seed, as a report shows those of a method's lowest one; weights come smallest first.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from benchmarks.bundle.archive_format import (
    HEAD_BYTES,
    MANIFEST,
    MEMBER,
    MOST_PARTS,
    PART_BYTES,
    SHOWCASE,
    write_parts,
)
from benchmarks.running.cells import all_cells, read_status
from eggan.errors import UserError
from eggan.files import read_json
from eggan.tracking.record import RECORD_FILE

SHOWN = f"{SHOWCASE}.safetensors"
DEFLATED = (".json", ".jsonl", ".csv", SHOWN)  # the rest is compressed already, or hardly to be
MARGIN_BYTES = 200_000  # for the names, the manifest and the end of the zip file
TRACEBACK = "traceback.txt"
PLANNED = "planned_cells.json"  # keys and names of all chosen cells, begun or not
TRACEBACK_CHARACTERS = 20_000


@dataclass
class Packed:
    """The files of an archive, which pictures and weights are not in it for want of space, and which cells
    are not in it because they never began, with the reason where one is known.
    """

    parts: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    not_begun: list[str] = field(default_factory=list)


def pack(out: Path) -> Packed:
    """Pack the results below `out / "runs"` into files in `out`; scores too large for 8 parts are a
    `UserError`.
    """
    runs, room = out / "runs", MOST_PARTS * (PART_BYTES - HEAD_BYTES) - MARGIN_BYTES
    cells = [cell for cell in all_cells(runs) if _has_begun(cell)]
    packed = Packed(not_begun=_not_begun(out, {cell.name for cell in cells}))
    buffer, digests = io.BytesIO(), dict[str, str]()
    with zipfile.ZipFile(buffer, "w") as archive:

        def add(name: str, content: bytes) -> None:
            kind = zipfile.ZIP_DEFLATED if name.endswith(DEFLATED) else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), content, kind)
            digests[name] = hashlib.sha256(content).hexdigest()

        for name, content in _results(runs, cells):
            add(name, content)
        if buffer.tell() > room:
            raise UserError(f"the results are too large for an archive: copy the folder {runs} itself")
        for name, content in (*_pictures(cells), *_weights(cells)):
            if buffer.tell() + len(content) > room:
                packed.left_out.append(name)
            else:
                add(name, content)
        manifest = {
            "files": digests,
            "left_out": packed.left_out,
            "not_begun": packed.not_begun,
            "tracebacks": _tracebacks(cells),
        }
        archive.writestr(zipfile.ZipInfo(MANIFEST), json.dumps(manifest), zipfile.ZIP_DEFLATED)
    packed.parts = write_parts(buffer.getvalue(), out)
    return packed


def _has_begun(cell: Path) -> bool:
    """Return whether a cell has what a home wants of each: what it is, and the record of its run.

    Its process may have died before it wrote that record.
    """
    return "spec" in read_status(cell).values and (cell / RECORD_FILE).is_file()


def _not_begun(out: Path, begun: Collection[str]) -> list[str]:
    """Return the names of the cells that did not begin: chosen ones, and those of which nothing but a reason
    is there.
    """
    planned: dict[str, str] = read_json(out / PLANNED) if (out / PLANNED).is_file() else {}
    statuses = [read_status(cell) for cell in all_cells(out / "runs") if cell.name not in begun]
    reasons = {status.key: status.reason or status.state for status in statuses}
    names = planned | {
        status.key: status.values.get("name", status.key) for status in statuses if status.key not in planned
    }
    lacking = {key: name for key, name in names.items() if key not in begun}
    return [f"{name}: {reasons[key]}" if key in reasons else name for key, name in lacking.items()]


def _results(runs: Path, cells: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of everything but pictures and weights."""
    for path in sorted(path for place in (runs / "suites", *cells) for path in place.rglob("*")):
        name = path.relative_to(runs).as_posix()
        if MEMBER.fullmatch(name) and path.suffix not in (".png", ".safetensors") and path.is_file():
            yield name, path.read_bytes()


def _pictures(cells: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of what the cells show, the lowest seeds first."""
    for cell in sorted(cells, key=_seed):
        name = f"cells/{cell.name}"
        if (cell / f"{SHOWCASE}.npz").is_file():
            yield f"{name}/{SHOWN}", _showcase(cell / f"{SHOWCASE}.npz")
        for path in sorted(cell.glob("images/*.png")):
            yield f"{name}/images/{path.name}", path.read_bytes()


def _seed(cell: Path) -> int:
    return int(read_status(cell).values.get("spec", {}).get("seed", 0))


def _weights(cells: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the weights, the smallest first."""
    paths = [cell / "weights.safetensors" for cell in cells]
    for path in sorted(filter(Path.is_file, paths), key=lambda path: path.stat().st_size):
        yield f"cells/{path.parent.name}/{path.name}", path.read_bytes()


def _showcase(path: Path) -> bytes:
    """Return the arrays of a cell's pictures as safetensors; the text among them goes into its head."""
    with np.load(path, allow_pickle=False) as arrays:
        text = {name: json.dumps(arrays[name].tolist()) for name in arrays if arrays[name].dtype.kind == "U"}
        plain: dict[str, Any] = {
            name: np.ascontiguousarray(arrays[name]) for name in arrays if name not in text
        }
    return save(plain, text)


def _tracebacks(cells: Iterable[Path]) -> dict[str, str]:
    found = [folder / TRACEBACK for folder in cells if (folder / TRACEBACK).is_file()]
    read = {path.parent.name: path.read_text(encoding="utf-8", errors="replace") for path in found}
    return {key: text[-TRACEBACK_CHARACTERS:] for key, text in read.items()}
