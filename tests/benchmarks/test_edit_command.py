"""`eggan edit` and `eggan interpolate` with a tiny training and with the shipped weights, in-process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.suites.methods import installed_method
from eggan.aus import AU_COUNT
from eggan.data.synfacs.nuisance import draw_nuisance
from eggan.data.synfacs.picture import render
from eggan.data.synfacs.plan import person
from eggan.edit import editing
from eggan.edit.frames import GAP
from eggan.errors import UserError
from eggan.shipped.weights import read_card


@pytest.fixture
def workplace(trained, monkeypatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def test_edit_writes_a_picture_that_depends_on_the_target(workplace, eggan, tmp_path):
    pictures = []
    for value in (0, 5):
        out = tmp_path / f"{value}.png"
        status, printed, err = eggan(
            "edit", "face.png", "--checkpoint", "m", "--au", f"12={value}", "-o", out
        )
        assert (status, err) == (0, "")
        assert f"wrote {out}" in printed
        pictures.append(np.asarray(Image.open(out)))
    assert pictures[0].shape == (64, 64, 3)
    assert (pictures[0] != pictures[1]).any()


def test_a_training_is_named_and_looked_up_in_the_folder_of_results(
    workplace, eggan, tmp_path, monkeypatch, trained
):
    (tmp_path / "scratch" / "single").mkdir(parents=True)
    (tmp_path / "scratch" / "single" / "first").symlink_to(trained / "m")
    monkeypatch.chdir(tmp_path)
    words = (trained / "face.png", "--au", "12=4", "--neutral", "--checkpoint", "first")
    assert eggan("edit", *words, "--runs", "scratch")[0] == 0
    status, _, err = eggan("edit", *words)
    assert (status, "first is not a checkpoint" in err) == (2, True)
    (tmp_path / "first").mkdir()  # what is there as it is named comes first
    status, _, err = eggan("edit", *words, "--runs", "scratch")
    assert (status, "first is not a checkpoint" in err) == (2, True)


def test_interpolate_writes_the_source_and_the_frames(workplace, eggan, tmp_path):
    out = tmp_path / "strip.png"
    options = ("--au", "12=5", "--steps", 4, "--neutral", "-o", out)
    status, _, err = eggan("interpolate", "face.png", "--checkpoint", "m", *options)
    assert (status, err) == (0, "")
    picture = np.asarray(Image.open(out))
    assert picture.shape == (64, 5 * 64 + 4 * GAP, 3)
    assert np.array_equal(picture[:, :64], np.asarray(Image.open("face.png")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("edit", "face.png"), "at least one --au"),
        (("edit", "face.png", "--au", "12=6"), "AU12 = 6 is out of range"),
        (("edit", "face.png", "--au", "3=1"), "unknown AU 3"),
        (("edit", "face.png", "--au", "12=1", "--au", "12=2"), "AU12 is given twice"),
        (("edit", "face.png", "--au", "12=1", "--source-au", "99=1"), "unknown AU 99"),
        (("edit", "none.png", "--au", "12=1"), "no such image: none.png"),
        (("edit", "face.png", "--au", "12=1", "-o", "out.gif"), "must be one of .png, .jpg"),
        (("edit", "face.png", "--au", "12=1", "--checkpoint", "tiny"), "tiny is not a checkpoint"),
        (("interpolate", "face.png", "--au", "12=1", "--steps", "1"), "at least 2 frames"),
    ],
)
def test_edit_refuses_in_one_line(workplace, eggan, arguments, message):
    if "--checkpoint" not in arguments:
        arguments += ("--checkpoint", "m")
    status, _, err = eggan(*arguments)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [("edit", "none.png"), ("edit", "face.png", "--like", "none.png")])
def test_a_file_that_is_not_there_is_named_before_torch_is_loaded(workplace, words):
    code = "import sys; from eggan.cli import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    words = (*words, *(() if "--like" in words else ("--au", "12=4")))
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("2 False\n", "eggan: no such image: none.png\n")


def test_a_name_that_stands_for_no_weights_says_which_there_are(workplace, eggan):
    (workplace / "runs" / "single" / "first").mkdir(parents=True, exist_ok=True)
    for given, meant in (("egan_64", "eggan_64"), ("frist", "first")):
        status, _, err = eggan("edit", "face.png", "--au", "12=4", "--neutral", "--checkpoint", given)
        assert (status, err.count("\n")) == (2, 1)
        assert f"{given} is not a checkpoint: did you mean {meant}?" in err
        assert "eggan_w_128" in err


class TestCheckpoints:
    @pytest.fixture
    def copy(self, trained, tmp_path) -> Path:
        for name in ("config.json", "weights.safetensors"):
            (tmp_path / "c").mkdir(exist_ok=True)
            shutil.copy(trained / "m" / name, tmp_path / "c" / name)
        return tmp_path / "c"

    def change(self, folder, **changes):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def test_an_intact_copy_loads(self, copy):
        assert editing.load_model(copy, installed_method, "cpu").image_size == 64

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"format_version": 99}, "checkpoint version 99, this software reads"),
            ({"method_version": 99}, "is of eggan version 99"),
            ({"method": "oracle"}, "which has no weights"),
            ({"method": "lost"}, "unknown method 'lost'"),
            ({"config": {"latent_dims": 3}}, "unknown key 'latent_dims'"),
            ({"config": {"latent_dim": 8}}, "do not fit this config"),
        ],
    )
    def test_a_foreign_card_is_refused(self, copy, changes, message):
        self.change(copy, **changes)
        with pytest.raises(UserError, match=message):
            editing.load_model(copy, installed_method, "cpu")

    @pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
    @pytest.mark.parametrize("kept", [0, 0.5])
    def test_a_truncated_file_is_refused(self, copy, name, kept):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(UserError, match=f"{name} is corrupted"):
            editing.load_model(copy, installed_method, "cpu")


def test_shipped_weights_are_a_checkpoint_by_name(eggan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    face = render(person(3, "twin", 1), np.zeros(AU_COUNT), draw_nuisance("single", 0), "frontal", 64)
    Image.fromarray(face).save("face.png")
    words = ("edit", "face.png", "--neutral", "--au", "12=5", "--checkpoint", "eggan_64", "-o", "out.png")
    status, out, err = eggan(*words)
    assert (status, err) == (0, "")
    assert "eggan of eggan_64, trained on synfacs-crowd (rendered faces), writes 64 x 64 pixels" in out
    assert np.asarray(Image.open("out.png")).shape == (64, 64, 3)


def test_the_shipped_eggan_w_edits_when_no_checkpoint_is_named(workplace, eggan, tmp_path):
    rendered = render(person(3, "twin", 1), np.zeros(AU_COUNT), draw_nuisance("single", 0), "frontal", 256)
    Image.fromarray(rendered[:, :250]).save(tmp_path / "large.png")
    words = ("edit", tmp_path / "large.png", "--neutral", "--runs", tmp_path / "runs", "--au", "12=5")
    status, out, err = eggan(*words, "--au", "25=4", "-o", tmp_path / "out.png")
    assert (status, err) == (0, "")
    side = read_card()["image_size"]
    reads = f"trained on synfacs-crowd (rendered faces), reads {side} x {side}"
    assert f"eggan-w of the shipped weights, {reads}" in out
    edited = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    change = np.abs(edited - rendered[:, :250]).max(2)
    assert change.shape == (256, 250)
    assert change[150:].max() > 40
    assert (change > 5).mean() < 0.3  # background, hair and clothes keep their own pixels


def test_a_checkpoint_that_is_named_is_used_and_named(workplace, eggan, tmp_path):
    status, out, _ = eggan(
        "edit", "face.png", "--checkpoint", "m", "--au", "12=5", "-o", tmp_path / "out.png"
    )
    assert (status, "eggan of m, trained on tiny" in out) == (0, True)


def test_the_shipped_weights_interpolate_at_the_photographs_own_size(workplace, eggan, tmp_path):
    rendered = render(person(3, "twin", 1), np.zeros(AU_COUNT), draw_nuisance("single", 0), "frontal", 128)
    Image.fromarray(rendered).save(tmp_path / "large.png")
    words = ("interpolate", tmp_path / "large.png", "--neutral", "--au", "12=5", "--steps", 3)
    assert eggan(*words, "-o", tmp_path / "strip.png")[0] == 0
    strip = np.asarray(Image.open(tmp_path / "strip.png")).astype(int)
    assert strip.shape == (128, 4 * 128 + 3 * GAP, 3)
    frames = [strip[:, k * (128 + GAP) :][:, :128] for k in range(4)]
    assert np.array_equal(frames[0], rendered)
    moved = [np.abs(frame - frames[0]).mean() for frame in frames[1:]]
    assert moved[0] < moved[1] < moved[2]
