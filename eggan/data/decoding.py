"""Image files of any form that Pillow reads, as upright 8-bit RGB pictures.

What a file is shows in its content, not in its name. Everything that can be wrong with one is a `UserError`
of one line; what was done to a usable one beyond decoding is in `Decoded.notes`.
"""

import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from eggan.errors import UserError

MAX_PIXELS = 80_000_000  # 240 MB once decoded; a larger one is a decompression bomb or a mistake
WHITE = (255, 255, 255, 255)
# Pillow opens a camera's raw files as the small preview in them, or not at all.
RAW_SUFFIXES = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".j2k", ".jpx", ".jxl", ".png", ".apng", ".gif"),
    *(".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif", ".avifs", ".heic", ".heif", ".hif"),
    *(".ppm", ".pgm", ".pnm", ".tga", ".psd", ".qoi", ".ico"),
    *RAW_SUFFIXES,
)
# EPS is a program that Pillow gives to Ghostscript; FITS is inflated without a limit.
REFUSED_FORMATS = ("EPS", "FITS")
STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
ANIMATED = ("AVIF", "GIF", "HEIF", "PNG", "TIFF", "WEBP")  # MPO's further frames are not of a sequence
HEAD = 32  # bytes in which a form shows
ORIENTATION = 0x0112
# Of a TIFF file, whose Exif block is the file itself, what speaks of the picture: description, maker, model,
# resolution (3), date, artist, copyright.
DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0132, 0x013B, 0x8298)
# What speaks of how the file stores its picture, which a result stores in its own way: form and size (to
# 0x10A), strips and samples, further pages, tables of colours and tiles, parts within, inks, JPEG's tables
# and thumbnail, YCbCr; an XMP packet, which turns it once more, Photoshop's resources, with a thumbnail, and
# the profile, which has a place of its own.
STORAGE = {
    *range(0x00FE, 0x010B),
    *(0x0111, ORIENTATION, *range(0x0115, 0x011A), 0x011C, *range(0x0120, 0x0126), 0x0129, 0x012D),
    *(0x013D, *range(0x0140, 0x014E), *range(0x0150, 0x015C), *range(0x0200, 0x0215)),
    *(0x02BC, 0x8649, 0x8773),
}
EXIF_PART, GPS_PART, INTEROPERABLE_PART = 0x8769, 0x8825, 0xA005  # the last one within the first
STORED_SIZE = (0xA002, 0xA003)  # within it, too: width and height of the file's picture, or of an earlier one
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DAMAGED = "read without its Exif block, which is damaged"
DEPTHS = (8, 10, 12, 14, 16)  # bits per channel that sensors deliver
DARK = 63  # of 255: the most that 14 bits reach in 16
# Pillow logs what it cannot decode before it raises; unhandled, that would be a second line on stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())
STRIP = 1024  # rows that are composed at once: a whole picture of the largest size takes a gigabyte


@dataclass(frozen=True)
class Decoded:
    """A picture, upright, 8-bit RGB, at its own size; `notes` complete "the file was ..."."""

    image: Image.Image
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Original:
    """A picture as its file holds it, upright: `image` in its own mode, `rgb` as `decode_rgb` has it.

    `deep`: its colours have 16 bits in the file, of which Pillow keeps 8. `exif` is its Exif block without
    what holds for this file alone: how it is turned and stored, and a thumbnail. `icc` is its colour profile.
    Both may be empty.
    """

    image: Image.Image
    rgb: Image.Image
    deep: bool
    exif: bytes
    icc: bytes
    notes: tuple[str, ...]


def decode_original(path: Path, content: bytes | None = None) -> Original:
    """Read an image file to be written again; errors and `content` as of `decode_rgb`."""
    notes: list[str] = []
    image, deep = _open(path, content, notes)
    icc = image.info.get("icc_profile") or b""
    upright = _guarded(path, lambda: _upright(image, notes))
    exif = _exif(image, notes)
    rgb = _guarded(path, lambda: _to_rgb(upright, path, deep, notes))
    return Original(upright, rgb, deep, exif, icc, tuple(notes))


