"""The weights that come with the package, and `eggan weights list | check`."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from eggan.aus import AU_COUNT
from eggan.checkpoint import Checkpoint, ModelCard
from eggan.config import from_dict, to_dict
from eggan.data.images import to_network_range, to_uint8
from eggan.data.synfacs.nuisance import draw_nuisance
from eggan.data.synfacs.picture import render
from eggan.data.synfacs.plan import person
from eggan.errors import UserError
from eggan.files import hash_files
from eggan.shipped import check, weights
from eggan.warp import CPU, EGGANW, ENTRY, compose

NARROW = replace(CPU, channels=(8, 8), blocks=1, embedding=8, detail_channels=4)


def picture(size: int = 64) -> torch.Tensor:
    face = render(person(3, "twin", 1), np.zeros(AU_COUNT), draw_nuisance("shipped test", 0), "frontal", size)
    return to_network_range(torch.from_numpy(face).permute(2, 0, 1)[None])


@pytest.fixture
def folder(tmp_path):
    for path in weights.FOLDER.glob(f"{weights.DEFAULT}.*"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_the_files_are_small_and_are_what_their_cards_say():
    sizes = 0
    for name in weights.NAMES:
        path, card = weights.FOLDER / f"{name}.safetensors", weights.read_card(name)
        sizes += path.stat().st_size
        assert hash_files([path]) == card["sha256"]
        assert card["parameters"] == sum(t.numel() for t in weights.load_shipped(name).weights.values())
        assert to_dict(from_dict(check.ENTRIES[card["method"]].config, card["config"])) == card["config"]
        assert [part["part"] for part in card["recipe"]] == list(range(1, len(card["recipe"]) + 1))
        assert len(card["data"]["content_hash"]) == 64
        for which in ("a", "b"):
            assert len(card["held_out"][f"estimator_{which}"]["edit"]["per_au"]) == AU_COUNT
    assert sizes <= 16e6


# At 128 px, nearest to it: the shipped weights of before, PCC .954 and .949, MSE .08 of copy-source's
@pytest.mark.parametrize(
    ("name", "least_pcc", "most_error"), [("eggan_w_64", 0.94, 0.1), ("eggan_w_128", 0.95, 0.07)]
)
def test_they_hold_a_person_and_reach_what_makes_them_worth_shipping(name, least_pcc, most_error):
    held_out = weights.read_card(name)["held_out"]
    assert held_out["same_person_percent"] >= 99.9
    for which in ("a", "b"):
        figures = held_out[f"estimator_{which}"]
        assert figures["edit"]["pcc"] >= least_pcc
        assert figures["edit"]["mse"] <= most_error * figures["copy_source"]["mse"]


def test_eggan_keeps_people_it_has_never_seen_and_follows_the_aus():
    held_out = weights.read_card("eggan_64")["held_out"]
    assert held_out["same_person_percent"] >= 99.5
    for which in ("a", "b"):
        figures = held_out[f"estimator_{which}"]
        assert figures["edit"]["pcc"] >= 0.9
        assert figures["edit"]["mse"] <= 0.15 * figures["copy_source"]["mse"]


def test_weights_are_stored_in_few_bits_and_loaded_as_float32():
    for name in weights.NAMES:
        assert {tensor.dtype for tensor in weights.load_shipped(name).weights.values()} == {torch.float32}
        stored = {t.dtype for t in load_file(weights.FOLDER / f"{name}.safetensors").values()}
        packs = weights.read_card(name)["storage"] == weights.FORMATS["int8"]
        assert stored == ({torch.int8, torch.float16, torch.float32} if packs else {torch.float16})


def test_a_packed_weight_is_off_by_half_a_step_of_its_own_channel_at_most():
    generator = torch.Generator().manual_seed(0)
    large = torch.randn(6, 80, 3, 3, generator=generator) * torch.logspace(-8, 3, 6)[:, None, None, None]
    large[2] = 0  # an untrained head
    small = torch.randn(5, 7, generator=generator)
    stored = weights.packed({"large": large, "small": small})
    assert (stored["large"].dtype, stored["small"].dtype) == (torch.int8, torch.float16)
    again = weights.unpacked(stored)
    assert again.keys() == {"large", "small"}
    steps = large.abs().flatten(1).amax(1) / 127
    assert ((again["large"] - large).abs().flatten(1).amax(1) <= 0.5001 * steps).all()
    assert torch.equal(again["large"].abs().flatten(1).amax(1), stored["large.scale"] * 127 * (steps > 0))
    assert torch.equal(again["small"], small.half().float())


def test_packed_weights_without_their_scales_are_refused(tmp_path):
    shipped = weights.load_shipped("eggan_64")
    weights.save_shipped(shipped, "again", weights.read_card("eggan_64"), tmp_path, "int8")
    path = tmp_path / "again.safetensors"
    tensors = load_file(path)
    scale = next(name for name in tensors if name.endswith(weights.SCALE))
    save_file({name: tensor for name, tensor in tensors.items() if name != scale}, path)
    card = weights.read_card("again", tmp_path) | {"sha256": hash_files([path])}
    (tmp_path / "again.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=f"holds no weights.*{scale}"):
        weights.load_shipped("again", tmp_path)


def test_edits_with_fp16_weights_are_those_of_float32_to_a_grey_level(tmp_path):
    """The shipped weights with every value moved inside its half step: as any float32 that rounds to them."""
    shipped = weights.load_shipped()
    generator = torch.Generator().manual_seed(0)
    full = {
        key: value * (1 + (torch.rand(value.shape, generator=generator) - 0.5) * 2**-10 * 0.9)
        for key, value in shipped.weights.items()
    }
    weights.save_shipped(Checkpoint(shipped.card, full), "again", weights.read_card(), tmp_path)
    again = weights.load_shipped("again", tmp_path)
    assert any(not torch.equal(again.weights[key], full[key]) for key in full)
    config = from_dict(ENTRY.config, shipped.card.config)
    targets = torch.eye(AU_COUNT) * 5
    source = picture(config.image_size).expand(len(targets), -1, -1, -1)
    levels = []
    for state in (full, again.weights):
        method = ENTRY.restore(config, state, torch.device("cpu"))
        levels.append(to_uint8(compose(method.parts(source, targets))).int())
    assert (levels[0] - levels[1]).abs().max() <= 1
    assert (levels[0] - to_uint8(source).int()).abs().max() > 20


def test_a_damaged_file_is_refused(folder):
    path = folder / f"{weights.DEFAULT}.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    for damaged in (bytes(content), bytes(content[:1000]), b""):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="not the file that its card describes") as caught:
            weights.load_shipped(folder=folder)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match=f"{weights.DEFAULT}.safetensors is missing"):
        weights.load_shipped(folder=folder)


def test_a_file_that_holds_no_weights_is_refused_though_its_card_names_it(folder):
    path, card = folder / f"{weights.DEFAULT}.safetensors", weights.read_card()
    path.write_bytes(b"no tensors")
    (folder / f"{weights.DEFAULT}.json").write_text(json.dumps(card | {"sha256": hash_files([path])}))
    with pytest.raises(UserError, match="holds no weights"):
        weights.load_shipped(folder=folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a valid card"),
        ("[1]", "card version None"),
        ('{"card_version": 9}', "card version 9, this software reads 1"),
        ('{"card_version": 1}', "config is missing"),
        (None, f"{weights.DEFAULT}.json is missing"),
    ],
)
def test_a_damaged_card_is_refused(folder, text, message):
    path = folder / f"{weights.DEFAULT}.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UserError, match=message):
        weights.load_shipped(folder=folder)


def test_list_prints_what_the_card_holds(eggan):
    status, out, err = eggan("weights", "list")
    assert (status, err) == (0, "")
    blocks = dict(zip(weights.NAMES, re.split(r"\n(?=eggan)", out), strict=True))
    for name in weights.NAMES:
        card = weights.read_card(name)
        megabytes = (weights.FOLDER / f"{name}.safetensors").stat().st_size / 1e6
        start = f"{name}: {card['method']}, {card['image_size']} px, {megabytes:.1f} MB"
        mse = card["held_out"]["estimator_a"]["edit"]["mse"]
        for text in (start, card["sha256"], f"MSE {mse:.3f}"):
            assert text in blocks[name]


def test_check_finds_the_shipped_weights_right(eggan):
    status, out, err = eggan("weights", "check")
    assert (status, err) == (0, "")
    assert "AU12 = 4" in out
    assert "WRONG" not in out


def test_check_looks_at_the_weights_that_it_is_given_alone(eggan):
    status, out, err = eggan("weights", "check", "eggan_64")
    assert (status, err) == (0, "")
    assert {line.partition(":")[0] for line in out.splitlines()} == {"eggan_64"}


def test_check_refuses_an_unknown_name_before_it_edits(eggan):
    status, out, err = eggan("weights", "check", "eggan_64", "eggan_65")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "no shipped weights are called 'eggan_65': did you mean eggan_64?" in err


def test_check_finds_weights_that_edit_nothing_wrong(eggan, monkeypatch):
    untrained = EGGANW(NARROW, 0, torch.device("cpu"))
    source = picture()
    assert torch.equal(compose(untrained.editor(source, torch.full((1, AU_COUNT), 5.0))), source)
    card = ModelCard("eggan-w", ENTRY.version, to_dict(NARROW), 64)
    monkeypatch.setattr(check, "load_shipped", lambda name: Checkpoint(card, untrained.inference_weights()))
    status, out, _ = eggan("weights", "check")
    assert (status, out.count("WRONG")) == (1, 2 * len(weights.NAMES))
