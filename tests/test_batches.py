"""Batches: rows in an order of the seed, labels of their rows, true edits of a group, augmented images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eggan.augment import flip_some, shift_blur_noise
from eggan.data.images import to_network_range
from eggan.data.training_set import load_training_set, make_groups
from eggan.errors import UserError
from eggan.randomness import torch_generator
from eggan.training import TrainingConfig, make_batch
from tests.tiny import tiny_dataset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def data(dataset):
    return load_training_set(dataset, ("train",), "cpu")


@given(st.integers(2, 40), st.integers(1, 16), st.integers(0, 5))
def test_every_epoch_visits_every_row_once(count, size, seed):
    from eggan.training import _batch_rows

    epochs = 3
    steps = -(-epochs * count // size)
    rows = torch.cat([_batch_rows(count, size, seed, step, CPU)[0] for step in range(steps)])
    for epoch in range(epochs):
        assert sorted(rows[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))


def test_batches_are_a_function_of_seed_and_step(data):
    config = TrainingConfig(batch_size=4, horizontal_flip=True)
    one, same, other = (make_batch(data, config, seed, 3) for seed in (0, 0, 1))
    assert torch.equal(one.image, same.image)
    assert torch.equal(one.target_aus, same.target_aus)
    assert torch.equal(torch.rand(3, generator=one.generator), torch.rand(3, generator=same.generator))
    assert not torch.equal(one.image, other.image)


def test_a_batch_is_labelled_by_its_rows(data):
    batch = make_batch(data, TrainingConfig(batch_size=12), 0, 0)
    assert batch.image.min() >= -1
    assert batch.image.max() <= 1
    assert torch.equal(batch.aus.sort(0).values, data.aus.sort(0).values)
    assert set(batch.identity.tolist()) == {0, 1, 2}


def test_only_the_named_splits_are_trained_on(dataset):
    assert len(load_training_set(dataset, ("train",), "cpu")) == 12
    assert len(load_training_set(dataset, ("train", "test"), "cpu")) == 16
    with pytest.raises(UserError, match="no images in the split val"):
        load_training_set(dataset, ("val",), "cpu")


def test_shift_blur_noise_keeps_the_range_of_effects():
    image = torch.rand(4, 3, 64, 64) * 2 - 1
    same = shift_blur_noise(image, torch_generator("a"), 0.0, 0.0, 0.0)
    torch.testing.assert_close(same, image, rtol=1e-4, atol=1e-4)
    one, again = (shift_blur_noise(image, torch_generator("a"), 2.0, 1.0, 0.1) for _ in range(2))
    assert torch.equal(one, again)
    ramp = torch.linspace(-1, 1, 64).expand(4, 3, 64, 64)
    moved = shift_blur_noise(ramp, torch_generator("b"), 2.0, 0.0, 0.0)
    slope = 2 / 63
    pixels = (moved - ramp)[:, 0, 8:-8, 8:-8].mean((1, 2)) / slope
    assert pixels.abs().max() <= 2.0
    assert pixels.unique().numel() == 4


def test_flip_some_mirrors_whole_images():
    image = torch.rand(32, 3, 4, 4)
    flipped = flip_some(image, torch_generator("flip"))
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(flipped, image, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(flipped, image, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 5 < sum(mirrored) < 27


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "grouped"
    return load_training_set(tiny_dataset(folder, grouped=True), ("train",), "cpu")


PLAIN_FIELDS = ("image", "aus", "identity", "expression", "target_image", "target_aus", "target_expression")


@pytest.mark.parametrize("flip", [False, True])
def test_groups_add_true_edits_and_change_nothing_else_of_a_batch(data, grouped, flip):
    config = TrainingConfig(batch_size=5, horizontal_flip=flip)
    for step in range(6):
        without, with_groups = (make_batch(source, config, 1, step) for source in (data, grouped))
        assert without.true_edit is without.true_edit_aus is None
        for field in PLAIN_FIELDS:
            assert torch.equal(getattr(without, field), getattr(with_groups, field))
        after = (torch.rand(2, generator=batch.generator) for batch in (without, with_groups))
        assert torch.equal(*after)


def test_a_true_edit_shows_the_same_person_with_the_aus_it_names(grouped):
    config = TrainingConfig(batch_size=4)
    seen = 0
    for step in range(9):
        batch = make_batch(grouped, config, 0, step)
        for image, identity, edit, aus in zip(
            batch.image, batch.identity, batch.true_edit, batch.true_edit_aus, strict=True
        ):
            alike = torch.nonzero((grouped.aus == aus).all(1) & (grouped.identity == identity))[:, 0]
            assert any(torch.equal(to_network_range(grouped.images[row]), edit) for row in alike)
            seen += not torch.equal(image, edit)
    assert seen > 9  # most pairs differ


def test_true_edits_are_mirrored_with_their_sources(grouped):
    images = torch.randint(0, 256, grouped.images.shape, generator=torch.Generator().manual_seed(0))
    grouped = replace(grouped, images=images.to(torch.uint8))  # faces without symmetry
    plain = make_batch(grouped, TrainingConfig(batch_size=12), 0, 0)
    mirrored = make_batch(grouped, TrainingConfig(batch_size=12, horizontal_flip=True), 0, 0)
    turned = [not torch.equal(*pair) for pair in zip(plain.image, mirrored.image, strict=True)]
    assert 0 < sum(turned) < 12
    for index, flipped in enumerate(turned):
        expected = plain.true_edit[index].flip(2) if flipped else plain.true_edit[index]
        assert torch.equal(mirrored.true_edit[index], expected)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 9))
def test_partners_come_from_the_same_group_and_every_member_is_one(numbers, seed):
    groups = make_groups(np.array(numbers), "cpu")
    rows = torch.arange(len(numbers))
    of_row = torch.tensor(numbers)
    draws = torch.rand(len(numbers), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(of_row[groups.partners(rows, draws)], of_row)
    assert torch.equal(of_row[groups.partners(rows, torch.ones(len(rows)))], of_row)  # a draw that rounds up
    size = int(groups.count[0])
    reached = {int(groups.partners(torch.tensor([0]), torch.tensor([k / size]))) for k in range(size)}
    assert reached == set(torch.nonzero(of_row == of_row[0])[:, 0].tolist())
