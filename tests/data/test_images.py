"""A user's photograph in every form it may come in."""

import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import GifImagePlugin, Image

from eggan.data import decoding
from eggan.data.decoding import decode_rgb
from eggan.errors import UserError


def picture(width=64, height=64):
    """A picture without symmetry: red grows to the right, green grows downwards, blue is 50."""
    x = np.linspace(0, 250, width).round()
    y = np.linspace(0, 250, height).round()
    return np.stack(np.broadcast_arrays(x[None, :], y[:, None], 50.0), axis=-1).astype(np.uint8)


def save(tmp_path, array, name="face.png", mode=None, **options):
    path = tmp_path / name
    Image.fromarray(array, mode).save(path, **options)
    return path


def as_uint8(photograph):
    return np.asarray(photograph.image)


def test_an_image_of_the_right_size_keeps_its_bytes(tmp_path):
    photograph = decode_rgb(save(tmp_path, picture()))
    assert np.array_equal(as_uint8(photograph), picture())
    assert photograph.notes == ()


def test_grey_becomes_rgb(tmp_path):
    photograph = decode_rgb(save(tmp_path, picture()[..., 0]))
    assert np.array_equal(as_uint8(photograph), np.repeat(picture()[..., :1], 3, axis=2))


def test_transparency_is_put_on_white(tmp_path):
    rgba = np.dstack([picture(), np.full((64, 64), 255, np.uint8)])
    rgba[:32, :, 3] = 0
    result = as_uint8(decode_rgb(save(tmp_path, rgba)))
    assert (result[:32] == 255).all()
    assert np.array_equal(result[32:], picture()[32:])


def test_grey_with_transparency_is_put_on_white(tmp_path):
    grey_alpha = np.zeros((64, 64, 2), np.uint8)
    assert (as_uint8(decode_rgb(save(tmp_path, grey_alpha))) == 255).all()


def test_a_palette_with_transparency_is_put_on_white(tmp_path):
    path = tmp_path / "face.png"
    Image.new("P", (64, 64), 0).save(path, transparency=0)
    assert (as_uint8(decode_rgb(path)) == 255).all()


def test_sixteen_bits_become_eight(tmp_path):
    grey = picture()[..., 0]
    photograph = decode_rgb(save(tmp_path, grey.astype(np.uint16) * 257))
    assert np.array_equal(as_uint8(photograph)[..., 0], grey)


def test_more_than_sixteen_bits_is_refused(tmp_path):
    path = save(tmp_path, picture()[..., 0].astype(np.int32) * 70000, "face.tiff")
    with pytest.raises(UserError, match="more than 16 bits"):
        decode_rgb(path)


def test_floating_point_pixels_are_refused(tmp_path):
    path = save(tmp_path, picture()[..., 0].astype(np.float32), "face.tiff")
    with pytest.raises(UserError, match="floating-point"):
        decode_rgb(path)


def test_cmyk_is_converted(tmp_path):
    path = tmp_path / "face.jpg"
    Image.fromarray(picture()).convert("CMYK").save(path, quality=95)
    assert np.abs(as_uint8(decode_rgb(path)).astype(int) - picture()).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, orientation):
    transposes = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(transposes[orientation](picture()))
    photograph = decode_rgb(save(tmp_path, stored, exif=exif))
    assert np.array_equal(as_uint8(photograph), picture())
    assert bool(photograph.notes) == (orientation != 1)