def decode_rgb(path: Path, content: bytes | None = None) -> Decoded:
    """Read an image file; an unusable, unsupported or oversized one is a `UserError`.

    EXIF rotation is applied, transparency is put on white, grey becomes RGB, more than 8 bits become 8.
    A file that lies in memory is given as its `content`; `path` is then nothing but its name.
    """
    notes: list[str] = []
    image, deep = _open(path, content, notes)
    rgb = _guarded(path, lambda: _to_rgb(_upright(image, notes), path, deep, notes))
    return Decoded(rgb, tuple(notes))


def looks_like_image(path: Path) -> bool:
    """Return whether a file has an image's ending or, whatever its name, an image's first bytes."""
    return path.suffix.lower() in SUFFIXES or _has_signature(_head(path))


def is_plain_image(path: Path) -> bool:
    """Return whether any program reads the file's picture alike: JPEG, BMP, or PNG of at most 8 bits."""
    head = _head(path)
    return head.startswith((b"\xff\xd8\xff", b"BM")) or (
        head.startswith(b"\x89PNG") and head[24:25] <= b"\x08"
    )


def why_unsupported(path: Path, content: bytes | None = None) -> str | None:
    """Return why an image file of this kind cannot be read here, None where it may be; as `decode_rgb`."""
    if path.suffix.lower() in RAW_SUFFIXES:
        return "a camera's raw file: develop it to JPEG, PNG or TIFF"
    head = _head(path) if content is None else content[:HEAD]
    if _is_heic(head) and not heic_is_readable():
        return "HEIC needs pillow-heif: pip install 'eggan[heif]', or convert it to JPEG"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "Pillow does not read JPEG XL: convert it to JPEG or PNG"
    return None


@lru_cache(maxsize=1)
def heic_is_readable() -> bool:
    """Return whether pillow-heif is installed; it is registered with Pillow then."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(HEAD)
    except (OSError, ValueError):
        return b""


def _has_signature(head: bytes) -> bool:
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(STARTS) or webp or head[4:12] in (b"ftypavif", b"ftypavis") or _is_heic(head)


def _is_heic(head: bytes) -> bool:
    # AVIF files may have the general brand first; their own one then follows among the compatible ones.
    return head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS and b"avif" not in head


def _open(path: Path, content: bytes | None, notes: list[str]) -> tuple[Image.Image, bool]:
    """Return the first frame as stored, loaded, and whether it holds colours of 16 bits."""
    if content is None and os.path.isdir(path):  # unlike Path's, this takes any name
        raise UserError(f"{path} is a folder, not an image")
    unsupported = why_unsupported(path, content)
    if unsupported:
        raise UserError(f"{path} cannot be read: {unsupported}")
    heic_is_readable()
    return _guarded(path, lambda: _load(path, content, notes))


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    """Call `read` and turn whatever a decoder raises into one line: they raise anything on damaged files."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Pillow checks pictures inside of files (icons) by its own limit, which is a little higher.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return read()
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(path) from None
    except MemoryError:
        raise UserError(f"{path} needs more memory than there is: scale it down first") from None
    except FileNotFoundError:
        raise UserError(f"no such image: {path}") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image that Pillow can read") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read, it may be truncated or damaged: {reason}") from None


def _load(path: Path, content: bytes | None, notes: list[str]) -> tuple[Image.Image, bool]:
    image: Image.Image = Image.open(_source(path, content))
    if image.format in REFUSED_FORMATS:
        raise UserError(f"{path} is of the format {image.format}: convert it to PNG or JPEG")
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path)
    frames = _frames(_source(path, content), image.format)
    if frames > 1:
        notes.append(f"taken from the first of {frames} frames")
    # Pillow keeps the upper 8 bits of such colours, which the loaded picture no longer shows.
    deep = image.mode in ("RGB", "RGBA", "RGBX") and any(
        ";16" in str(tile[3]) for tile in getattr(image, "tile", ())
    )
    if image.format == "TIFF":
        _load_tiff(image)
    else:
        image.load()  # before its Exif block: for that a PNG would be loaded, its damage unseen here
    return image, deep


def _load_tiff(image: Image.Image) -> None:
    with _without_chatter():
        with suppress(Exception):  # the file is closed once loaded; what is damaged is noted by `_exif`
            image.getexif().get_ifd(INTEROPERABLE_PART)
        image.load()


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep libtiff, which writes on the process's own stderr, from adding lines to the one of a refusal."""
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed: nothing can be written there
        yield
        return
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(silent)
        os.close(kept)


