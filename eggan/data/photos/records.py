"""What is known of a photograph before it is opened, and how it is opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from eggan.data.images import decode_rgb
from eggan.errors import UserError

UNLABELLED = "unlabelled"  # expression or gaze that the source does not tell
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


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


class FaceProblem(Exception):
    """An image does not show exactly one face; the message says what it shows."""


def inside(root: Path, relative: str) -> Path:
    """Return the path of `relative` below `root`; whatever leads out of it is a `UserError`."""
    path = PurePosixPath(relative.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{relative!r} leads out of {root}: paths are relative to it")
    resolved = (root / path).resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise UserError(f"{relative!r} is a link that leads out of {root}")
    return resolved


def read_photo(path: Path) -> np.ndarray:
    """Return an image file upright, as uint8 (H, W, 3) RGB; an unreadable one is a `UserError`."""
    return np.array(decode_rgb(path), dtype=np.uint8)


def image_files(root: Path) -> list[str]:
    """Return the paths of all image files below `root`, sorted; a missing folder is a `UserError`.

    Hidden files are passed over: macOS writes "._NAME.jpg" beside each file of an archive.
    """
    if not root.is_dir():
        raise UserError(f"no such folder: {root}")
    visible = (path for path in root.rglob("*") if not path.name.startswith("."))
    found = (path for path in visible if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path.relative_to(root).as_posix() for path in found)
