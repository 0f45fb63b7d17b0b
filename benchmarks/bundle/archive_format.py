"""An archive of results: a zip file in numbered parts, each behind a line that says which one it is.

It holds records, scores, tables, pictures and weights as JSON, CSV, parquet, PNG and safetensors: nothing
that could run. `manifest.json` lists every other file with its sha256.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.running.cells import KEY_CHARACTERS
from eggan.errors import UserError

FORMAT = "eggan-results"
FORMAT_VERSION = 1
SUFFIX = ".eggan"
PART_BYTES, MOST_PARTS = 14_000_000, 8
HEAD_BYTES = 400  # of the line before a part's bytes, at most
MOST_FILES, MOST_BYTES = 5_000, 512 * 2**20  # of what an archive holds, unpacked
MANIFEST = "manifest.json"
_CELL = rf"cells/[0-9a-f]{{{KEY_CHARACTERS}}}/"
_NAME = r"[A-Za-z0-9][\w-]*"
MEMBER = re.compile(
    rf"{_CELL}(cell|run|config)\.json|{_CELL}metrics\.jsonl|{_CELL}weights\.safetensors"
    rf"|{_CELL}scores/{_NAME}\.(json|parquet|csv|safetensors)|{_CELL}images/{_NAME}\.png"
    rf"|suites/{_NAME}/(run\.json|metrics\.jsonl)",
    re.ASCII,
)
SHOWCASE = "scores/showcase"  # npz in a cell's folder, safetensors in an archive


@dataclass(frozen=True)
class Head:
    """What the first line of a part says: the sha256 of the whole archive, and which part follows."""

    archive: str
    part: int
    parts: int
    format: str = FORMAT
    version: int = FORMAT_VERSION


def write_parts(content: bytes, folder: Path) -> list[Path]:
    """Write an archive's bytes into `folder` as parts; the parts of an earlier one there are removed."""
    for old in folder.glob(f"results-*-of-*{SUFFIX}"):
        old.unlink()
    step = PART_BYTES - HEAD_BYTES
    pieces = [content[start : start + step] for start in range(0, len(content), step)]
    digest, parts = hashlib.sha256(content).hexdigest(), []
    for number, piece in enumerate(pieces, start=1):
        path = folder / f"results-{number}-of-{len(pieces)}{SUFFIX}"
        head = json.dumps(asdict(Head(digest, number, len(pieces))))
        path.write_bytes(head.encode() + b"\n" + piece)
        parts.append(path)
    return parts


def read_parts(paths: Sequence[Path]) -> list[tuple[Path, bytes]]:
    """Return a part and all bytes of every archive; one of which a part is not given is a `UserError`."""
    found: dict[tuple[str, int], dict[int, bytes]] = {}
    where: dict[tuple[str, int], Path] = {}
    for path in paths:
        head, piece = _read_part(path)
        found.setdefault((head.archive, head.parts), {})[head.part] = piece
        where.setdefault((head.archive, head.parts), path)
    return [(where[key], _joined(pieces, *key, where[key])) for key, pieces in found.items()]


def _read_part(path: Path) -> tuple[Head, bytes]:
    if path.stat().st_size > PART_BYTES:
        raise UserError(f"{path} is no archive of results: it is larger than any part of one")
    line, _, piece = path.read_bytes().partition(b"\n")
    try:
        head = Head(**json.loads(line[:HEAD_BYTES]))
        kinds = type(head.part) is int and type(head.parts) is int and isinstance(head.archive, str)
        if head.format != FORMAT or not kinds or not 1 <= head.part <= head.parts <= MOST_PARTS:
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise UserError(f"{path} is no archive of results") from None
    if head.version != FORMAT_VERSION:
        raise UserError(f"{path} has version {head.version}, this software reads {FORMAT_VERSION}")
    return head, piece


def _joined(pieces: dict[int, bytes], digest: str, parts: int, path: Path) -> bytes:
    missing = [number for number in range(1, parts + 1) if number not in pieces]
    if missing:
        raise UserError(
            f"{path} is one of {parts} parts, and part {missing[0]} is missing: name all of them in one call"
        )
    content = b"".join(pieces[number] for number in range(1, parts + 1))
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{path} is damaged, or another part of it is: copy it again")
    return content
