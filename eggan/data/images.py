"""Pictures as networks see them: the range of their values, and a user's photograph as a square.

Everything that can be wrong with a file is a `UserError` of one line; everything that was done to a usable
file beyond decoding (rotation, crop, enlargement) is in `Photograph.notes`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eggan.data.decoding import decode_rgb


def to_network_range(images: Tensor) -> Tensor:
    """Convert uint8 images (B, 3, H, W) to float32 in [-1, 1]."""
    return images.float().div(127.5).sub(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Convert images in [-1, 1] to uint8, rounding to the nearest level."""
    return images.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


@dataclass(frozen=True)
class Photograph:
    """A loaded photograph: `pixels` (1, 3, S, S) float32 in [-1, 1], `notes` on what was changed.

    `size` is (width, height) of the upright file, in pixels.
    """

    pixels: Tensor
    notes: tuple[str, ...]
    size: tuple[int, int]


def load_photograph(path: Path | str, size: int, largest: int | None = None) -> Photograph:
    """Read an image file of any common form and return it as a square of `size` pixels, or of its own size
    where that is between `size` and `largest`.

    It is decoded as `decode_rgb` says; the centre square is cut out and resampled (Lanczos). An image that
    already has the right size keeps its bytes. A missing, unreadable, truncated, oversized or unsupported
    file is a `UserError`.
    """
    decoded = decode_rgb(Path(path))
    notes = list(decoded.notes)
    square = _centre_square(decoded.image, notes)
    if square.width < size:
        notes.append(f"enlarged from {square.width} to {size} pixels: expect a blurred edit")
    side = min(max(square.width, size), largest or size)
    if largest is not None and size < largest < square.width:
        notes.append(f"reduced from {square.width} to {largest} pixels, the most that is edited at once")
    if square.width != side:
        square = square.resize((side, side), Image.Resampling.LANCZOS)
    array = np.array(square, dtype=np.uint8)
    pixels = torch.from_numpy(array).permute(2, 0, 1)[None]
    return Photograph(to_network_range(pixels), tuple(notes), decoded.image.size)


def _centre_square(image: Image.Image, notes: list[str]) -> Image.Image:
    width, height = image.size
    if width == height:
        return image
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    notes.append(
        f"cut to the centre {side} x {side} of {width} x {height} pixels: the face should be centred"
    )
    return image.crop((left, top, left + side, top + side))
