"""A user's photograph, in whatever form it comes, as a square network image; and pictures written whole.

Everything that can be wrong with a file is a `UserError` of one line; everything that was done to a usable
file beyond decoding (rotation, crop, enlargement) is told in `Photograph.notes`.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from eggan.data.dataset import to_network_range
from eggan.errors import UserError
from eggan.files import write_atomically

MAX_PIXELS = 80_000_000  # 240 MB once decoded; a larger one is a decompression bomb or a mistake
WHITE = (255, 255, 255, 255)


@dataclass(frozen=True)
class Photograph:
    """A loaded photograph: `pixels` (1, 3, S, S) float32 in [-1, 1], `notes` on what was changed.

    `size` is (width, height) of the upright file, in pixels.
    """

    pixels: Tensor
    notes: tuple[str, ...]
    size: tuple[int, int]


def load_photograph(path: Path | str, size: int) -> Photograph:
    """Read an image file of any common form and return it as a square of `size` pixels.

    EXIF rotation is applied, transparency is put on white, grey becomes RGB, 16 bits become 8, the centre
    square is cut out and resampled (Lanczos). An image that already has the right size keeps its bytes. A
    missing, unreadable, truncated, oversized or unsupported file is a `UserError`.
    """
    image = _decode(Path(path))
    notes: list[str] = []
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(0x0112, 1) != 1:
        notes.append("turned upright as its EXIF tag says")
    rgb = _to_rgb(upright, Path(path))
    square = _centre_square(rgb, notes)
    if square.width < size:
        notes.append(f"enlarged from {square.width} to {size} pixels: expect a blurred edit")
    if square.width != size:
        square = square.resize((size, size), Image.Resampling.LANCZOS)
    array = np.array(square, dtype=np.uint8)
    pixels = torch.from_numpy(array).permute(2, 0, 1)[None]
    return Photograph(to_network_range(pixels), tuple(notes), rgb.size)


def save_png(image: np.ndarray, path: Path | str) -> Path:
    """Write a uint8 (H, W, 3) image as PNG so that `path` holds the whole picture or is left as it was."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: pictures are written as PNG, so the name must end in .png")
    write_atomically(path, lambda staging: Image.fromarray(image).save(staging, format="PNG"))
    return path


def decode_rgb(path: Path) -> Image.Image:
    """Return an image file upright, in 8-bit RGB, at its own size; an unusable one is a `UserError`."""
    return _to_rgb(ImageOps.exif_transpose(_decode(path)), path)


def _decode(path: Path) -> Image.Image:
    if path.is_dir():
        raise UserError(f"{path} is a folder, not an image")
    try:
        with warnings.catch_warnings():
            # Pillow warns above its own limit; the stricter limit here speaks first.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            image.load()
    except FileNotFoundError:
        raise UserError(f"no such image: {path}") from None
    except Image.DecompressionBombError:
        limit = MAX_PIXELS // 1_000_000
        raise UserError(f"{path} has more than {limit} million pixels: scale it down first") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image that Pillow can read") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's decoders raise all three on damaged files
        raise UserError(f"{path} cannot be read, it may be truncated or damaged: {error}") from None
    return image


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """Return an 8-bit RGB image whatever the mode was."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(f"{path} has more than 16 bits per channel: convert it to an 8-bit PNG or JPEG")
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise UserError(f"{path} has floating-point pixels: convert it to an 8-bit PNG or JPEG")
    if image.has_transparency_data:
        front = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", front.size, WHITE), front).convert("RGB")
    return image.convert("RGB")


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
