"""What is known of a photograph before it is opened, and how photographs are found and opened."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from eggan.data.decoding import decode_rgb, looks_like_image, why_unsupported
from eggan.data.file_tree import below, passed_over_note, printable, read_tree
from eggan.errors import UserError

UNLABELLED = "unlabelled"  # expression or gaze that the source does not tell
NOT_UTF8 = "its name is not UTF-8: rename it"


@dataclass(frozen=True)
class PhotoRecord:
    """One photograph or video frame.

    `source_file` is a POSIX path below the root ("Sessions/12/a.avi#37" for frame 37, counted from 0);
    `extra` are further manifest columns, the same for every record of a build.
    """

    source_file: str
    identity: str
    expression: str = UNLABELLED
    gaze: str = UNLABELLED
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """A photograph that cannot be used, and why."""

    source_file: str
    reason: str


@dataclass(frozen=True)
class Photographs:
    """The image files below `root`, sorted, those that cannot be used, and notes on what was passed over.

    `again` maps a path that leads to a file which another path has brought in to that path.
    """

    root: Path
    files: list[str]
    problems: list[Problem]
    notes: list[str]
    again: Mapping[str, str]


class FaceProblem(Exception):
    """An image does not show exactly one face; the message says what it shows."""


def inside(root: Path, relative: str) -> Path:
    """Return the path of `relative` below `root`; whatever leads out of it is a `UserError`.

    An absolute path that lies in `root` is one below it. A file that is a link must stay in `root`; a folder
    that is a link may lie elsewhere, since its user put it there, and the file must then stay in that folder.
    """
    path = PurePosixPath(below(root, relative))
    if path.is_absolute() or ".." in path.parts or "\0" in relative:
        raise UserError(f"{relative!r} leads out of {root}: paths are relative to it")
    try:
        resolved = (root / path).resolve()
        homes = (root.resolve(), (root / path).parent.resolve())
    except (OSError, RuntimeError):  # a loop of links
        raise UserError(f"{relative!r} leads nowhere: its links form a loop") from None
    if not any(resolved.is_relative_to(home) for home in homes):
        raise UserError(f"{relative!r} is a link that leads out of {root}")
    return resolved


def read_photo(path: Path, notes: Counter[str] | None = None) -> np.ndarray:
    """Return an image file upright, as uint8 (H, W, 3) RGB; an unreadable one is a `UserError`.

    `notes` counts what was done to files beyond decoding.
    """
    decoded = decode_rgb(path)
    if notes is not None:
        notes.update(decoded.notes)
    return np.array(decoded.image, dtype=np.uint8)


def find_photographs(root: Path) -> Photographs:
    """Return all image files below `root`, known by name or content; a missing folder is a `UserError`."""
    tree = read_tree(root)
    images = [file for file in tree.files if looks_like_image(root / file)]
    problems = [Problem(printable(name), reason) for name, reason in sorted(tree.unreadable.items())]
    files = []
    for file in images:
        reason = why_unsupported(root / file) if printable(file) == file else NOT_UTF8
        if reason is None:
            files.append(file)
        else:
            problems.append(Problem(printable(file), reason))
    return Photographs(root, files, problems, _notes(root, tree.passed_over, tree.linked), tree.again)


def _notes(root: Path, passed_over: Counter[str], linked: list[str]) -> list[str]:
    hidden = passed_over_note(passed_over)
    outside = [name for name in linked if not (root / name).resolve().is_relative_to(root.resolve())]
    notes = [] if hidden is None else [f"{hidden} in {root}"]
    if outside:
        first = printable(outside[0])
        notes.append(f"followed {len(outside)} links to folders outside of {root}, such as {first}")
    return notes
