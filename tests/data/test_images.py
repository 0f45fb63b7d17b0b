"""A user's photograph in every form it may come in."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from eggan.data import images
from eggan.data.images import load_photograph, save_png
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
    return photograph.pixels[0].add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()


def test_an_image_of_the_right_size_keeps_its_bytes(tmp_path):
    photograph = load_photograph(save(tmp_path, picture()), 64)
    assert photograph.pixels.shape == (1, 3, 64, 64)
    assert photograph.pixels.dtype == torch.float32
    assert np.array_equal(as_uint8(photograph), picture())
    assert photograph.notes == ()


def test_the_range_is_minus_one_to_one(tmp_path):
    array = picture()
    array[0, 0], array[0, 1] = 0, 255
    pixels = load_photograph(save(tmp_path, array), 64).pixels
    assert pixels.min() == -1
    assert pixels.max() == 1


def test_grey_becomes_rgb(tmp_path):
    photograph = load_photograph(save(tmp_path, picture()[..., 0]), 64)
    assert np.array_equal(as_uint8(photograph), np.repeat(picture()[..., :1], 3, axis=2))


def test_transparency_is_put_on_white(tmp_path):
    rgba = np.dstack([picture(), np.full((64, 64), 255, np.uint8)])
    rgba[:32, :, 3] = 0
    result = as_uint8(load_photograph(save(tmp_path, rgba), 64))
    assert (result[:32] == 255).all()
    assert np.array_equal(result[32:], picture()[32:])


def test_grey_with_transparency_is_put_on_white(tmp_path):
    grey_alpha = np.zeros((64, 64, 2), np.uint8)
    assert (as_uint8(load_photograph(save(tmp_path, grey_alpha), 64)) == 255).all()


def test_a_palette_with_transparency_is_put_on_white(tmp_path):
    path = tmp_path / "face.png"
    Image.new("P", (64, 64), 0).save(path, transparency=0)
    assert (as_uint8(load_photograph(path, 64)) == 255).all()


def test_sixteen_bits_become_eight(tmp_path):
    grey = picture()[..., 0]
    photograph = load_photograph(save(tmp_path, grey.astype(np.uint16) * 257), 64)
    assert np.array_equal(as_uint8(photograph)[..., 0], grey)


def test_more_than_sixteen_bits_is_refused(tmp_path):
    path = save(tmp_path, picture()[..., 0].astype(np.int32) * 70000, "face.tiff")
    with pytest.raises(UserError, match="more than 16 bits"):
        load_photograph(path, 64)


def test_floating_point_pixels_are_refused(tmp_path):
    path = save(tmp_path, picture()[..., 0].astype(np.float32), "face.tiff")
    with pytest.raises(UserError, match="floating-point"):
        load_photograph(path, 64)


def test_cmyk_is_converted(tmp_path):
    path = tmp_path / "face.jpg"
    Image.fromarray(picture()).convert("CMYK").save(path, quality=95)
    assert np.abs(as_uint8(load_photograph(path, 64)).astype(int) - picture()).mean() < 8


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
    photograph = load_photograph(save(tmp_path, stored, exif=exif), 64)
    assert np.array_equal(as_uint8(photograph), picture())
    assert bool(photograph.notes) == (orientation != 1)


@pytest.mark.parametrize(("width", "height"), [(96, 64), (64, 96)])
def test_the_centre_square_is_cut_out_with_a_note(tmp_path, width, height):
    array = picture(width, height)
    photograph = load_photograph(save(tmp_path, array), 64)
    left, top = (width - 64) // 2, (height - 64) // 2
    assert np.array_equal(as_uint8(photograph), array[top : top + 64, left : left + 64])
    assert f"centre 64 x 64 of {width} x {height}" in photograph.notes[0]


def test_a_large_image_is_scaled_down_and_a_small_one_up_with_a_note(tmp_path):
    large = load_photograph(save(tmp_path, picture(512, 512)), 64)
    assert np.abs(as_uint8(large).astype(int) - picture()).max() <= 4
    assert large.notes == ()
    small = load_photograph(save(tmp_path, picture(16, 16)), 64)
    assert small.pixels.shape == (1, 3, 64, 64)
    assert "enlarged from 16 to 64" in small.notes[0]
    assert small.pixels.abs().max() <= 1


def test_a_single_pixel_is_still_an_image(tmp_path):
    photograph = load_photograph(save(tmp_path, np.full((1, 1, 3), 255, np.uint8)), 64)
    assert (photograph.pixels == 1).all()


@pytest.mark.parametrize("name", ["face.png", "face.jpg"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, name, kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path, noise, name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(UserError, match="cannot be read, it may be truncated"):
        load_photograph(path, 64)


def test_damaged_bytes_are_refused(tmp_path):
    path = save(tmp_path, picture())
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(UserError, match="truncated or damaged"):
        load_photograph(path, 64)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"face\.png"):
        load_photograph(path, 64)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such image"):
        load_photograph(tmp_path / "none.png", 64)
    with pytest.raises(UserError, match="is a folder"):
        load_photograph(tmp_path, 64)


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path):
    """A PNG header that claims 30,000 x 30,000 pixels and holds none of them."""
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, format="PNG")
    header = bytearray(stream.getvalue())
    header[16:24] = (30000).to_bytes(4, "big") * 2
    path = tmp_path / "bomb.png"
    import zlib

    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    path.write_bytes(header)
    with pytest.raises(UserError, match="more than 80 million pixels"):
        load_photograph(path, 64)


def test_the_own_limit_is_the_one_that_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(UserError, match="million pixels"):
        load_photograph(save(tmp_path, picture()), 64)


def test_saving_round_trips_and_makes_the_folder(tmp_path):
    path = save_png(picture(), tmp_path / "new" / "out.png")
    assert np.array_equal(np.asarray(Image.open(path)), picture())
    assert [p.name for p in path.parent.iterdir()] == ["out.png"]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"must end in \.png"):
        save_png(picture(), tmp_path / "out.jpg")


def test_a_failed_write_keeps_the_old_picture_and_leaves_no_litter(tmp_path, monkeypatch):
    path = save_png(picture(), tmp_path / "out.png")
    before = path.read_bytes()

    def full_disk(self, path, format):
        path.write_bytes(b"half")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(UserError, match="No space left"):
        save_png(picture(8, 8), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]
