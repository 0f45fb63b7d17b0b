"""`eggan edit` and `interpolate` with methods that read AUs, an expression, or a reference image."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from baselines import homointerpgan, stargan
from eggan.checkpoint import model_card, save_checkpoint
from eggan.edit import editing
from eggan.edit.edit_targets import Targets
from eggan.edit.frames import GAP
from eggan.errors import UserError

CPU = torch.device("cpu")
TINY = {
    "stargan": (stargan.ENTRY, stargan.StarGAN, {"width": 4, "critic_width": 2, "residual_blocks": 1}),
    "homointerpgan": (homointerpgan.ENTRY, homointerpgan.HomoInterpGAN, {"width": 1 / 32}),
}


@pytest.fixture
def workplace(trained, tmp_path, monkeypatch):
    """A folder with `face.png`, `other.png` and a checkpoint per method; EGGAN's is `eggan`."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained / "face.png", "face.png")
    pixels = np.asarray(Image.open("face.png"))
    Image.fromarray(255 - pixels).save("other.png")
    shutil.copytree(trained / "m", "eggan")
    for name, (entry, kind, changes) in TINY.items():
        config = dataclasses.replace(entry.presets["cpu"], **changes)
        method = kind(config, 0, CPU)
        weights = {key: bold(key, value) for key, value in method.inference_weights().items()}
        save_checkpoint(tmp_path / name, model_card(name, entry.version, config, 64), weights)
    return tmp_path


def bold(key: str, value: torch.Tensor) -> torch.Tensor:
    """Untrained, these networks draw one grey, whatever the target."""
    return value * 30 if "interpolator" in key and key.endswith("weight") else value


def pixels_of(path):
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.parametrize(
    ("method", "one", "other"),
    [
        ("stargan", ("--expression", "happy"), ("--expression", "angry")),
        ("homointerpgan", ("--reference", "other.png"), ("--reference", "face.png")),
        ("eggan", ("--au", "12=5"), ("--au", "1=5")),
    ],
)
def test_each_method_edits_by_what_it_reads(workplace, eggan, method, one, other):
    for name, target in (("a", one), ("b", other)):
        status, out, err = eggan("edit", "face.png", "--checkpoint", method, *target, "-o", f"{name}.png")
        assert (status, err) == (0, "")
        assert "writes 64 x 64 pixels" in out
    assert pixels_of("a.png").shape == (64, 64, 3)
    assert (pixels_of("a.png") != pixels_of("b.png")).any()


@pytest.mark.parametrize(
    ("method", "target"),
    [("stargan", ("--expression", "happy")), ("homointerpgan", ("--reference", "other.png"))],
)
def test_the_last_frame_of_a_strip_is_the_edit(workplace, eggan, method, target):
    words = ("face.png", "--checkpoint", method, *target)
    assert eggan("edit", *words, "-o", "edit.png")[0] == 0
    status, _, err = eggan("interpolate", *words, "--steps", 3, "-o", "strip.png")
    assert (status, err) == (0, "")
    strip = pixels_of("strip.png")
    assert strip.shape == (64, 4 * 64 + 3 * GAP, 3)
    assert np.abs(strip[:, -64:] - pixels_of("edit.png")).max() <= 1
    first = strip[:, 64 + GAP : 2 * 64 + GAP]
    assert (first != strip[:, -64:]).any()