@pytest.mark.parametrize("orientation", [0, 9, 255])
@pytest.mark.parametrize("name", ["face.png", "face.jpg", "face.webp", "face.avif", "face.tiff"])
def test_an_orientation_that_means_nothing_is_not_noted(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph = decode_rgb(save(tmp_path, picture(), name, exif=exif))
    assert photograph.notes == ()
    assert np.abs(as_uint8(photograph).astype(int) - picture()).mean() < 12


DAMAGED_EXIF = [
    b"Exif\0\0MM\0*\0\0\0\x08\0\x05" + bytes([1, 18, 0, 3, 0]),  # an entry that is cut
    b"Exif\0\0MM\0*\xff\xff\xff\xff",  # a table that lies outside
    b"Exif\0\0XX\0*\0\0\0\x08" + bytes(20),  # no byte order
    b"Exif\0\0MM",
    b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\xff\xff\xff\xff\xff\xff\xff\xff",
    bytes(range(256)),
]


@pytest.mark.parametrize("exif", DAMAGED_EXIF, ids=range(len(DAMAGED_EXIF)))
@pytest.mark.parametrize("kind", ["AVIF", "JPEG", "PNG", "WEBP", "HEIF"])
def test_a_damaged_exif_block_costs_itself_only(tmp_path, kind, exif):
    """The picture, or one line; never another error."""
    pillow_heif.register_heif_opener()
    path = tmp_path / f"face.{kind.lower()}"
    Image.fromarray(picture()).save(path, format=kind)
    content = path.read_bytes()
    with suppress(Exception):  # not every writer takes such a block
        Image.fromarray(picture()).save(path, format=kind, exif=exif)
    if not path.stat().st_size:
        path.write_bytes(content)
    with suppress(UserError):
        photograph = decode_rgb(path)
        assert np.abs(as_uint8(photograph).astype(int) - picture()).mean() < 12


def test_a_block_that_no_reader_understands_is_noted(tmp_path, monkeypatch):
    def fails(self):
        raise struct.error("unpack requires a buffer of 4 bytes")

    path = save(tmp_path, picture())
    monkeypatch.setattr(Image.Image, "getexif", fails)
    photograph = decode_rgb(path)
    assert np.array_equal(as_uint8(photograph), picture())
    assert photograph.notes == ("read without its Exif block, which is damaged",)


@pytest.mark.parametrize("error", [RuntimeError, struct.error, IndexError, AssertionError, MemoryError])
def test_whatever_a_decoder_raises_is_one_line(tmp_path, monkeypatch, error):
    def fails(self):
        raise error("two\nlines")

    path = save(tmp_path, picture(), "face.gif")
    monkeypatch.setattr(GifImagePlugin.GifImageFile, "load", fails)
    with pytest.raises(UserError, match=r"face\.gif") as caught:
        decode_rgb(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("name", ["face.tiff", "face.png"])
def test_fewer_bits_in_sixteen_are_scaled_with_a_note(tmp_path, name, bits):
    top = 2**bits - 1
    grey = np.rint(np.linspace(0, top, 64)[:, None] * np.ones(64)).astype(np.uint16)
    photograph = decode_rgb(save(tmp_path, grey, name))
    assert np.array_equal(as_uint8(photograph)[..., 0], np.rint(grey * (255 / top)).astype(np.uint8))
    assert photograph.notes == (f"scaled: its 16-bit pixels hold {bits}-bit data",)


def test_a_black_picture_of_sixteen_bits_is_black(tmp_path):
    photograph = decode_rgb(save(tmp_path, np.zeros((64, 64), np.uint16), "face.tiff"))
    assert not as_uint8(photograph).any()
    assert photograph.notes == ()


def sixteen_bit_colours(path, values):
    """Write an RGB PNG of 16 bits per channel, which Pillow itself does not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind, content):
        checked = kind + content
        return len(content).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    header = np.array(values.shape[1::-1], ">u4").tobytes() + bytes([16, 2, 0, 0, 0])
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def test_sixteen_bit_colours_are_read_unless_only_their_lower_bits_are_used(tmp_path):
    full = sixteen_bit_colours(tmp_path / "full.png", picture().astype(np.uint16) * 257)
    assert np.array_equal(as_uint8(decode_rgb(full)), picture())
    low = sixteen_bit_colours(tmp_path / "low.png", picture().astype(np.uint16) * 16)
    with pytest.raises(UserError, match="holds 12-bit data in 16-bit colours"):
        decode_rgb(low)


@pytest.mark.parametrize("name", ["face.gif", "face.webp", "face.png", "face.tiff"])
def test_of_several_frames_the_first_is_taken_with_a_note(tmp_path, name):
    path, more = tmp_path / name, [Image.fromarray(255 - picture()), Image.fromarray(picture() // 2)]
    Image.fromarray(picture()).save(path, save_all=True, append_images=more, lossless=True)
    photograph = decode_rgb(path)
    assert photograph.notes == ("taken from the first of 3 frames",)
    assert np.abs(as_uint8(photograph).astype(int) - picture()).mean() < 20


def test_a_raw_file_and_heic_without_its_reader_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "heic_is_readable", lambda: False)
    save(tmp_path, picture(), "face.tiff").rename(tmp_path / "face.nef")
    (tmp_path / "face.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    with pytest.raises(UserError, match="a camera's raw file: develop it"):
        decode_rgb(tmp_path / "face.nef")
    with pytest.raises(UserError, match="HEIC needs pillow-heif"):
        decode_rgb(tmp_path / "face.jpg")


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "tiff_adobe_deflate"])
def test_libtiff_adds_no_line_of_its_own(tmp_path, capfd, compression):
    path = save(tmp_path, picture(), "face.tiff", compression=compression)
    content = bytearray(path.read_bytes())
    content[10 : len(content) // 2] = bytes(len(content) // 2 - 10)
    path.write_bytes(content)
    with suppress(UserError):
        decode_rgb(path)
    assert capfd.readouterr().err == ""


def test_programs_and_unlimited_archives_are_no_photographs(tmp_path):
    path = tmp_path / "face.jpg"
    Image.fromarray(picture()).save(path, format="EPS")
    with pytest.raises(UserError, match="is of the format EPS"):
        decode_rgb(path)


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0b.png"])
def test_impossible_names_are_one_line(tmp_path, name):
    with pytest.raises(UserError):
        decode_rgb(tmp_path / name)


def test_a_single_pixel_is_still_an_image(tmp_path):
    photograph = decode_rgb(save(tmp_path, np.full((1, 1, 3), 255, np.uint8)))
    assert (as_uint8(photograph) == 255).all()


@pytest.mark.parametrize("name", ["face.png", "face.jpg"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, name, kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path, noise, name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(UserError, match="cannot be read, it may be truncated"):
        decode_rgb(path)


def test_damaged_bytes_are_refused(tmp_path):
    path = save(tmp_path, picture())
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(UserError, match="truncated or damaged"):
        decode_rgb(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"face\.png"):
        decode_rgb(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such image"):
        decode_rgb(tmp_path / "none.png")
    with pytest.raises(UserError, match="is a folder"):
        decode_rgb(tmp_path)


@pytest.mark.parametrize("side", [9000, 30_000, 60_000])
def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, side):
    """A PNG header that claims more pixels than are taken, and holds none of them."""
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, format="PNG")
    header = bytearray(stream.getvalue())
    header[16:24] = side.to_bytes(4, "big") * 2
    path = tmp_path / "bomb.png"
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    path.write_bytes(header)
    with pytest.raises(UserError, match="more than 80 million pixels"):
        decode_rgb(path)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "PPM", "TGA", "TIFF", "WEBP"])
def test_a_bomb_of_any_form_is_refused(tmp_path, kind):
    headers = {
        "BMP": b"BM" + bytes(12) + struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
        "GIF": b"GIF89a" + struct.pack("<HHBBB", 60000, 60000, 0x80, 0, 0) + bytes(6)
        + b"," + struct.pack("<HHHHB", 0, 0, 60000, 60000, 0) + b"\x02\x02\x44\x01\0;",
        "PPM": b"P6 60000 60000 255\n" + bytes(99),
        "TGA": bytes([0, 0, 2, *[0] * 9]) + struct.pack("<HHBB", 60000, 60000, 24, 0) + bytes(99),
        "TIFF": b"II*\0\x08\0\0\0\x06\0" + b"".join(
            struct.pack("<HHII", tag, 4, 1, value)
            for tag, value in ((256, 60000), (257, 60000), (258, 8), (259, 1), (262, 1), (273, 8))
        ) + bytes(4),
        "WEBP": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + struct.pack("<I", 16000)[:3] * 2 + bytes(12),
    }  # fmt: skip
    path = tmp_path / f"face.{kind.lower()}"
    path.write_bytes(headers[kind])
    with pytest.raises(UserError, match="more than 80 million pixels"):
        decode_rgb(path)


def test_the_largest_picture_needs_less_than_the_memory_it_may(tmp_path):
    """9,000 x 8,800 pixels with transparency and with 16 bits, decoded in a process of its own."""
    Image.new("LA", (9000, 8800), (80, 128)).save(tmp_path / "alpha.png", compress_level=1)
    Image.fromarray(np.full((8800, 9000), 4000, np.uint16)).save(tmp_path / "deep.tiff")
    code = (
        "import sys; from pathlib import Path; from eggan.data.decoding import decode_rgb\n"
        "decode_rgb(Path(sys.argv[1]))\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(status.split('VmHWM:')[1].split()[0])"
    )
    for name in ("alpha.png", "deep.tiff"):
        ended = subprocess.run([sys.executable, "-c", code, tmp_path / name], capture_output=True, check=True)
        assert int(ended.stdout) < 2**20  # KiB; a whole command needs half a GiB beside it


def test_the_own_limit_is_the_one_that_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(UserError, match="million pixels"):
        decode_rgb(save(tmp_path, picture()))


def test_what_pillow_logs_before_it_refuses_a_file_is_no_second_line(tmp_path):
    """In a process of its own: pytest's handlers would hide what an unhandled record does to stderr."""
    directory = b"".join(
        struct.pack("<HHII", tag, 3 if tag != 273 else 4, 1, value)
        for tag, value in ((256, 8), (257, 8), (258, 8), (259, 1), (262, 2), (273, 8), (277, 480))
    )
    (tmp_path / "odd.tif").write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", 7) + directory + bytes(4))
    code = (
        "import sys\nfrom pathlib import Path\nfrom eggan.data.decoding import decode_rgb\n"
        "from eggan.errors import UserError\n"
        "try: decode_rgb(Path(sys.argv[1]))\nexcept UserError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "odd.tif")], capture_output=True, text=True, check=True
    )
    assert "odd.tif is not an image that Pillow can read" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["face.png", "face.jpg", "face.gif", "face.webp", "face.tiff", "face.heic"])
def test_a_file_in_memory_is_read_as_one_on_disk(tmp_path, name):
    path, more = tmp_path / name, [Image.fromarray(255 - picture())]
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = 6
    Image.fromarray(picture()).save(path, save_all=name != "face.jpg", append_images=more, exif=exif)
    there = decoding.decode_rgb(path)
    content = path.read_bytes()
    path.unlink()
    here = decoding.decode_rgb(path, content)
    assert here.notes == there.notes
    assert np.array_equal(here.image, there.image)


def test_a_file_in_memory_is_refused_by_its_name(tmp_path):
    content = save(tmp_path, picture()).read_bytes()
    for name in ("cut.png", "/", "..", "x" * 5000, "a\0b.png", "\udcff.png"):
        with pytest.raises(UserError, match="truncated"):
            decoding.decode_rgb(Path(name), content[: len(content) // 2])
