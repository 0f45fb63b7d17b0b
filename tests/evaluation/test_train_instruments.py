import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eggan.augment import flip_some
from eggan.aus import AU_COLUMNS
from eggan.data.dataset import load_dataset, write_dataset
from eggan.data.images import to_network_range
from eggan.errors import UserError
from eggan.evaluation import held_out, metrics
from eggan.evaluation.augmentation import augment
from eggan.evaluation.instrument_data import DataRecipe, Faces, in_memory
from eggan.evaluation.instrument_networks import read_aus
from eggan.evaluation.instruments import NETWORKS
from eggan.evaluation.make_instruments import differing, measure, stored
from eggan.evaluation.train_instruments import (
    Average,
    MarginHead,
    Recipe,
    learning_rate_factor,
    train_instrument,
)


def toy_faces(count=96, seed=0):
    """Images of which each eighth of the rows is as bright as one AU is strong: easy to read."""
    generator = torch.Generator().manual_seed(seed)
    aus = torch.rand(count, 17, generator=generator) * 5
    rows = (aus[:, :8] * 50).to(torch.uint8).repeat_interleave(8, dim=1)
    images = rows[:, None, :, None].expand(count, 3, 64, 64).contiguous()
    return Faces(images, aus, torch.arange(count) // 4)


TINY = Recipe(epochs=2, batch_size=8, precision="fp32")


def test_training_is_a_function_of_recipe_seed_and_data():
    faces = toy_faces(16)
    before = torch.random.get_rng_state()
    first, record = train_instrument("au_a", TINY, faces, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(99)
    again, _ = train_instrument("au_a", TINY, faces, seed=3, on_epoch=lambda *_: torch.rand(5))
    other, _ = train_instrument("au_a", TINY, faces, seed=4)
    weight = "head.3.weight"
    assert torch.equal(first.state_dict()[weight], again.state_dict()[weight])
    assert not torch.equal(first.state_dict()[weight], other.state_dict()[weight])
    assert len(record["loss_per_epoch"]) == 2
    assert not first.training


@pytest.mark.parametrize("kind", ["au_a", "au_b"])
def test_an_estimator_learns_what_is_plain_to_see(kind):
    recipe = dataclasses.replace(TINY, epochs=4)
    _, record = train_instrument(kind, recipe, toy_faces(32), seed=0)
    assert record["loss_per_epoch"][-1] < 0.6 * record["loss_per_epoch"][0]


def test_a_set_smaller_than_a_batch_and_unknown_precision_are_refused():
    with pytest.raises(UserError, match="do not fill one batch"):
        train_instrument("au_a", TINY, toy_faces(4), seed=0)
    with pytest.raises(ValueError, match="bf16 or fp32"):
        Recipe(precision="fp8")


def test_margin_loss_by_hand():
    head = MarginHead(2, 2, scale=10.0, margin=0.3)
    with torch.no_grad():
        head.centres.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    loss = head(torch.tensor([[0.6, 0.8]]), torch.tensor([0]))
    logits = [10 * (0.6 - 0.3), 10 * 0.8]
    assert float(loss.detach()) == pytest.approx(math.log(1 + math.exp(logits[1] - logits[0])), rel=1e-5)


def test_learning_rate_rises_then_falls_to_zero():
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert (np.diff(factors[10:]) < 0).all()
    assert factors[100] == pytest.approx(0.0)


def test_average_follows_weights_and_batch_statistics():
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    average = Average(network, decay=0.9)
    with torch.no_grad():
        network[0].weight += 1.0
        network[1].running_mean += 2.0
    start = average.network[0].weight.clone()
    average.update(network, step=10_000)
    assert torch.allclose(average.network[0].weight - start, torch.full((2, 2), 0.1), atol=1e-6)
    assert torch.allclose(average.network[1].running_mean, torch.full((2,), 0.2))


def test_augmentation_keeps_shape_and_is_keyed():
    images = toy_faces(16).images.float() / 127.5 - 1
    first, again, other = (augment(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == images.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float((first - images).abs().mean()) < 0.6


def test_mirroring_flips_about_half_and_nothing_else():
    images = torch.rand(200, 3, 8, 8)
    mirrored = flip_some(images, torch.Generator().manual_seed(0))
    flipped = (mirrored == images.flip(-1)).flatten(1).all(dim=1)
    kept = (mirrored == images).flatten(1).all(dim=1)
    assert (flipped ^ kept).all()
    assert 70 < int(flipped.sum()) < 130


def tiny_dataset(folder, size, split="dense", identities=3):
    count = 4 * identities
    generator = np.random.default_rng(size)
    manifest = pd.DataFrame(
        {
            "identity": np.repeat([f"{split}-{i}" for i in range(identities)], 4),
            "expression": "",
            "gaze": "frontal",
            "split": split,
            **{column: generator.uniform(0, 5, count) for column in AU_COLUMNS},
            "label_tool": "test",
            "label_version": "1",
            "confidence": 1.0,
            "source_file": "",
        }
    )
    images = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return load_dataset(write_dataset(folder, "tiny", manifest, images, 0, {}, "1"))


def test_faces_of_several_sizes_share_memory_but_no_identity(tmp_path):
    small, large = tiny_dataset(tmp_path / "s", 64), tiny_dataset(tmp_path / "l", 128)
    faces = in_memory([small, large])
    assert faces.images.shape == (24, 3, 64, 64)
    assert faces.images.dtype == torch.uint8
    assert int(faces.identity.max()) + 1 == 6
    average = F.avg_pool2d(large.tensor(np.array([0])).float(), 2).round()
    assert float((faces.images[12].float() - average[0]).abs().max()) <= 1


def test_measured_figures_of_an_estimator_and_a_verifier(tmp_path):
    dense, twin = tiny_dataset(tmp_path / "d", 64), tiny_dataset(tmp_path / "t", 64, "test")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        estimator, verifier = stored("au_a", make("au_a")), stored("verifier", make("verifier"))
    sets = {"dense-64": dense, "twin-test-64": twin, "threshold": dense}
    figures = measure("au_a", estimator, {name: sets[name] for name in ("dense-64", "twin-test-64")})
    assert set(figures) == {"held_out"}
    assert figures["held_out"]["twin-test-64"]["images"] == 12
    reading = read_aus(estimator, to_network_range(dense.tensor(np.arange(12)))).numpy()
    expected = metrics.mse(dense.aus(np.arange(12)), reading).mean()
    assert figures["held_out"]["dense-64"]["mean_mse"] == pytest.approx(expected, rel=1e-3)
    assert set(figures["held_out"]["dense-64"]["per_au"]) == set(AU_COLUMNS)
    measured = measure("verifier", verifier, sets)
    assert measured["threshold"]["genuine_pairs"] == 3 * 6
    assert measured["threshold"]["impostor_pairs"] == 66 - 18
    # the threshold's own set, read at its own threshold, shows the equal-error point
    again = measured["held_out"]["dense-64"]
    assert again["equal_error_percent"] == pytest.approx(
        100 * measured["threshold"]["equal_error_rate"], abs=1e-2
    )


def test_pairs_of_similarities():
    embedding = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    genuine, impostor = held_out.similarities(embedding, np.array(["x", "x", "y"]))
    assert genuine == pytest.approx([0.8])
    assert sorted(impostor) == pytest.approx([0.0, 0.6])


def test_a_figure_that_moved_is_named():
    card = {"dense-64": {"mean_pcc": 0.96, "images": 10}}
    assert differing("au_a", card, {"dense-64": {"mean_pcc": 0.9605, "images": 10}}) == []
    lines = differing("au_a", card, {"dense-64": {"mean_pcc": 0.91, "images": 12}})
    assert lines == [
        "au_a.dense-64.mean_pcc: card 0.96, measured 0.91",
        "au_a.dense-64.images: card 10, measured 12",
    ]


def test_populations_never_meet():
    recipe = DataRecipe()
    plans = [*recipe.training(), *recipe.held_out("instruments-test"), recipe.threshold()]
    populations = [plan.population for plan in recipe.training()] + [
        "instruments-test",
        recipe.threshold().population,
    ]
    assert len(set(populations)) == len(populations)
    assert len({plan.folder_name for plan in plans}) == len(plans)
    assert recipe.threshold().identities >= 64


def make(kind):
    return NETWORKS[kind]()