def test_the_first_frame_has_no_intensity_or_the_neutral_label(workplace, eggan):
    assert (
        eggan("edit", "face.png", "--checkpoint", "stargan", "--expression", "neutral", "-o", "n.png")[0] == 0
    )
    words = ("face.png", "--checkpoint", "stargan", "--expression", "happy", "-o", "s.png")
    assert eggan("interpolate", *words)[0] == 0
    assert np.abs(pixels_of("s.png")[:, 64 + GAP : 2 * 64 + GAP] - pixels_of("n.png")).max() <= 1
    for reference in ("other.png", "face.png"):  # v = 0 rebuilds the source, whatever the reference
        words = ("face.png", "--checkpoint", "homointerpgan", "--reference", reference)
        assert eggan("interpolate", *words, "-o", f"h-{reference}")[0] == 0
    rebuilt = [pixels_of(f"h-{name}.png")[:, 64 + GAP : 2 * 64 + GAP] for name in ("other", "face")]
    assert np.abs(rebuilt[0] - rebuilt[1]).max() <= 1


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("stargan", ("--au", "12=4"), "stargan does not read --au: it takes --expression happy"),
        ("stargan", ("--reference", "other.png"), "does not read --like: it takes --expression"),
        ("stargan", ("--expression", "glad"), "unknown expression 'glad' (known: neutral, angry"),
        ("stargan", ("--expression", "happy", "--neutral"), "does not read --neutral"),
        ("stargan", ("--expression", "happy", "--source-au", "12=1"), "does not read --source-au"),
        ("homointerpgan", ("--expression", "happy"), "does not read --expression: it takes --like OTHER.jpg"),
        ("homointerpgan", ("--reference", "none.png"), "no such image: none.png"),
        ("stargan", ("--expression", "happy", "--strength", "0.5"), "does not read --strength"),
        ("homointerpgan", ("--like", "other.png", "--strength", "0.5"), "does not read --strength"),
        ("eggan", ("--expression", "happy", "--like", "other.png"), "give one of them"),
        ("eggan", ("--expression", "happy", "--strength", "1.5"), "--strength is 1.5: it runs from 0 to 1"),
        ("eggan", ("--au", "12=4", "--strength", "0.5"), "--au has its own intensity"),
        ("eggan", (), "at least one --au"),
    ],
)
@pytest.mark.parametrize("command", ["edit", "interpolate"])
def test_what_a_method_does_not_read_is_refused(workplace, eggan, command, method, options, message):
    status, _, err = eggan(command, "face.png", "--checkpoint", method, *options, "-o", "out.png")
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (workplace / "out.png").exists()


def test_a_method_that_reads_several_things_needs_all_of_them():
    reads = ("source", "target_aus", "reference")
    with pytest.raises(UserError, match=r"both takes --au 12=4 and --like"):
        Targets(aus=["12=4"]).check_read("both", reads)


def test_the_reference_is_an_input_that_no_result_replaces(workplace, eggan):
    before = (workplace / "other.png").read_bytes()
    words = ("edit", "face.png", "--checkpoint", "homointerpgan", "--reference", "other.png")
    status, _, err = eggan(*words, "--force", "-o", "./other.png")
    assert (status, "is the input other.png" in err) == (2, True)
    assert (workplace / "other.png").read_bytes() == before


def test_an_edit_says_what_it_learnt_from_and_warns_of_lost_detail(workplace, eggan):
    Image.open("face.png").resize((300, 200)).save("large.png")
    words = ("--checkpoint", "eggan", "--au", "12=4", "-o", "out.png")
    status, out, err = eggan("edit", "large.png", "--framed", "--neutral", *words)
    assert status == 0
    assert "eggan of eggan, trained on tiny, writes 64 x 64 pixels" in out
    assert "warning: the face fills 200 x 200 pixels; eggan, trained on tiny, writes 64 x 64 pixels" in err
    assert err.count("\n") == 1
    before, after = pixels_of("large.png"), pixels_of("out.png")
    assert np.array_equal(before[:, :50], after[:, :50])
    assert not np.array_equal(before[:, 50:250], after[:, 50:250])
    assert eggan("edit", "face.png", "--neutral", *words)[2] == ""


def test_rendered_training_data_are_called_so():
    model = editing.Model("eggan", object(), 64, (), "synfacs-twin-64")
    assert model.description == "trained on synfacs-twin-64 (rendered faces), writes 64 x 64 pixels"
