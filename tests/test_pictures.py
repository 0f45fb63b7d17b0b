"""Files of results: what they hold, and whether they are known again."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from eggan.errors import UserError
from eggan.pictures import STILL, check_result, is_own_result, save_result, write_marked

PICTURE = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
MODES = ("RGB", "RGBA", "L", "LA", "CMYK", "I;16")


def in_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257)
    image = Image.fromarray(PICTURE).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(PICTURE[..., 1]))
    return image


@pytest.mark.parametrize("ending", STILL)
@pytest.mark.parametrize("mode", MODES)
def test_a_result_holds_its_picture_and_is_known_until_it_is_changed(tmp_path, mode, ending):
    path, image = tmp_path / f"result{ending}", in_mode(mode)
    note = save_result(image, PICTURE, path)
    with Image.open(path) as written:
        written.load()
    assert written.size == (30, 21)
    if note is None and ending not in (".jpg", ".jpeg"):
        assert written.mode == mode
        assert np.array_equal(np.asarray(written), np.asarray(image))
    assert is_own_result(path)
    check_result(path, STILL, [], force=False)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not is_own_result(path)
    with pytest.raises(UserError, match="add --force"):
        check_result(path, STILL, [], force=False)
    check_result(path, STILL, [], force=True)


@pytest.mark.parametrize("ending", [".jpg", ".webp", ".tif", ".gif", ".mp4"])
def test_what_others_wrote_is_no_result(tmp_path, ending):
    path = tmp_path / f"theirs{ending}"
    for content in (b"", b"short", b"x" * 1000):
        path.write_bytes(content)
        assert not is_own_result(path)
    assert not is_own_result(tmp_path / f"missing{ending}")


@pytest.mark.parametrize("ending", STILL)
def test_exif_and_colour_profile_are_written(tmp_path, ending):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(ExifTags.IFD.Exif)[0x9003] = "2026:01:02 03:04:05"
    path = tmp_path / f"a{ending}"
    save_result(Image.fromarray(PICTURE), PICTURE, path, exif.tobytes(), b"a profile")
    with Image.open(path) as written:
        assert written.getexif()[0x010F] == "Maker"
        assert written.getexif().get_ifd(ExifTags.IFD.Exif)[0x9003] == "2026:01:02 03:04:05"
        assert written.info["icc_profile"] == b"a profile"


def test_a_jpeg_of_a_transparent_picture_is_on_white(tmp_path):
    image = Image.fromarray(PICTURE).convert("RGBA")
    image.putalpha(0)
    note = save_result(image, np.full_like(PICTURE, 255), tmp_path / "a.jpg")
    assert note == "on white: JPEG knows no transparency"
    assert np.asarray(Image.open(tmp_path / "a.jpg")).min() >= 254


def test_a_profile_of_inks_is_not_given_to_other_colours(tmp_path):
    save_result(in_mode("CMYK"), PICTURE, tmp_path / "a.png", icc=b"inks")
    assert "icc_profile" not in Image.open(tmp_path / "a.png").info
    save_result(in_mode("CMYK"), PICTURE, tmp_path / "a.tif", icc=b"inks")
    assert Image.open(tmp_path / "a.tif").info["icc_profile"] == b"inks"


@pytest.mark.parametrize(
    ("mode", "ending", "kept"), [("LA", ".jpg", True), ("I;16", ".jpg", True), ("LA", ".webp", False)]
)
def test_a_profile_of_grey_stays_with_grey(tmp_path, mode, ending, kept):
    save_result(in_mode(mode), PICTURE, tmp_path / f"a{ending}", icc=b"grey")
    assert Image.open(tmp_path / f"a{ending}").info.get("icc_profile") == (b"grey" if kept else None)


def test_a_marked_gif_moves_as_before(tmp_path):
    frames = [Image.fromarray(PICTURE + k).convert("P") for k in range(3)]
    path = tmp_path / "a.gif"
    write_marked(path, "GIF", lambda staged: frames[0].save(staged, save_all=True, append_images=frames[1:]))
    assert is_own_result(path)
    with Image.open(path) as image:
        assert image.n_frames == 3


def test_a_name_must_say_how_it_is_written(tmp_path):
    with pytest.raises(UserError, match=r"must be one of .png, .jpg, .jpeg, .webp, .tif, .tiff"):
        check_result(tmp_path / "a.bmp", STILL, [], force=False)


def test_a_picture_that_a_format_cannot_hold_is_refused_in_one_line(tmp_path):
    wide = np.zeros((1, 16_384, 3), np.uint8)
    with pytest.raises(UserError, match="at most 16383 pixels a side: write PNG or TIFF"):
        save_result(Image.fromarray(wide), wide, tmp_path / "a.webp")


def test_an_exif_block_that_jpeg_cannot_hold_is_left_out_with_a_note(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    note = save_result(Image.fromarray(PICTURE), PICTURE, tmp_path / "a.jpg", exif.tobytes())
    assert note == "without its Exif block: JPEG holds 65533 bytes of it"
    assert not Image.open(tmp_path / "a.jpg").getexif()
