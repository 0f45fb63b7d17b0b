"""Pictures and animations that commands write: they carry a mark of what wrote them, and are known by it.

A PNG holds a hash of its pixels in a text of its own. In other formats the mark is a hash of all before it,
where each has room for it. A later result may replace the file as long as nobody has changed it.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from eggan import __version__
from eggan.errors import UserError
from eggan.files import write_atomically
from eggan.outputs import check_output

SOFTWARE = "Software"  # a keyword that the PNG specification registers
PIXELS = "eggan-pixels"  # keyword of the mark: sha256 of shape and pixels as written
STILL = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
MOVING = {".gif": "GIF", ".webp": "WEBP", ".mp4": "MP4"}
MARK = b"eggan, sha256 of all before: "
MARK_LENGTH = len(MARK) + 64
STRIP = 1024  # rows that are hashed at once
LARGEST_EXIF = 65_533  # bytes, in JPEG
LARGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
# What a format cannot hold -> the mode that is written, and what is noted.
WHITE = "on white: JPEG knows no transparency"
FIT: dict[str, dict[str, tuple[str, str]]] = {
    "PNG": {"CMYK": ("RGB", "in RGB: PNG knows no CMYK")},
    "JPEG": {
        "RGBA": ("RGB", WHITE),
        "LA": ("L", WHITE),
        "I;16": ("L", "with 8 bits: JPEG holds no more"),
    },
    "WEBP": {
        "L": ("RGB", "in RGB: WebP knows no grey"),
        "LA": ("RGBA", "in RGB: WebP knows no grey"),
        "I;16": ("RGB", "in RGB with 8 bits: WebP holds no more"),
        "CMYK": ("RGB", "in RGB: WebP knows no CMYK"),
    },
    "TIFF": {},
}
# Modes whose colours a profile speaks of alike, whatever they hold beside these; CMYK stands alone
FAMILIES = (("RGB", "RGBX", "RGBA", "RGBa", "P", "PA"), ("L", "LA", "La", "I;16", "I;16B", "I;16L", "I"))
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True, "method": 3},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
# kind -> how a file ends, and what stands before and after a mark that has become its last part
ENDS = {"JPEG": b"\xff\xd9", "GIF": b";"}
AROUND = {
    "JPEG": (b"\xff\xfe" + struct.pack(">H", MARK_LENGTH + 2), ENDS["JPEG"]),  # a comment
    "GIF": (b"\x21\xfe" + bytes([MARK_LENGTH]), b"\0" + ENDS["GIF"]),  # a comment
    "WEBP": (b"EGGN" + struct.pack("<I", MARK_LENGTH), b"\0" * (MARK_LENGTH % 2)),  # a chunk of its own
    "MP4": (struct.pack(">I", MARK_LENGTH + 8) + b"free", b""),  # a box that is passed over
    "TIFF": (b"", b""),  # a file is read by its offsets
}


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
    mark.add_text(PIXELS, _pixels_hash(image))
    write_atomically(path, lambda staged: image.save(staged, format="PNG", pnginfo=mark, **options))
    return path


def is_own_picture(path: Path) -> bool:
    """Return whether a file is a PNG as `save_picture` wrote it."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            mark = image.info.get(PIXELS)
            return mark is not None and mark == _pixels_hash(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _pixels_hash(image: Image.Image) -> str:
    """Return a hash of shape and pixels, taken in strips: a whole picture would be copied for it."""
    digest = hashlib.sha256()
    for top in range(0, image.height, STRIP):
        rows = np.asarray(image.crop((0, top, image.width, min(top + STRIP, image.height))))
        if top == 0:
            digest.update(f"{(image.height, *rows.shape[1:])} {rows.dtype}\n".encode())
        digest.update(np.ascontiguousarray(rows).data)
    return digest.hexdigest()


def check_result(path: Path, kinds: dict[str, str], inputs: Iterable[Path], force: bool) -> None:
    """Raise a `UserError` where `path` has an ending that is not in `kinds`, or must not be written."""
    if path.suffix.lower() not in kinds:
        endings = ", ".join(kinds)
        raise UserError(f"{path}: the ending says how a result is written, so it must be one of {endings}")
    check_output(path, inputs, is_own_result, force)


def save_result(
    image: Image.Image, seen: np.ndarray, path: Path, exif: bytes = b"", icc: bytes = b""
) -> str | None:
    """Write a picture as the ending of `path` says; return what the format made of it, if anything.

    `seen`, uint8 (H, W, 3), is the picture on white in 8 bits, for formats that hold no more. PNG, WebP and
    TIFF keep every pixel as it is; JPEG has quality 95 without subsampling of colours.
    """
    kind = STILL[path.suffix.lower()]
    if max(image.size) > LARGEST_SIDE.get(kind, max(image.size)):
        raise UserError(f"{path}: {kind} has at most {LARGEST_SIDE[kind]} pixels a side: write PNG or TIFF")
    mode, note = FIT[kind].get(image.mode, (image.mode, None))
    if mode != image.mode:
        icc = icc if same_colours(image.mode, mode) else b""
        image = image if mode == "RGBA" else Image.fromarray(seen)
        image = image if image.mode == mode else image.convert(mode)
    if kind == "JPEG" and len(exif) > LARGEST_EXIF:
        exif, note = b"", f"without its Exif block: JPEG holds {LARGEST_EXIF} bytes of it"
    options = OPTIONS.get(kind, {}) | {"icc_profile": icc or None}
    if kind == "TIFF":
        image, options = _without_tags(image), options | _tiff_exif(exif)
    elif exif:
        options |= {"exif": exif}
    if kind == "PNG":
        save_picture(image, path, **options)
    else:
        write_marked(path, kind, lambda staged: image.save(staged, kind, **options))
    return note


def same_colours(mode: str, other: str) -> bool:
    """Return whether a colour profile that fits pictures of one of Pillow's modes fits the other one."""
    return mode == other or any({mode, other} <= set(family) for family in FAMILIES)


def _without_tags(image: Image.Image) -> Image.Image:
    """Return a picture without the tags of a TIFF file, which Pillow writes again: some turn it once more."""
    return image.copy() if hasattr(image, "tag_v2") else image


def _tiff_exif(exif: bytes) -> dict[str, Any]:
    """Return the options that write an Exif block in a TIFF file, none for an empty one."""
    if not exif:
        return {}
    block = Image.Exif()
    block.load(exif)
    # Pillow would write where this part was in the block.
    if part := block.get_ifd(ExifTags.IFD.Interop):
        block.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = part
    # libtiff fails on the parts of a block; and left out, the compression is that of the file that was read.
    return {"exif": block, "compression": "raw"}


def write_marked(path: Path, kind: str, write: Callable[[Path], object]) -> None:
    """Let `write` write a file of a kind, mark it and put it in its place; as `write_atomically`."""

    def write_and_mark(staged: Path) -> None:
        write(staged)
        _mark(staged, kind)

    write_atomically(path, write_and_mark)


def is_own_result(path: Path) -> bool:
    """Return whether a file is as `save_result` or `write_marked` wrote it."""
    kind = (STILL | MOVING).get(path.suffix.lower(), "")
    if kind == "PNG":
        return is_own_picture(path)
    try:
        content = path.read_bytes()
    except OSError:
        return False
    end = len(_tail(kind, b""))
    return len(content) > end and content[-end:] == _tail(kind, content[:-end])


def _mark(path: Path, kind: str) -> None:
    content = path.read_bytes().removesuffix(ENDS.get(kind, b""))
    if kind == "WEBP":  # it says how long it is
        length = len(content) + len(_tail(kind, b"")) - 8
        content = content[:4] + struct.pack("<I", length) + content[8:]
    path.write_bytes(content + _tail(kind, content))


def _tail(kind: str, content: bytes) -> bytes:
    """Return what follows `content` in a marked file."""
    before, after = AROUND[kind]
    return before + MARK + hashlib.sha256(content).hexdigest().encode() + after
