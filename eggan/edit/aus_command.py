"""`eggan aus`: which AUs the faces in photographs show, by their landmarks."""

import argparse
import csv
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.aus import AU_COLUMNS, AU_NAMES
from eggan.errors import UserError
from eggan.options import add_command
from eggan.progress import loading

if TYPE_CHECKING:
    import numpy as np

    from eggan.faces.face import Face

EXAMPLE = """examples:
  eggan aus portrait.jpg                   each AU of the largest face, 0 to 5: what --keep begins with
  eggan aus group.jpg --all-faces          of every face, largest first
  eggan aus photos/ --csv                  a table on the output, a line for the largest face of each
  eggan aus photos/ --csv --all-faces      a line for every face"""
UNREAD = "-"
COLUMNS = ("file", "face", "left", "top", "width", "height", "yaw", *AU_COLUMNS)


def register(subparsers: Any) -> None:
    """Add `eggan aus`."""
    parser = add_command(subparsers, "aus", "which action units the faces in photographs show", EXAMPLE)
    parser.add_argument(
        "images", type=Path, nargs="+", metavar="image", help="photograph, or a folder of them"
    )
    parser.add_argument("--all-faces", action="store_true", help="read every face, not the largest alone")
    parser.add_argument("--csv", action="store_true", help="print a table for programs, places in pixels")
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class Reading:
    """What one face of a photograph shows: `aus` (17,) in [0, 5], NaN where landmarks do not show it."""

    photograph: Path
    number: int
    face: "Face"
    aus: "np.ndarray"


def run(arguments: argparse.Namespace) -> int:
    """Print the AUs of each photograph and return 0; what cannot be read is named, and then a `UserError`."""
    from eggan.edit.places import list_left_out, photographs_among

    given = photographs_among(arguments.images)
    with loading():
        import eggan.evaluation.landmark_reader  # noqa: F401  (torch takes seconds)
    failed = list(given.unusable)
    show = _rows if arguments.csv else _table
    if arguments.csv:
        _print_rows([COLUMNS])
    for photograph in given.named:
        try:
            show(_read(photograph, arguments.all_faces))
        except UserError as error:
            failed.append(str(error))
    list_left_out(failed, given.count, "read")
    return 0


def _read(photograph: Path, every: bool) -> list[Reading]:
    import numpy as np

    from eggan.data.decoding import decode_rgb
    from eggan.edit.photo_faces import find_faces_of, rough_to_read, steadied
    from eggan.evaluation.landmark_reader import load_landmark_reader

    decoded = decode_rgb(photograph)
    for note in decoded.notes:
        print(f"note: {photograph} was {note}", file=sys.stderr)
    pixels = np.array(decoded.image)
    faces = find_faces_of(photograph, pixels)
    if len(faces) > 1 and not every:
        print(
            f"note: {photograph} shows {len(faces)} faces: the largest is read (--all-faces)", file=sys.stderr
        )
        faces = faces[:1]
    faces = [steadied(face, pixels) for face in faces]
    for number, face in enumerate(faces, 1):
        if rough_to_read(face):
            print(
                f"warning: face {number} of {photograph} is small or turned to the side: readings are rough",
                file=sys.stderr,
            )
    aus = load_landmark_reader().read(np.stack([face.landmarks for face in faces]))
    numbered = enumerate(zip(faces, aus, strict=True), 1)
    return [Reading(photograph, number, face, row) for number, (face, row) in numbered]


def _table(readings: Sequence[Reading]) -> None:
    """Print a row for each AU and a column for each face."""
    faces = "" if len(readings) == 1 else "".join(f"{f'face {reading.number}':>8}" for reading in readings)
    print(f"{readings[0].photograph}" if not faces else f"{readings[0].photograph!s:<30}{faces}")
    for position, (number, name) in enumerate(AU_NAMES.items()):
        values = "".join(f"{_value(reading.aus[position], UNREAD):>8}" for reading in readings)
        print(f"  AU{number:<4}{name:<22}{values}")


def _rows(readings: Sequence[Reading]) -> None:
    _print_rows(
        [
            *(reading.photograph, reading.number, *(f"{side:.1f}" for side in reading.face.box)),
            *(f"{reading.face.yaw:.1f}", *(_value(value, "") for value in reading.aus)),
        ]
        for reading in readings
    )


def _print_rows(rows: Iterable[Sequence[Any]]) -> None:
    csv.writer(sys.stdout, lineterminator="\n").writerows(rows)


def _value(aus: float, unread: str) -> str:
    return unread if math.isnan(aus) else f"{aus:.2f}"
