"""Pictures that commands write: PNG files that say what wrote them, and whether they still are that."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from eggan import __version__
from eggan.errors import UserError
from eggan.files import write_atomically
from eggan.outputs import check_output

SOFTWARE = "Software"  # a keyword that the PNG specification registers
PIXELS = "eggan-pixels"  # keyword of the mark: sha256 of shape and pixels as written


def check_picture_output(path: Path, inputs: Iterable[Path] = (), force: bool = False) -> None:
    """Check the name of a picture to be written: it ends in `.png`, and nothing of the user's is there."""
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: pictures are written as PNG, so the name must end in .png")
    check_output(path, inputs, is_own_picture, force)


def save_picture(picture: np.ndarray | Image.Image, path: Path, **options: Any) -> Path:
    """Write a picture, such as uint8 (H, W, 3), as a marked PNG; `options` are Pillow's for this format.

    `path` holds the whole picture or is left as it was.
    """
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    mark = PngImagePlugin.PngInfo()
    mark.add_text(SOFTWARE, f"eggan {__version__}")
    mark.add_text(PIXELS, _pixels_hash(np.asarray(image)))
    write_atomically(path, lambda staged: image.save(staged, format="PNG", pnginfo=mark, **options))
    return path


def is_own_picture(path: Path) -> bool:
    """Return whether a file is a PNG as `save_picture` wrote it."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            mark = image.info.get(PIXELS)
            return mark is not None and mark == _pixels_hash(np.asarray(image))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _pixels_hash(image: np.ndarray) -> str:
    head = f"{image.shape} {image.dtype}\n".encode()
    return hashlib.sha256(head + np.ascontiguousarray(image).tobytes()).hexdigest()
