"""`eggan edit` and `eggan interpolate` on photographs: which face, which target, what the file then holds."""

import dataclasses
import functools

import av
import numpy as np
import pytest
import torch
from PIL import Image

from baselines import stargan
from eggan.aus import AU_COUNT, AU_NUMBERS, au_index
from eggan.checkpoint import model_card, save_checkpoint
from eggan.edit import EXAMPLE_PHOTOGRAPH, photo_faces
from eggan.edit.frames import GAP, Frames, fitting_profile, not_kept, write_animation
from eggan.faces.face import Face
from eggan.faces.find import find_faces

SMILE = ("--au", "12=5", "--au", "25=4", "--keep")
SHOWN = np.zeros(AU_COUNT)
SHOWN[[4, 8, 14]] = np.nan, 3.5, 3.0
pytestmark = pytest.mark.usefixtures("shipped_read_once")


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with `portrait.png`, whose face shows `SHOWN`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(photo_faces, "shown_by", lambda *_: SHOWN.copy())
    portrait().save("portrait.png")
    return tmp_path


SIDE = 256


@functools.cache
def portrait() -> Image.Image:
    return Image.open(EXAMPLE_PHOTOGRAPH).convert("RGB").crop((90, 0, 90 + SIDE, SIDE))


def pair() -> Image.Image:
    """Two faces, the second half as large, on grey."""
    picture = Image.new("RGB", (400, SIDE), (128, 128, 128))
    picture.paste(portrait(), (0, 0))
    picture.paste(portrait().resize((SIDE // 2, SIDE // 2)), (265, 100))
    return picture


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def changed(path, other, levels=0) -> tuple[int, int, int, int]:
    """The box of what differs by more than some grey levels: left, top, right, bottom."""
    rows, columns = np.nonzero(np.abs(pixels(path) - pixels(other)).max(axis=2) > levels)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_the_face_is_found_and_the_rest_of_the_photograph_stays_bit_for_bit(workplace, eggan):
    status, out, err = eggan("edit", "portrait.png", *SMILE, "-o", "smile.png")
    assert (status, err) == (0, "")
    assert "wrote smile.png" in out
    assert "note: landmarks do not show AU 6: they stay as they are unless --au names them" in out
    assert Image.open("smile.png").size == (SIDE, SIDE)
    face = find_faces(np.asarray(portrait()))[0]
    x, y, width, height = face.box
    left, top, right, bottom = changed("portrait.png", "smile.png")
    assert x - width / 2 < left < right < x + 1.5 * width
    assert y - height / 2 < top < bottom < y + 1.5 * height
    _, top, _, bottom = changed("portrait.png", "smile.png", levels=1)  # a smile leaves hair alone
    assert y - 5 < top < bottom < y + 1.5 * height
    mouth = (slice(int(y + 0.6 * height), int(y + height)), slice(int(x), int(x + width)))
    assert np.abs(pixels("smile.png") - pixels("portrait.png"))[mouth].max() > 40


def test_what_the_photograph_shows_already_changes_nothing(workplace, eggan):
    assert eggan("edit", "portrait.png", "--au", "12=3.5", "--keep", "-o", "same.png")[0] == 0
    assert np.array_equal(pixels("same.png"), pixels("portrait.png"))


class TestFaces:
    @pytest.fixture(autouse=True)
    def two(self, workplace):
        pair().save("pair.png")

    def test_the_largest_is_edited_and_that_is_printed(self, eggan):
        status, out, _ = eggan("edit", "pair.png", *SMILE, "-o", "out.png")
        assert status == 0
        assert "pair.png shows 2 faces: the largest is taken (--face N, --all-faces)" in out
        assert changed("pair.png", "out.png")[2] < 256

    def test_one_is_named_by_its_number(self, eggan):
        status, _, err = eggan("edit", "pair.png", *SMILE, "--face", 2, "-o", "out.png")
        assert status == 0
        assert "warning: face 2 of pair.png is small, its eyes 21 pixels apart" in err
        assert changed("pair.png", "out.png")[0] > 265

    def test_all_are_edited(self, eggan):
        status, out, _ = eggan("edit", "pair.png", *SMILE, "--all-faces", "-o", "out.png")
        assert status == 0
        assert "pair.png shows 2 faces: all are edited" in out
        for number, name in ((1, "one.png"), (2, "two.png")):
            assert eggan("edit", "pair.png", *SMILE, "--face", number, "-o", name)[0] == 0
        both = pixels("one.png") + pixels("two.png") - pixels("pair.png")
        assert np.array_equal(pixels("out.png"), both)

    def test_of_another_photograph_the_largest_is_copied_and_no_option_named(self, eggan):
        status, out, _ = eggan("edit", "portrait.png", "--like", "pair.png", "-o", "out.png")
        assert status == 0
        assert "note: pair.png shows 2 faces: the largest is copied (cut another one out to copy it)" in out
        assert "--face" not in out

    @pytest.mark.parametrize("number", [0, 3, -1])
    def test_a_number_that_no_face_has_is_refused(self, eggan, number):
        status, _, err = eggan("edit", "pair.png", *SMILE, "--face", number, "-o", "out.png")
        assert (status, err) == (
            2,
            f"eggan: --face {number}: pair.png shows 2 faces, numbered from the largest\n",
        )

    def test_nor_is_it_left_unread_on_a_picture_as_datasets_hold_them(self, eggan):
        portrait().resize((64, 64)).save("framed.png")
        status, _, err = eggan("edit", "framed.png", *SMILE, "--face", 0, "-o", "out.png")
        assert (status, "framed.png" in err, err.count("\n")) == (2, True, 1)


def test_a_photograph_without_a_face_is_refused(workplace, eggan):
    Image.new("RGB", (300, 200), (90, 120, 150)).save("sky.png")
    for words in (("sky.png",), ("portrait.png", "--like", "sky.png")):
        asked = ("--au", "12=4") if len(words) == 1 else ()
        status, _, err = eggan("edit", *words, *asked, "-o", "out.png")
        assert (status, err.count("\n")) == (2, 1)
        assert "no face was found in sky.png" in err
        assert ("--framed takes its centre square" in err) == (len(words) == 1)
    assert eggan("edit", "sky.png", "--framed", "--au", "12=4", "-o", "out.png")[0] == 0


def test_what_was_done_to_another_photograph_is_said(workplace, eggan):
    portrait().save("moving.webp", save_all=True, append_images=[portrait().rotate(9)], lossless=True)
    status, out, _ = eggan("edit", "portrait.png", "--like", "moving.webp", "-o", "out.png")
    assert status == 0
    assert "note: moving.webp was taken from the first of 2 frames" in out


def test_doubtful_faces_are_called_so():
    face = find_faces(np.asarray(portrait()))[0]
    assert photo_faces.doubts(face) == []
    turn = np.radians(50)
    landmarks = face.landmarks.copy()
    middle = landmarks.mean(axis=0)
    x, z = (landmarks - middle)[:, 0], (landmarks - middle)[:, 2]
    landmarks[:, 0], landmarks[:, 2] = (
        np.cos(turn) * x - np.sin(turn) * z,
        np.sin(turn) * x + np.cos(turn) * z,
    )
    doubts = photo_faces.doubts(Face(landmarks, 1.0, 1.0))
    assert any("degrees to the side" in doubt for doubt in doubts)


@pytest.mark.parametrize(
    "target",
    [
        ("--expression", "surprised"),
        ("--expression", "surprised", "--strength", "0.3"),
        ("--like", "other.png"),
    ],
)
def test_expressions_and_other_faces_are_targets(workplace, eggan, monkeypatch, target):
    portrait().resize((300, 300)).save("other.png")
    other = np.linspace(0, 5, AU_COUNT)
    monkeypatch.setattr(
        photo_faces, "shown_by", lambda face, picture, model: other if len(picture) == 300 else SHOWN.copy()
    )
    assert eggan("edit", "portrait.png", *target, "-o", "out.png")[0] == 0
    surprised = {1: 4, 2: 4, 5: 3.4, 25: 4, 26: 3.8}
    named = dict(zip(AU_NUMBERS, other, strict=True)) if "--like" in target else surprised
    words = [word for number, value in named.items() for word in ("--au", f"{number}={value}")]
    assert eggan("edit", "portrait.png", *words, "-o", "named.png")[0] == 0
    off = np.abs(pixels("out.png") - pixels("named.png")).max()
    assert off > 10 if "--strength" in target else off <= 1


def test_a_method_that_knows_expressions_is_enlarged_pasted_back_and_warned_of(workplace, eggan):
    config = dataclasses.replace(stargan.ENTRY.presets["cpu"], width=4, critic_width=2, residual_blocks=1)
    method = stargan.StarGAN(config, 0, torch.device("cpu"))
    card = model_card("stargan", stargan.ENTRY.version, config, 64)
    save_checkpoint(workplace / "stargan", card, method.inference_weights())
    words = ("--checkpoint", "stargan", "--expression", "happy", "-o", "out.png")
    status, _, err = eggan("edit", "portrait.png", *words)
    assert status == 0
    assert err.count("\n") == 1
    assert "the face fills 144 x 144 pixels; stargan, writes 64 x 64 pixels" in err
    left, top, right, bottom = changed("portrait.png", "out.png")
    assert right - left <= 152
    assert bottom - top <= 152


def test_a_method_that_learnt_renders_and_draws_a_face_anew_is_warned_of(workplace, eggan):
    words = ("--checkpoint", "eggan_64", "--au", "12=3", "-o", "out.png")
    status, _, err = eggan("edit", "portrait.png", *words)
    assert (status, err.count("\n")) == (0, 1)
    assert "trained on synfacs-crowd (rendered faces), writes 64 x 64 pixels: it draws the face anew" in err
    assert "expect another person's face" in err


def with_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    return exif


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_a_turned_photograph_is_written_upright_and_keeps_its_exif_block(workplace, eggan, ending):
    lying = portrait().transpose(Image.Transpose.ROTATE_90)
    lying.save("lying.jpg", exif=with_exif(6), icc_profile=b"a profile", quality=95)
    status, out, _ = eggan("edit", "lying.jpg", *SMILE, "-o", f"out.{ending}")
    assert status == 0
    assert "note: lying.jpg was turned upright" in out
    with Image.open(f"out.{ending}") as written:
        assert written.getexif().get(0x0112, 1) == 1
        assert written.getexif()[0x010F] == "Maker"
        assert written.info["icc_profile"] == b"a profile"
        upright = np.asarray(written.convert("RGB")).astype(int)
    assert np.abs(upright - np.asarray(portrait()))[:30].mean() < 3


MODES = {
    "RGB": ("portrait.png", "RGB"),
    "RGBA": ("portrait.png", "RGBA"),
    "L": ("portrait.png", "L"),
    "LA": ("portrait.png", "LA"),
    "CMYK": ("portrait.tif", "CMYK"),
    "I;16": ("portrait.png", "I;16"),
    "P": ("portrait.png", "RGB"),
    "1": ("portrait.png", "L"),
}


@pytest.mark.parametrize("mode", MODES)
def test_the_result_has_the_photographs_mode(workplace, eggan, mode):
    name, written = MODES[mode]
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(portrait().convert("L")).astype(np.uint16) * 257)
    else:
        picture = portrait().convert(mode)
    if mode in ("RGBA", "LA"):
        alpha = np.full((SIDE, SIDE), 255, np.uint8)
        alpha[:, :40] = 100
        picture.putalpha(Image.fromarray(alpha))
    picture.save(name)
    result = f"out{name[-4:]}"
    assert eggan("edit", name, *SMILE, "-o", result)[0] == 0
    after, before = Image.open(result), Image.open(name)
    assert (after.mode, after.size) == (written, (SIDE, SIDE))
    if mode == written:
        difference = np.asarray(after).astype(int) - np.asarray(before)
        assert not difference[215:].any()
        assert np.abs(difference[100:180]).max() > 30
        if mode in ("RGBA", "LA"):
            assert not difference[..., -1].any()


class TestAnimations:
    def test_a_gif_goes_to_the_edit_and_back(self, workplace, eggan):
        words = ("interpolate", "portrait.png", "--expression", "surprised", "--steps", 4, "-o", "out.gif")
        status, out, err = eggan(*words)
        assert (status, err) == (0, "")
        assert "wrote out.gif: 4 frames to the edit, and back" in out
        with Image.open("out.gif") as image:
            assert (image.size, image.n_frames, image.info["loop"]) == ((SIDE, SIDE), 6, 0)
            frames = []
            for k in range(6):
                image.seek(k)
                frames.append(np.asarray(image.convert("RGB")).astype(int))
                assert image.info["duration"] == (600 if k in (0, 3) else 40)
        assert np.abs(frames[0] - pixels("portrait.png")).mean() < 8  # 256 colours
        moved = [np.abs(frame - frames[0]).mean() for frame in frames]
        assert 0 == moved[0] < moved[1] < moved[2] < moved[3]
        assert moved[4] == moved[2]
        assert not any((frame - frames[0])[215:].any() for frame in frames)
        assert eggan(*words)[0] == 0  # the result is known again

    def test_a_webp_moves_alike(self, workplace, eggan):
        words = ("interpolate", "portrait.png", "--au", "4=5", "--steps", 3, "-o", "out.webp")
        assert eggan(*words)[0] == 0
        with Image.open("out.webp") as image:
            assert (image.size, image.n_frames) == ((SIDE, SIDE), 4)
            assert np.abs(np.asarray(image.convert("RGB")) - pixels("portrait.png")).mean() < 4
        assert eggan(*words)[0] == 0

    def test_a_video_rests_at_both_ends(self, workplace, eggan):
        portrait().crop((0, 0, 255, 241)).save("odd.png")
        words = ("interpolate", "odd.png", "--au", "4=5", "--steps", 3, "-o", "out.mp4")
        assert eggan(*words)[0] == 0
        with av.open("out.mp4") as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert len(frames) == 15 + 1 + 15 + 1
        assert frames[0].shape == (242, 256, 3)
        assert np.abs(frames[0][:241, :255] - pixels("odd.png")).mean() < 4
        assert eggan(*words)[0] == 0

    def test_the_colours_of_a_video_are_those_it_says(self, tmp_path):
        colours = (200, 30, 40), (30, 180, 60)
        frame = np.repeat(np.array([colours], np.uint8), 48, axis=1).repeat(64, axis=0)
        write_animation(Frames(frame, [[], []]), tmp_path / "a.mp4", "MP4")
        with av.open(tmp_path / "a.mp4") as video:
            stream = video.streams.video[0].codec_context
            tags = (stream.colorspace, stream.color_primaries, stream.color_trc, stream.color_range)
            assert tags == (1, 1, 1, 1)
            decoded = (
                next(video.decode(video=0)).reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
            )
        for column, colour in ((24, colours[0]), (72, colours[1])):
            assert np.abs(decoded[32, column].astype(int) - colour).max() <= 4

    @pytest.mark.parametrize("ending", ["png", "webp", "gif", "mp4"])
    def test_frames_keep_a_colour_profile_or_say_so(self, workplace, eggan, ending):
        portrait().save("toned.png", icc_profile=b"a profile")
        words = ("interpolate", "toned.png", "--au", "4=5", "--steps", 2, "-o", f"out.{ending}")
        status, out, _ = eggan(*words)
        assert status == 0
        note = "note: the frames are without the photograph's colour profile: "
        if ending in ("gif", "mp4"):
            assert f"{note}{ending.upper()} holds none" in out
        else:
            assert note not in out
            assert Image.open(f"out.{ending}").info["icc_profile"] == b"a profile"

    def test_what_frames_cannot_hold_is_said(self):
        assert not_kept("RGBA", b"rgb", None) == ["on white: they hold no transparency"]
        assert fitting_profile("RGBA", b"rgb", None) == b"rgb"
        for mode in ("L", "CMYK"):
            assert fitting_profile(mode, b"other", None) == b""
            assert f"it is one of {mode}, they are RGB" in not_kept(mode, b"other", "WEBP")[-1]
        assert not_kept("RGB", b"", "GIF") == []

    def test_a_missing_package_is_named(self, workplace, eggan, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
        status, _, err = eggan("interpolate", "portrait.png", "--au", "4=5", "-o", "out.mp4")
        assert (status, "pip install 'eggan[video]'" in err) == (2, True)

    def test_more_pixels_than_fit_are_refused_before_any_work(self, workplace, eggan):
        words = ("interpolate", "portrait.png", "--au", "4=5", "--steps", 2000)
        for name in ("out.png", "out.gif"):
            status, _, err = eggan(*words, "-o", name)
            assert (status, err.count("\n")) == (2, 1)
            assert "lower --steps, or write .mp4" in err


def test_a_strip_of_a_photograph_has_its_size(workplace, eggan):
    words = ("interpolate", "portrait.png", "--au", "4=5", "--steps", 3, "-o", "strip.png")
    assert eggan(*words)[0] == 0
    strip = pixels("strip.png")
    assert strip.shape == (SIDE, 4 * (SIDE + GAP) - GAP, 3)
    assert np.array_equal(strip[:, :SIDE], pixels("portrait.png"))
    assert np.array_equal(strip[:, SIDE + GAP : 2 * SIDE + GAP], pixels("portrait.png"))  # as the face is


def test_what_a_portrait_shows_is_read_off_its_landmarks(tmp_path, eggan, monkeypatch):
    """The real reader: a smile that is kept, and copied from the picture itself."""
    monkeypatch.chdir(tmp_path)
    portrait().save("portrait.png")
    portrait().save("copy.png")
    assert eggan("edit", "portrait.png", "--like", "copy.png", "-o", "same.png")[0] == 0
    assert np.array_equal(pixels("same.png"), pixels("portrait.png"))
    face = find_faces(np.asarray(portrait()))[0]
    shown = photo_faces.shown_by(face, np.asarray(portrait()), None)
    assert np.nan_to_num(shown)[au_index(12)] > 2
    assert np.isnan(shown).any()
    assert photo_faces.unread_aus(shown) != ""


class TestSeveral:
    def test_each_is_edited_as_it_would_be_alone_and_by_one_method(self, workplace, eggan):
        (workplace / "p" / "anna").mkdir(parents=True)
        portrait().save("p/anna/1.png")
        pair().save("p/2.png")
        status, out, err = eggan("edit", "p", "portrait.png", *SMILE, "-o", "edits")
        assert (status, err) == (0, "")
        assert out.count("of the shipped weights") == out.count("landmarks do not show AU 6") == 1
        assert "edited 3 of 3 photographs into edits" in out
        for name, photograph in (("anna/1.png", "portrait.png"), ("2.png", "p/2.png")):
            assert eggan("edit", photograph, *SMILE, "-o", "alone.png")[0] == 0
            assert np.array_equal(pixels(f"edits/{name}"), pixels("alone.png"))
        assert np.array_equal(pixels("edits/portrait.png"), pixels("edits/anna/1.png"))
        (status, _, _), before = eggan("edit", "p", *SMILE), pixels("edits/2.png")
        assert status == 0  # into `edits`, over what is there
        assert np.array_equal(pixels("edits/2.png"), before)

    def test_those_that_cannot_be_edited_are_listed_and_the_others_written(self, workplace, eggan):
        Image.new("RGB", (80, 80), "grey").save("grey.png")
        (workplace / "cut.png").write_bytes((workplace / "portrait.png").read_bytes()[:900])
        status, out, err = eggan("edit", "cut.png", "grey.png", "portrait.png", *SMILE)
        assert status == 2
        assert "edited 1 of 3 photographs into edits" in out
        assert [path.name for path in (workplace / "edits").iterdir()] == ["portrait.png"]
        cut, grey, last = err.splitlines()
        assert cut.startswith("left out: cut.png cannot be read, it may be truncated")
        assert grey.startswith("left out: no face was found in grey.png")
        assert last == "eggan: 2 of 3 photographs could not be edited, as listed above"

    def test_nothing_is_edited_where_a_file_of_the_users_stands_in_the_way(self, workplace, eggan):
        portrait().save("b.png")
        (workplace / "edits").mkdir()
        (workplace / "edits" / "portrait.png").write_bytes(b"mine")
        status, _, err = eggan("edit", "b.png", "portrait.png", *SMILE)
        assert (status, err.count("\n")) == (2, 1)
        assert "edits/portrait.png exists and is no earlier result" in err
        assert not (workplace / "edits" / "b.png").exists()
        assert (workplace / "edits" / "portrait.png").read_bytes() == b"mine"

    def test_one_keeps_its_name_in_a_folder_that_is_there(self, workplace, eggan):
        (workplace / "edits").mkdir()
        status, _, err = eggan("edit", "portrait.png", *SMILE, "-o", "edits")
        assert (status, err) == (0, "")
        assert (workplace / "edits" / "portrait.png").is_file()
        (workplace / "cut.png").write_bytes((workplace / "portrait.png").read_bytes()[:900])
        status, _, err = eggan("edit", "cut.png", *SMILE, "-o", "edits")
        assert (status, err.count("\n"), "cut.png cannot be read" in err) == (2, 1, True)
