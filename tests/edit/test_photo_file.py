"""A photograph's file, whatever its mode: what an edit changes of it, and what stays."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from eggan.edit.photo_file import load_photo_file
from eggan.pictures import STILL, save_result

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (20, 30), dtype=np.uint8)
ALPHA[:, ::3] = 255
ALPHA[:, 1::3] = 0
BOX = (10, 5, 22, 15)
INSIDE = (slice(5, 15), slice(10, 22))


def inks() -> Image.Image:
    return Image.fromarray(RANDOM.integers(0, 256, (20, 30, 4), dtype=np.uint8), "CMYK")


def transparent(mode: str) -> Image.Image:
    image = Image.fromarray(COLOURS).convert(mode)
    image.putalpha(Image.fromarray(ALPHA))
    return image


def deep_grey(bits: int) -> Image.Image:
    return Image.fromarray((COLOURS[..., 0].astype(np.uint16) * 256 + COLOURS[..., 1]) >> (16 - bits))


FORMS = {
    "rgb.png": Image.fromarray(COLOURS),
    "rgba.png": transparent("RGBA"),
    "la.png": transparent("LA"),
    "grey.png": Image.fromarray(COLOURS[..., 0]),
    "cmyk.tif": inks(),
    "grey16.png": deep_grey(16),
    "grey16.tif": deep_grey(16),
    "grey12.png": deep_grey(12),
}


@pytest.mark.parametrize("name", FORMS)
def test_an_edit_changes_what_it_changes_and_nothing_else(tmp_path, name):
    """Whatever the mode, the picture then shows the edit, and all other pixels keep their own values."""
    FORMS[name].save(tmp_path / name)
    photo = load_photo_file(tmp_path / name)
    own, seen = np.array(photo.image), photo.pixels.copy()
    patch = seen[INSIDE].copy()
    patch[2:6, 3:9] = 90 + patch[2:6, 3:9] // 4
    photo.put(BOX, patch)
    after = np.array(photo.image)
    same = np.ones(seen.shape[:2], bool)
    same[7:11, 13:19] = False
    assert photo.image.mode == FORMS[name].mode
    assert np.array_equal(after[same], own[same])
    assert np.array_equal(photo.pixels[INSIDE], patch)
    photo.image.save(tmp_path / f"again-{name}")
    again = load_photo_file(tmp_path / f"again-{name}").pixels[7:11, 13:19].astype(int)
    wanted = patch[2:6, 3:9].astype(float)
    if photo.image.mode in ("L", "LA", "I;16"):
        wanted = np.repeat(wanted @ [[0.299], [0.587], [0.114]], 3, axis=2)
    seen_through = ALPHA[7:11, 13:19] > 0 if photo.image.mode in ("RGBA", "LA") else np.ones((4, 6), bool)
    # a pixel that is nearly transparent cannot show everything
    off = np.abs(again - wanted)[seen_through]
    assert np.median(off) <= 1
    if photo.image.mode not in ("RGBA", "LA"):
        assert off.max() <= 1
    assert np.array_equal(again[~seen_through], seen[7:11, 13:19][~seen_through])


@pytest.mark.parametrize(
    ("mode", "options", "becomes", "note"),
    [
        ("P", {}, "RGB", "a palette cannot hold"),
        ("P", {"transparency": 3}, "RGBA", "a palette cannot hold"),
        ("1", {}, "L", "256 levels of grey"),
        ("RGB", {"transparency": (0, 0, 0)}, "RGBA", None),
        ("L", {"transparency": 0}, "LA", None),
    ],
)
def test_a_mode_that_cannot_hold_an_edit_is_left(tmp_path, mode, options, becomes, note):
    image = Image.fromarray(COLOURS).convert(mode)
    image.save(tmp_path / "a.png", **options)
    photo = load_photo_file(tmp_path / "a.png")
    assert photo.image.mode == becomes
    assert [note in text for text in photo.notes] == [True] * (note is not None)
    assert np.array_equal(
        np.asarray(photo.image.convert("RGBA")), np.asarray(Image.open(tmp_path / "a.png").convert("RGBA"))
    )


@pytest.mark.parametrize(
    ("mode", "options", "kept"),
    [
        ("RGB", {"transparency": (0, 0, 0)}, True),
        ("P", {"transparency": 3}, True),
        ("L", {"transparency": 0}, True),
        ("I;16", {}, True),
        ("LA", {}, True),
        ("LAB", {}, False),
    ],
)
def test_a_profile_stays_with_the_colours_it_is_of(tmp_path, mode, options, kept):
    image = (
        deep_grey(16)
        if mode == "I;16"
        else Image.fromarray(COLOURS).convert("RGB" if mode == "LAB" else mode)
    )
    if mode == "LAB":
        image = ImageCms.profileToProfile(
            image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    path = tmp_path / ("a.tif" if mode == "LAB" else "a.png")
    image.save(path, icc_profile=b"a profile", **options)
    photo = load_photo_file(path)
    assert photo.icc == (b"a profile" if kept else b"")


def test_deep_grey_without_its_transparency_is_noted(tmp_path):
    deep_grey(16).save(tmp_path / "a.png", transparency=7)
    photo = load_photo_file(tmp_path / "a.png")
    assert photo.notes == ("read without its transparency: grey of 16 bits is read without any",)
    deep_grey(16).save(tmp_path / "b.png")
    assert load_photo_file(tmp_path / "b.png").notes == ()


def turned(orientation: int, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    exif.get_ifd(ExifTags.IFD.Exif)[0x9003] = "2026:01:02 03:04:05"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, kind, exif=exif.tobytes())
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_once_and_keeps_the_rest_of_its_exif_block(tmp_path, kind):
    path = tmp_path / "a"
    path.write_bytes(turned(6, kind))
    photo = load_photo_file(path)
    assert photo.image.size == (20, 30)
    assert photo.pixels.shape == (30, 20, 3)
    kept = Image.Exif()
    kept.load(photo.exif)
    assert 0x0112 not in kept
    assert kept[0x010F] == "Maker"
    assert kept.get_ifd(ExifTags.IFD.Exif)[0x9003] == "2026:01:02 03:04:05"
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"


STORAGE = {
    0x0100: 4096,
    0x0101: 2731,
    0x0102: (8, 8, 8),
    0x0106: 6,
    0x0115: 1,
    0x0116: 7,
    0x011C: 2,
    0x0142: 64,
}
THUMBNAIL = {0x0201: 1000, 0x0202: 5, 0x02BC: b"<xmp/>", 0x8649: b"8BIM"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("ending", STILL)
def test_an_exif_block_says_nothing_of_how_the_read_file_was_stored(tmp_path, kind, ending):
    """Photoshop and telephones write what a TIFF file is read by into the blocks of other forms."""
    exif = Image.Exif()
    for tag, value in {0x010F: "Maker", **({} if kind == "TIFF" else STORAGE | THUMBNAIL)}.items():
        exif[tag] = value
    interoperable = {1: "R03"}
    exif[ExifTags.IFD.Exif] = {
        0x9003: "2026:01:02 03:04:05",
        0xA002: 4096,
        0xA003: 2731,
        0xA005: interoperable,
    }
    block = Image.Exif()
    block.load(exif.tobytes())
    block.get_ifd(ExifTags.IFD.Exif)[0xA005] = interoperable  # as `save_result`: Pillow loses it in TIFF
    path, result = tmp_path / "a", tmp_path / f"result{ending}"
    Image.fromarray(COLOURS).save(path, kind, exif=block)
    photo = load_photo_file(path)
    assert photo.notes == ()
    save_result(photo.image, photo.pixels, result, photo.exif)
    with Image.open(result) as written:
        kept = written.getexif()
        of_camera = kept.get_ifd(ExifTags.IFD.Exif)
        assert kept[0x010F] == "Maker"
        assert of_camera[0x9003] == "2026:01:02 03:04:05"
        assert not {0xA002, 0xA003} & set(of_camera)
        assert kept.get_ifd(ExifTags.IFD.Interop) == interoperable
        assert not set(THUMBNAIL) & set(kept)
        if result.suffix not in (".tif", ".tiff"):
            assert not set(STORAGE) & set(kept)
        written.load()
        assert written.size == (30, 20)
        if ending in (".png", ".webp", ".tif"):
            assert np.array_equal(np.asarray(written), photo.pixels)


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "raw"])
def test_a_tiff_file_leaves_its_packets_and_its_compression_behind(tmp_path, compression):
    """An XMP packet may say how the file was turned; compressed as JPEG, a result is not what was edited."""
    packet = b"<x tiff:Orientation='6'/>"
    tags = {0x010E: "a face", 0x02BC: packet}
    Image.fromarray(COLOURS).save(tmp_path / "a.tif", compression=compression, tiffinfo=tags)
    photo = load_photo_file(tmp_path / "a.tif")
    result = tmp_path / "result.tif"
    save_result(photo.image, photo.pixels, result, photo.exif)
    with Image.open(result) as written:
        assert "xmp" not in written.info
        assert written.getexif()[0x010E] == "a face"
        assert np.array_equal(np.asarray(written), photo.pixels)
    assert packet not in result.read_bytes()


def test_a_damaged_part_of_an_exif_block_is_noted(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(turned(1))
    monkeypatch.setattr(Image.Exif, "tobytes", lambda self: b"".index(b"damaged"))
    photo = load_photo_file(tmp_path / "a.jpg")
    assert photo.exif == b""
    assert photo.notes == ("read without its Exif block, which is damaged",)


def test_a_picture_without_an_exif_block_gets_none(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    assert load_photo_file(tmp_path / "a.png").exif == b""


def test_sixteen_bits_of_colour_are_read_as_eight_and_that_is_noted(tmp_path):
    import struct
    import zlib

    rows = b"".join(b"\0" + (COLOURS[y].astype(">u2") * 257).tobytes() for y in range(20))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 30, 20, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    (tmp_path / "deep.png").write_bytes(content)
    photo = load_photo_file(tmp_path / "deep.png")
    assert "8 of the 16 bits" in photo.notes[0]
    assert np.array_equal(photo.pixels, COLOURS)
