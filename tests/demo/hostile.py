"""Files as people, cameras and attackers make them: name, content, and whether a face is to be found."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pillow_heif
from PIL import Image

from tests.packed import packed

File = tuple[str, bytes, bool]


def coded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image as a file of this kind."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def png(width: int, height: int, depth: int, colours: int, packed: bytes, *more: bytes) -> bytes:
    """Return a PNG file whose rows are `packed` already."""
    header = struct.pack(">II", width, height) + bytes([depth, colours, 0, 0, 0])
    parts = (chunk(b"IHDR", header), *more, chunk(b"IDAT", packed), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def damaged(face: Image.Image) -> Iterator[File]:
    """Yield files that were cut off or overwritten."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8))
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "HEIF"):
        content = coded(noise, kind)
        yield f"cut.{kind.lower()}", content[: len(content) // 2], False
    content = bytearray(coded(face, "PNG"))
    content[60:90] = bytes(30)
    yield "overwritten.png", bytes(content), False
    yield "empty.jpg", b"", False
    yield "head alone.png", b"\x89PNG\r\n\x1a\n", False
    yield "zeros.jpg", bytes(1 << 20), False


def bombs() -> Iterator[File]:
    """Yield files that claim, or hold, far more than they weigh."""
    side = 60_000
    yield "claims.png", png(side, side, 8, 2, zlib.compress(bytes(99))), False
    yield "holds.png", png(side, side, 1, 0, packed(0, side * (side // 8 + 1))), False
    yield "bomb.bmp", b"BM" + bytes(12) + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, *[0] * 6), False
    yield "bomb.ppm", f"P6 {side} {side} 255\n".encode() + bytes(99), False
    frame = b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x44\x01\0;"
    yield "bomb.gif", b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6) + frame, False
    yield "largest.png", png(8000, 10_000, 1, 0, packed(0, 10_000 * 1001)), False
    yield "strip.png", coded(Image.new("RGB", (40_000, 1)), "PNG"), False
    text = chunk(b"zTXt", b"Comment\0\0" + packed(0, 1 << 27))
    yield "text.png", png(8, 8, 8, 0, zlib.compress(bytes(72)), text), False
    profile = chunk(b"iCCP", b"profile\0\0" + packed(0, 1 << 27))
    yield "profile.png", png(8, 8, 8, 0, zlib.compress(bytes(72)), profile), False


def no_pictures(face: Image.Image) -> Iterator[File]:
    """Yield what is no photograph, or none that is read."""
    yield "page.jpg", b"<html><script>alert(1)</script></html>", False
    yield "drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', False
    yield "archive.png", b"PK\3\4" + bytes(400), False
    yield "paper.pdf", b"%PDF-1.7\n" + bytes(400), False
    yield "program.eps", coded(face, "EPS"), False
    yield "camera.nef", coded(face, "TIFF"), False
    yield "pixel.png", coded(Image.new("RGB", (1, 1)), "PNG"), False
    yield "floating.tiff", coded(Image.fromarray(np.ones((64, 64), np.float32)), "TIFF"), False
    yield "deep.tiff", coded(Image.fromarray(np.full((64, 64), 1 << 20, np.int32)), "TIFF"), False


def forms(face: Image.Image) -> Iterator[File]:
    """Yield a face in every form that a photograph comes in."""
    grey = face.convert("L")
    yield "png.jpg", coded(face, "PNG"), True
    yield "jpeg without an ending", coded(face, "JPEG", quality=95), True
    yield "inks.jpg", coded(face.convert("CMYK"), "JPEG", quality=95), True
    yield "palette.png", coded(face.quantize(256), "PNG"), True
    yield "grey.jpg", coded(grey, "JPEG", quality=95), True
    yield "sixteen.png", coded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"), True
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(face).astype(">u2") * 257)
    yield "sixteen colours.png", png(*face.size, 16, 2, zlib.compress(rows)), True
    clear = face.convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    yield "clear.png", coded(clear, "PNG"), True
    more = [face.rotate(180)]
    yield "moving.gif", coded(face, "GIF", save_all=True, append_images=more), True
    yield "moving.webp", coded(face, "WEBP", save_all=True, append_images=more), True
    yield "moving.png", coded(face, "PNG", save_all=True, append_images=more), True
    yield "phone.heic", coded(face, "HEIF", quality=90), True
    turned = Image.Exif()
    turned[0x0112] = 6
    yield "turned.jpg", coded(face.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=turned), True
    yield "broken exif.jpg", coded(face, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(40)), True
    yield "no profile.png", coded(face, "PNG", icc_profile=b"not a profile"), True


def odd_names(face: Image.Image) -> Iterator[File]:
    """Yield a good photograph under names that break programs."""
    content = coded(face, "JPEG", quality=95)
    names = ("../../../etc/passwd", "a\0b.jpg", "porträt 肖像 🙂.jpg", "x" * 4000 + ".jpg", "two\nlines.jpg")
    for name in (*names, "<img src=x onerror=alert(1)>.jpg", "", ".", "\u202egpj.exe", "con"):
        yield name, content, True


def files(face: Image.Image) -> list[File]:
    """Return all of them; `face` is a picture of a face."""
    pillow_heif.register_heif_opener()
    return [*damaged(face), *bombs(), *no_pictures(face), *forms(face), *odd_names(face)]
