"""EGGAN-W: the warp, the composition at any size, what its losses see, disturbed pairs, ablations."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from eggan import losses
from eggan.disturb import disturb
from eggan.errors import UserError
from eggan.method import EditRequest, EditsLarge, ReconstructionRequest
from eggan.training import TrainingConfig, load_training_set, make_batch
from eggan.warp import EGGANW, ENTRY, FLOW_UNIT, DisturbConfig, Parts, WarpConfig, build, compose, warp
from tests.tiny import context, tiny_dataset

CPU = torch.device("cpu")
SMALL = replace(  # without the reader, so that 40 steps are the pixels' alone
    ENTRY.presets["cpu"],
    **{"channels": (8, 16), "blocks": 1, "detail_channels": 8, "embedding": 8},
    **{"warm_up_steps": 0, "weight_features": 0.0, "muon": False},
)


def pictures(count=2, size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=generator) * 2 - 1
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False).clamp(-1, 1)


def ask(source, aus):
    return EditRequest(source, aus, aus, torch.full((len(source),), -1), source)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny", identities=6, grouped=True)


@pytest.fixture(scope="module")
def data(dataset):
    return load_training_set(dataset, ("train",), "cpu")


def trained(data, config=SMALL, steps=60):
    method = EGGANW(replace(config, ema_decay=0.9), 0, CPU)
    training = TrainingConfig(batch_size=8, horizontal_flip=True)
    for step in range(steps):
        method.set_learning_rate(min(1.0, 2 - 2 * step / steps))
        terms = method.update(make_batch(data, training, 0, step), step)
    return method, terms


def test_no_flow_moves_nothing_and_a_flow_of_one_unit_is_one_pixel_at_64():
    image = pictures()
    still = torch.zeros(2, 2, 64, 64)
    assert torch.allclose(warp(image, still), image, atol=1e-5)
    right = still.clone()
    right[:, 0] = FLOW_UNIT
    assert torch.allclose(warp(image, right)[..., :-1], image[..., 1:], atol=1e-4)
    down = still.clone()
    down[:, 1] = FLOW_UNIT
    assert torch.allclose(warp(image, down)[:, :, :-1], image[:, :, 1:], atol=1e-4)


def test_a_warp_in_bf16_is_the_warp_in_float32():
    image, flow = pictures(), 0.05 * pictures(seed=1)[:, :2]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(warp(image, flow), warp(image, flow.float()))
    assert warp(image.bfloat16(), flow).dtype == torch.float32


def test_paint_blends_from_moved_to_colour():
    moved, colour, paint = pictures(), pictures(seed=1), torch.zeros(2, 1, 64, 64)
    paint[0], paint[1, :, :32] = 1, 0.25
    edit = compose(Parts(torch.zeros(2, 2, 64, 64), moved, colour, paint))
    assert torch.equal(edit[0], colour[0])
    assert torch.equal(edit[1, :, 32:], moved[1, :, 32:])
    assert torch.allclose(edit[1, :, :32], 0.75 * moved[1, :, :32] + 0.25 * colour[1, :, :32])


@pytest.mark.parametrize(
    "changes", [{}, {"flow": False}, {"colour": False}, {"reduction": 4}, {"weight_features": 0.5}]
)
def test_the_first_edit_is_the_source(changes):
    method = EGGANW(replace(SMALL, **changes), 0, CPU)
    source = pictures(3)
    aus = torch.rand(3, 17) * 5
    assert torch.equal(method.edit(ask(source, aus)), source)
    own = ReconstructionRequest(source, aus, torch.zeros(3, dtype=torch.int64))
    assert torch.equal(method.reconstruct(own), source)


@pytest.mark.parametrize("changes", [{"learning_rate": 5e-3}, {"learning_rate": 1e-2, "muon": True}])
def test_training_on_true_edits_brings_edits_nearer_to_them_where_they_change(data, changes):
    method, terms = trained(data, replace(SMALL, **changes))
    batch = make_batch(data, TrainingConfig(batch_size=16), 9, 0)
    edit = method.edit(ask(batch.image, batch.true_edit_aus))
    weight = losses.change_weight(batch.image, batch.true_edit, 0.3)
    before, after = (losses.weighted_l1(x, batch.true_edit, weight, 0.003) for x in (batch.image, edit))
    assert after < 0.6 * before
    assert set(terms) >= {"loss/pixels", "weighted/changed", "loss/total"}


def test_the_parts_compose_to_the_edit(data):
    method, _ = trained(data, steps=10)
    source, aus = pictures(), torch.full((2, 17), 3.0)
    assert isinstance(method, EditsLarge)
    assert torch.equal(compose(method.parts(source, aus)).clamp(-1, 1), method.edit(ask(source, aus)))


def test_an_edit_both_ways_is_that_of_the_mirror_image_mirrored_and_training_is_as_without(data):
    plain, _ = trained(data, steps=20)
    method, _ = trained(data, replace(SMALL, both_ways=True), steps=20)
    for name, weight in plain.inference_weights().items():
        assert torch.equal(method.inference_weights()[name], weight)
    source, aus = pictures(), torch.full((2, 17), 3.0)
    edit, image = method.edit(ask(source, aus)), method.edit(ask(source.flip(-1), aus))
    assert torch.allclose(edit, image.flip(-1), atol=1e-6)
    one, other = plain.edit(ask(source, aus)), plain.edit(ask(source.flip(-1), aus)).flip(-1)
    assert (one - other).abs().max() > 1e-3
    assert torch.allclose(edit, (one + other) / 2, atol=1e-4)  # a colour beyond white is cut off in each
    own = ReconstructionRequest(source, aus, torch.zeros(2, dtype=torch.int64))
    assert torch.equal(method.reconstruct(own), edit)
    made, whole = method.parts_and_edit(source, aus)
    assert torch.equal(whole, edit)
    assert torch.equal(compose(made).clamp(-1, 1), one)


def test_ablations_do_without_their_part(data):
    source, aus = pictures(), torch.full((2, 17), 4.0)
    painted, _ = trained(data, replace(SMALL, flow=False), 5)
    parts = painted.editor(source, aus)
    assert torch.equal(parts.moved, source)
    assert parts.paint.max() > 0
    moved, _ = trained(data, replace(SMALL, colour=False), 5)
    parts = moved.editor(source, aus)
    assert torch.equal(compose(parts), warp(source, parts.flow))
    assert parts.flow.abs().max() > 0
    assert moved.parameter_counts()["finish"] == 0


@pytest.mark.parametrize("on_moved", [True, False])
def test_a_colour_of_its_own_holds_nothing_of_the_source(on_moved):
    method = EGGANW(replace(SMALL, colour_on_moved=on_moved), 0, CPU)
    with torch.no_grad():
        method.editor.finish.heads.bias[:3] = torch.tensor([0.3, -0.2, 0.1])
    sources = pictures(2)
    colour = method.editor(sources, torch.zeros(2, 17)).colour
    assert torch.equal(colour[0], colour[1]) is not on_moved


def test_what_is_painted_is_a_colour():
    method = EGGANW(SMALL, 0, CPU)
    with torch.no_grad():
        method.editor.finish.heads.bias[:3] = torch.tensor([3.0, -3.0, 0.0])
    parts = method.editor(pictures(), torch.zeros(2, 17))
    assert (parts.colour[:, 0] == 1).all()
    assert (parts.colour[:, 1] == -1).all()
    assert torch.equal(parts.colour[:, 2], parts.moved[:, 2])


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 25), (0.5, 50), (1.0, 100)])
def test_a_share_of_the_steps_is_disturbed_after_the_first_ones(share, count):
    method = EGGANW(replace(SMALL, disturb_share=share, disturb_after=40), 0, CPU)
    disturbed = [step for step in range(140) if method.kind_of_step(step) == "disturbed"]
    assert len(disturbed) == count
    assert not disturbed or min(disturbed) >= 40


def test_a_pair_is_disturbed_alike_and_a_pair_of_equals_stays_one():
    source = pictures(64)
    first, second = disturb(source, source, torch.Generator().manual_seed(3), DisturbConfig())
    assert torch.equal(first, second)
    assert (first - source).abs().flatten(1).amax(1).min() > 0.01  # everybody is disturbed
    assert first.abs().max() <= 1
    again, _ = disturb(source, source, torch.Generator().manual_seed(3), DisturbConfig())
    assert torch.equal(first, again)


def test_bending_and_shading_are_smooth_bounded_and_alike_for_both_of_a_pair():
    off = DisturbConfig(*[0.0] * len(vars(DisturbConfig())))
    ramp = torch.linspace(-0.9, 0.9, 64).expand(16, 3, 64, 64).contiguous()
    for changes, most in (({"bend": 0.03}, 2 * 0.03), ({"shade": 0.3}, None)):
        strength = replace(off, **changes)
        first, second = disturb(ramp, ramp, torch.Generator().manual_seed(0), strength)
        assert torch.equal(first, second)
        change = first - ramp if most else ((first + 1) / (ramp + 1)).log() / 0.3
        change = change[:, :, 8:-8, 8:-8]  # at the border a bend reflects; white is clipped
        change = change if most else change[..., :-16]
        assert 0.2 < (change.abs().amax() / (most or 1.0)) < 1.4
        # from -1 to 1 over 16 pixels, a cubic is steepest in its middle: 1.5 * 2 / 16
        assert (change.diff(dim=3).abs().amax() / (most or 1.0)) < 0.19
        assert change.flatten(1).std(1).min() > 0


def test_a_pair_of_any_size_that_a_config_takes_can_be_disturbed():
    for size in (64, 72, 88):
        replace(SMALL, image_size=size, reduction=1, channels=(8, 8))
        pair = torch.rand(2, 2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
        source, truth = disturb(
            *pair, torch.Generator().manual_seed(1), DisturbConfig(stain=0.4, jpeg_share=1.0)
        )
        assert source.shape == truth.shape == pair[0].shape


def test_a_stain_is_the_sources_alone_and_lies_where_its_truth_differs():
    source = pictures(16)
    truth = source.clone()
    truth[:, :, 20:40, 20:40] = 0.9
    stained = replace(DisturbConfig(*[0.0] * len(vars(DisturbConfig()))), stain=0.4)
    first, second = disturb(source, truth, torch.Generator().manual_seed(1), stained)
    assert torch.allclose(second, truth, atol=1e-4)
    change = (first - source).abs()
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[19:41, 19:41] = True  # the weight is a mean of 3 x 3
    assert change[..., ~inside].max() < 1e-4
    strongest = change[..., inside].flatten(1).amax(1)
    assert (strongest > 0.02).sum() >= 12  # most pairs; some draws are small
    equal, _ = disturb(source, source, torch.Generator().manual_seed(1), stained)
    assert torch.allclose(equal, source, atol=1e-4)


def test_without_any_strength_nothing_is_disturbed():
    off = DisturbConfig(*[0.0] * len(vars(DisturbConfig())))
    source, truth = pictures(8), pictures(8, seed=1)
    for before, after in zip(
        (source, truth), disturb(source, truth, torch.Generator().manual_seed(0), off), strict=True
    ):
        assert torch.allclose(before, after, atol=1e-4)


def test_a_dataset_without_true_edits_is_one_line(tmp_path, dataset):
    plain = tiny_dataset(tmp_path / "plain")
    with pytest.raises(UserError, match="--split crowd") as caught:
        build(SMALL, context(plain, tmp_path))
    assert "\n" not in str(caught.value)
    batch = make_batch(load_training_set(plain, ("train",), "cpu"), TrainingConfig(batch_size=2), 0, 0)
    with pytest.raises(UserError, match="--split crowd"):
        EGGANW(SMALL, 0, CPU).update(batch, 0)
    with pytest.raises(UserError, match="128 px"):
        build(replace(SMALL, image_size=128), context(dataset, tmp_path))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"image_size": 100}, "image_size"),
        ({"flow": False, "colour": False}, "nothing"),
        ({"detail_channels": 3}, "detail_channels"),
        ({"disturb_share": 1.5}, "disturb_share"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"ssim_window": 4}, "ssim_window"),
    ],
)
def test_impossible_settings_are_refused(changes, word):
    with pytest.raises(ValueError, match=word):
        replace(WarpConfig(), **changes)


def test_the_reader_learns_from_labels_alone_and_the_edit_from_the_reader(data):
    config = replace(SMALL, weight_features=0.5, reader_channels=(8, 8, 8))
    method, terms = trained(data, config, 3)
    assert {"loss/features", "loss/reader"} <= set(terms)
    assert method.parameter_counts()["reader"] > 0
    assert not any(name.startswith("reader") for name in method.inference_weights())
    batch = make_batch(data, TrainingConfig(batch_size=4), 0, 0)
    real, aus = torch.cat([batch.image, batch.true_edit]), torch.cat([batch.aus, batch.true_edit_aus])
    edit = batch.image.clone().requires_grad_()
    own = method._reader_terms(method.reader, real, aus, edit)
    method.reader.zero_grad()
    own["features"].backward()
    assert edit.grad.abs().max() > 0
    assert all(p.grad is None for p in method.reader.parameters())
    own["reader"].backward()
    assert all(p.grad is not None for p in method.reader.parameters())
