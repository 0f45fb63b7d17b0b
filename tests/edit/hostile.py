"""Malformed and hostile image files: what people upload, and what is made to hurt."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

from eggan.edit import EXAMPLE_PHOTOGRAPH
from tests.packed import packed

HUGE = 60_000
Maker = Callable[[], bytes]


def portrait() -> Image.Image:
    return Image.open(EXAMPLE_PHOTOGRAPH).convert("RGB").crop((110, 20, 334, 244))


def saved(kind: str, mode: str = "RGB", **options) -> bytes:
    stream = io.BytesIO()
    portrait().convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head), *extra, chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_of_16_bits() -> bytes:
    pixels = np.asarray(portrait()).astype(">u2") * 257
    return png(224, 224, 16, 2, b"".join(b"\0" + row.tobytes() for row in pixels))


def huge_jpeg() -> bytes:
    content = bytearray(saved("JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", HUGE, HUGE)
    return bytes(content)


def huge_bmp() -> bytes:
    content = bytearray(saved("BMP"))
    content[18:26] = struct.pack("<ii", HUGE, HUGE)
    return bytes(content)


def huge_gif() -> bytes:
    content = bytearray(saved("GIF", "P"))
    content[6:10] = struct.pack("<HH", HUGE, HUGE)
    return bytes(content)


def huge_tiff() -> bytes:
    """One strip, said to be a picture of 60,000 x 60,000."""
    tags = [(256, 4, HUGE), (257, 4, HUGE), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, 100)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + body + b"\0" * 104


def icon_of_a_bomb() -> bytes:
    inner = png(HUGE, HUGE, 1, 0, b"\0" * 1000)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(inner), 22) + inner


def text_bomb() -> bytes:
    """A comment of 200 MB, packed into a few hundred kB."""
    comment = b"Comment\0\0" + packed(ord("A"), 200_000_000)
    return png(224, 224, 8, 2, b"\0" * (224 * 673), chunk(b"zTXt", comment))


def animated(kind: str, mode: str = "RGB") -> bytes:
    frames = [portrait().convert(mode), portrait().transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert(mode)]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:], duration=100)
    return stream.getvalue()


def zip_file() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("face.png", "no picture")
    return stream.getvalue()


def heic() -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(portrait()).save(stream)
    return stream.getvalue()


def with_exif(block: bytes) -> bytes:
    return saved("JPEG", exif=b"Exif\0\0" + block)


def exif_loop() -> bytes:
    """An Exif part that names itself as its next one."""
    return b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x08\0\0\0\x08"


GOOD: dict[str, Maker] = {
    "cmyk.jpg": lambda: saved("JPEG", "CMYK"),
    "cmyk.tif": lambda: saved("TIFF", "CMYK"),
    "grey16.png": lambda: png(
        224,
        224,
        16,
        0,
        b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in np.asarray(portrait().convert("L"))),
    ),
    "colours16.png": png_of_16_bits,
    "palette.png": lambda: saved("PNG", "P"),
    "transparent-palette.gif": lambda: saved("GIF", "P", transparency=0),
    "two-levels.png": lambda: saved("PNG", "1"),
    "alpha.webp": lambda: saved("WEBP", "RGBA"),
    "lab.tif": lambda: saved("TIFF", "LAB"),
    "animated.gif": lambda: animated("GIF"),
    "animated.webp": lambda: animated("WEBP"),
    "animated.png": lambda: animated("PNG"),
    "jpeg-named.png": lambda: saved("JPEG"),
    "png-named.jpg": lambda: saved("PNG"),
    "no-ending": lambda: saved("JPEG"),
    "heic.heic": heic,
    "broken-exif.jpg": lambda: with_exif(b"MM\0*\0\0\0\x08\0\x7f\x01"),
    "looping-exif.jpg": lambda: with_exif(exif_loop()),
    "turn-99.jpg": lambda: with_exif(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0"),
    "turn-as-text.jpg": lambda: with_exif(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04ABC\0\0\0\0\0"),
    "näme ümläut 脸.jpg": lambda: saved("JPEG"),
    "-o.jpg": lambda: saved("JPEG"),
    os.fsdecode(b"latin-\xe9.jpg"): lambda: saved("JPEG"),
}
BAD: dict[str, Maker] = {
    "half.jpg": lambda: cut(saved("JPEG"), 0.5),
    "start.jpg": lambda: saved("JPEG")[:10],
    "half.png": lambda: cut(saved("PNG"), 0.5),
    "half.gif": lambda: cut(saved("GIF", "P"), 0.3),
    "half.webp": lambda: cut(saved("WEBP"), 0.5),
    "half.tif": lambda: cut(saved("TIFF", compression="tiff_lzw"), 0.5),
    "half.bmp": lambda: cut(saved("BMP"), 0.5),
    "empty.jpg": lambda: b"",
    "text.jpg": lambda: b"this is no picture\n" * 20,
    "page.png": lambda: b"<!doctype html><title>Not found</title>",
    "archive.png": zip_file,
    "float.tif": lambda: saved("TIFF", "F"),
    "bomb-bits.png": lambda: png(HUGE, HUGE, 1, 0, b"\0" * 7501 * 2000),
    "bomb-colours.png": lambda: png(HUGE, HUGE, 8, 2, b"\0" * 1000),
    "bomb.jpg": huge_jpeg,
    "bomb.gif": huge_gif,
    "bomb.bmp": huge_bmp,
    "bomb.tif": huge_tiff,
    "bomb.ico": icon_of_a_bomb,
    "bomb-of-text.png": text_bomb,
    "page.eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60000 60000\n",
    "line\nbreak.jpg": lambda: b"no picture",
}


def write(folder: Path, files: dict[str, Maker]) -> Iterator[Path]:
    """Write the files of a table and yield their paths."""
    for name, make in files.items():
        path = folder / name
        path.write_bytes(make())
        yield path