def _source(path: Path, content: bytes | None) -> Path | io.BytesIO:
    return path if content is None else io.BytesIO(content)


def _frames(source: Path | io.BytesIO, kind: str | None) -> int:
    """Return the number of frames; counted on a copy, since a damaged frame leaves the reader anywhere."""
    if kind not in ANIMATED:
        return 1
    try:
        with Image.open(source) as image:
            return int(getattr(image, "n_frames", 1))
    except Exception:  # the first frame may be whole all the same; reading it decides
        return 1


def _too_large(path: Path) -> UserError:
    limit = MAX_PIXELS // 1_000_000
    return UserError(f"{path} has more than {limit} million pixels: scale it down first")


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Turn a picture as its EXIF tag says; a damaged block costs the tag, not the picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises whatever reading a damaged block comes to
        notes.append(DAMAGED)
        return image
    if turn is None:
        return image
    notes.append("turned upright as its EXIF tag says")
    return image.transpose(turn)


def _exif(image: Image.Image, notes: list[str]) -> bytes:
    """Return a picture's Exif block as `Original` has it; a damaged one is empty."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given, kept = image.getexif(), Image.Exif()
            plain = DESCRIPTIVE if image.format == "TIFF" else [tag for tag in given if tag not in STORAGE]
            for tag in plain:
                if tag in given:
                    kept[tag] = given[tag]
            for part in (EXIF_PART, GPS_PART):
                values = {tag: value for tag, value in given.get_ifd(part).items() if tag not in STORED_SIZE}
                if INTEROPERABLE_PART in values:  # a place in the file, where nothing is in another one
                    values[INTEROPERABLE_PART] = dict(given.get_ifd(INTEROPERABLE_PART))
                if values:
                    kept[part] = values
            return kept.tobytes() if kept else b""
    except Exception:  # Pillow raises whatever reading a damaged block comes to
        if DAMAGED not in notes:
            notes.append(DAMAGED)
        return b""


def _to_rgb(image: Image.Image, path: Path, deep: bool, notes: list[str]) -> Image.Image:
    """Return an 8-bit RGB image whatever the mode was."""
    if deep:
        _refuse_dark(image, path)
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        if image.has_transparency_data:
            notes.append("read without its transparency: grey of 16 bits is read without any")
        return _from_integers(np.asarray(image), path, notes)
    if image.mode == "F":
        raise UserError(f"{path} has floating-point pixels: convert it to an 8-bit PNG or JPEG")
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("RGB")


def _from_integers(values: np.ndarray, path: Path, notes: list[str]) -> Image.Image:
    """Scale grey values of up to 16 bits by the depth that they use: sensors leave the upper bits empty."""
    highest = int(values.max())
    if values.min() < 0 or highest > 65535:
        raise UserError(f"{path} has more than 16 bits per channel: convert it to an 8-bit PNG or JPEG")
    depth = next(bits for bits in DEPTHS if highest < 2**bits)
    levels = np.arange(2**depth)
    if depth == 16:
        table = levels // 257
    else:
        table = np.rint(levels * (255 / (2**depth - 1)))
        if highest:
            notes.append(f"scaled: its 16-bit pixels hold {depth}-bit data")
    return Image.fromarray(table.astype(np.uint8)[values]).convert("RGB")


def _refuse_dark(image: Image.Image, path: Path) -> None:
    """Refuse 16-bit colours of which only the lower bits are used: 8 bits of them would be near black."""
    bands = image.getextrema()[:3]
    highest = max(int(high) for _, high in bands)  # type: ignore[misc]
    if 0 < highest <= DARK:
        used = 8 + highest.bit_length()
        raise UserError(
            f"{path} holds {used}-bit data in 16-bit colours, which would read nearly black: "
            "scale it to 8 bits per channel first"
        )


def _on_white(image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, STRIP):
        box = (0, top, image.width, min(top + STRIP, image.height))
        front = image.crop(box).convert("RGBA")
        whole = Image.alpha_composite(Image.new("RGBA", front.size, WHITE), front)
        result.paste(whole.convert("RGB"), box)
    return result
