"""A photograph's file: read for an edit, and written again with its size, mode, Exif block and profile.

Only pixels that an edit changed are written into the file's own picture: all others keep their values,
whatever the mode. What a mode or a format cannot hold is said in a note.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from eggan.data.decoding import DEPTHS, Original, decode_original
from eggan.pictures import same_colours

BAND = 1 << 20  # pixels that are written at once: bounds memory
GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's
RGB, TRANSPARENT, GREY_MODES = "RGB", ("RGBA", "LA"), ("L", "LA", "I;16")
# What modes in which nothing is edited become, and why.
PALETTE = "given full colours: a palette cannot hold those of an edit"
COLOURS = "turned into RGB"
DEEP = "read with 8 of the 16 bits of its colours, which the result has too"
BITS = "turned into 256 levels of grey"
CONVERTED = {
    "P": (RGB, PALETTE),
    "PA": ("RGBA", PALETTE),
    "1": ("L", BITS),
    "RGBX": (RGB, None),
    "RGBa": ("RGBA", None),
    "La": ("LA", None),
    "YCbCr": (RGB, COLOURS),
    "LAB": (RGB, COLOURS),
    "HSV": (RGB, COLOURS),
}


@dataclass
class PhotoFile:
    """A photograph that is edited in place: `pixels` uint8 (H, W, 3) as networks see it.

    `image` is what will be written, of mode RGB, RGBA, L, LA, CMYK or I;16, of which `highest` is the largest
    value; `notes` complete "the file was ...".
    """

    pixels: np.ndarray
    image: Image.Image
    highest: int
    exif: bytes
    icc: bytes
    notes: tuple[str, ...]

    def put(self, box: tuple[int, int, int, int], patch: np.ndarray) -> None:
        """Take over an edit, uint8 (h, w, 3), of the box (left, top, right, bottom)."""
        left, top, right, bottom = box
        rows = max(1, BAND // (right - left))
        for start in range(top, bottom, rows):
            stop = min(start + rows, bottom)
            self._put_band((left, start, right, stop), patch[start - top : stop - top])

    def _put_band(self, box: tuple[int, int, int, int], patch: np.ndarray) -> None:
        left, top, right, bottom = box
        before = self.pixels[top:bottom, left:right]
        changed = (before != patch).any(axis=2)
        own = np.array(self.image.crop(box))
        values = own[changed].astype(float)
        put = _in_mode(self.image.mode, values, before[changed], patch[changed], self.highest)
        own[changed] = np.rint(np.clip(put, 0, self.highest))
        self.image.paste(_picture(own, self.image.mode), (left, top))
        before[...] = patch


def load_photo_file(path: Path) -> PhotoFile:
    """Read a photograph of any form that Pillow reads; an unusable one is a `UserError` of one line."""
    original = decode_original(path)
    image, note = _editable(original)
    notes = (*original.notes, *([note] if note else []))
    icc = original.icc if same_colours(original.image.mode, image.mode) else b""
    return PhotoFile(_pixels(original.rgb), image, _highest(image), original.exif, icc, notes)


def _pixels(image: Image.Image) -> np.ndarray:
    """Return uint8 (H, W, 3), filled in strips: at once, a picture is copied twice."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + rows] = np.asarray(part)
    return pixels


def _editable(original: Original) -> tuple[Image.Image, str | None]:
    """Return the picture in a mode that is edited, and what was done for it."""
    image = original.image
    if image.mode.startswith("I"):  # of 16 bits, in whatever order of bytes
        return Image.fromarray(np.asarray(image).astype(np.uint16)), None
    mode, note = CONVERTED.get(image.mode, (image.mode, None))
    if image.has_transparency_data and mode not in TRANSPARENT:  # one colour of it is transparent
        mode = "LA" if mode == "L" else "RGBA"
    if mode != image.mode:
        return image.convert(mode), note
    return image, DEEP if original.deep else None


def _highest(image: Image.Image) -> int:
    """Return the largest value of a picture's depth: sensors leave the upper ones of 16 bits empty."""
    if image.mode != "I;16":
        return 255
    highest = int(np.asarray(image).max())
    return next(2**bits - 1 for bits in DEPTHS if highest < 2**bits)


def _in_mode(mode: str, own: np.ndarray, before: np.ndarray, after: np.ndarray, highest: int) -> np.ndarray:
    """Return values (N, channels) or (N,) that show `after` where `own` shows `before`, both (N, 3)."""
    if mode == RGB:
        return after
    if mode == "CMYK":
        return _in_inks(own, after)
    change = after.astype(float) - before
    if mode in GREY_MODES:
        change = change @ GREY * (highest / 255)
    if mode not in TRANSPARENT:
        return own + change
    colour, alpha = own[:, :-1], own[:, -1:]  # on white; what is not seen cannot change
    seen = np.divide(255, alpha, out=np.zeros_like(alpha), where=alpha > 0)
    return np.hstack([colour + change.reshape(colour.shape) * seen, alpha])


def _in_inks(own: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return CMYK (N, 4) that Pillow shows as `colours`, with the black of `own` or as much as they allow."""
    light = np.maximum(255 - own[:, 3:], colours.max(axis=1, keepdims=True))
    inks = 255 - np.divide(255 * colours.astype(float), light, out=np.zeros((len(own), 3)), where=light > 0)
    return np.hstack([inks, 255 - light])


def _picture(values: np.ndarray, mode: str) -> Image.Image:
    return Image.fromarray(values, mode) if mode == "CMYK" else Image.fromarray(values)
