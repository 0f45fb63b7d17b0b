"""`eggan train --start`: what a training begins with, how it is recorded, what is refused."""

import json

import pytest
import torch

from eggan.checkpoint import load_checkpoint
from eggan.files import hash_files
from eggan.shipped.weights import read_card
from eggan.training_start import read_start
from eggan.warp import WarpConfig, grow
from tests.tiny import tiny_dataset

NARROW = [
    word
    for setting in ("channels=[8,8]", "blocks=1", "embedding=8", "detail_channels=4", "disturb_after=0")
    for word in ("--set", setting)
]
BRIEF = ["--set", "training.batch_size=2", "--set", "training.images=4", "--preset", "cpu", "--offline"]
STILL = ["--set", "learning_rate=0"]  # what it began with is what it ends with


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    root = tmp_path_factory.mktemp("faces")
    for size in (32, 64):
        tiny_dataset(root / f"faces{size}", identities=4, grouped=True, size=size)
    return root


@pytest.fixture
def train(faces, eggan, monkeypatch):
    monkeypatch.chdir(faces)

    def run(out, *words, size=64):
        sides = ["--set", f"image_size={size}", "--set", f"reduction={size // 32}"]
        folder = faces / out
        words = (*BRIEF, *NARROW, *sides, *words, "--out", folder)
        return *eggan("train", "eggan-w", "--dataset", f"faces{size}", *words), folder

    return run


def test_a_training_begins_with_the_weights_that_it_names_grown_where_they_are_of_half_the_size(train):
    status, _, _, small = train("small", size=32)
    assert status == 0
    status, _, err, same = train("same", "--start", small, *STILL, "--seed", 5, size=32)
    assert (status, err) == (0, "")
    before, after = load_checkpoint(small), load_checkpoint(same)
    assert all(torch.equal(after.weights[name], value) for name, value in before.weights.items())
    digest = hash_files([small / "weights.safetensors"])
    assert (before.card.start_sha256, after.card.start_sha256) == ("", digest)
    assert "start_sha256" not in json.loads((small / "config.json").read_text())
    record = json.loads((same / "run.json").read_text())["params"]
    assert (record["start.sha256"], record["start.weights"]) == (digest, str(small))

    status, _, err, large = train("large", "--start", small, *STILL)
    assert (status, err) == (0, "")
    configs = [WarpConfig(**{**load_checkpoint(f).card.config, "disturbance": None}) for f in (small, large)]
    expected = grow(before.weights, *configs)
    grown = load_checkpoint(large).weights
    assert all(torch.equal(grown[name], value) for name, value in expected.items())


def test_another_start_is_another_training_and_is_not_resumed(train):
    starts = [train(f"seed{seed}", "--seed", seed, size=32)[3] for seed in (1, 2)]
    *_, folder = train("begun", "--start", starts[0])
    content = (folder / "weights.safetensors").read_bytes()
    for words in (("--start", starts[1]), ()):
        status, _, err, _ = train("begun", *words, "--resume")
        assert (status, "another start" in err, err.count("\n")) == (2, True, 1)
    status, _, err, _ = train("begun", "--start", starts[0], "--resume")
    assert (status, err) == (0, "")
    assert (folder / "weights.safetensors").read_bytes() == content


def test_a_training_in_runs_is_a_start_by_its_name(train, faces):
    *_, folder = train("runs/single/kept", size=32)
    status, _, err, begun = train("named", "--start", "kept", "--runs", faces / "runs")
    assert (status, err) == (0, "")
    assert load_checkpoint(begun).card.start_sha256 == hash_files([folder / "weights.safetensors"])


def test_what_cannot_be_begun_with_is_one_line(train, trained):
    *_, narrow = train("narrow", size=32)
    cases = [
        ((narrow, "--set", "channels=[4,8]"), "is no start for this training"),
        (("eggan_w_64",), "is no start for this training"),  # wider than this training's networks
        (("eggan_64",), "holds eggan version 1: eggan-w version 1 cannot begin with it"),
        ((trained / "m",), "cannot begin with it"),
        (("nowhere",), "nowhere is not a checkpoint"),
    ]
    for words, message in cases:
        status, _, err, folder = train("refused", "--start", *words)
        assert (status, message in err, err.count("\n")) == (2, True, 1), err
        assert not folder.exists()


def test_shipped_weights_are_named_by_their_card():
    start = read_start("eggan_w_64")
    assert start.sha256 == read_card("eggan_w_64")["sha256"]
    assert start.checkpoint.card.method == "eggan-w"
