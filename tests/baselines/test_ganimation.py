"""Golden values: official modules of albertpumarola/GANimation at 40da9ae (fill rule: filling.py)."""

import dataclasses

import pytest
import torch

from baselines.ganimation import ENTRY, GANimation, GANimationConfig, composite, mask_smoothness
from eggan import losses
from eggan.config import from_dict, to_dict
from eggan.method import EditRequest
from tests.baselines.filling import agrees, batch_of, close, fill, filled, images, slope_norms

SOURCE_AUS = (filled(2, 17) + 1) / 2
TARGET_AUS = 1 - SOURCE_AUS
TINY = GANimationConfig(image_size=64, width=4, residual_blocks=1, critic_width=2)


@pytest.fixture(scope="module")
def official() -> GANimation:
    model = GANimation(ENTRY.presets["faithful"], 0, torch.device("cpu"))
    fill(model.generator)
    fill(model.critic)
    return model


@pytest.fixture(scope="module")
def answer(official):
    with torch.no_grad():
        return official.generator(images(), TARGET_AUS)


@pytest.fixture(scope="module")
def edit(answer):
    return composite(images(), *answer)


def test_parameter_counts(official):
    assert official.parameter_counts() == {"generator": 8_471_296, "critic": 44_860_352}


def test_colour_mask_and_edit_agree_with_the_official_ones(answer, edit):
    colour, mask = answer
    assert agrees(colour, 0.065986, 0.572780)
    assert agrees(mask, 0.552867, 0.185858)
    assert close(edit.std(correction=0), 0.432897)
    assert edit.flatten()[:3].tolist() == pytest.approx([-0.47310, 0.11995, -0.43805], rel=1e-3)


def test_the_critics_losses_and_penalty_agree(official, edit):
    with torch.no_grad():
        terms = official.critic_terms(images(), SOURCE_AUS, edit)
    assert close(terms["critic/real"], 0.003371, 2e-5)
    assert close(terms["critic/fake"], -0.013995, 2e-5)
    assert close(official.weights(2)["condition"] * terms["critic/condition"], 676.137)
    points = losses.interpolates(images(), edit, torch.full((2,), 0.75))
    assert slope_norms(official.critic.scores, points) == pytest.approx([1.005176, 1.024535], rel=1e-3)


def test_the_generators_losses_agree(official, answer, edit):
    _, mask = answer
    with torch.no_grad():
        terms = official.generator_terms(images(), SOURCE_AUS, TARGET_AUS, edit, mask)
    weights = official.weights(2)
    weighted = {name: weights[name] * term for name, term in terms.items()}
    assert close(weighted["adversarial"], 0.013995, 2e-5)
    assert close(weighted["condition"], 677.842)
    assert close(weighted["cycle"], 4.20947)
    assert close(weighted["mask"], 0.0552867 + 0.0552709)
    assert close(weighted["mask_smooth"], 0.162186 + 0.162722)


def test_the_weights_of_the_launch_script_hold_at_every_batch_size():
    ours, faithful = ENTRY.presets["paper"], ENTRY.presets["faithful"]
    device = torch.device("cpu")
    narrow = {"width": 4, "critic_width": 2, "residual_blocks": 1}
    ours = GANimation(dataclasses.replace(ours, **narrow), 0, device)
    faithful = GANimation(dataclasses.replace(faithful, **narrow), 0, device)
    assert ours.weights(8) == ours.weights(25) == faithful.weights(25)
    assert faithful.weights(8)["condition"] == pytest.approx(500)
    assert ours.weights(8)["condition"] == pytest.approx(160)


def test_smoothness_by_hand():
    mask = torch.zeros(2, 1, 3, 3)
    mask[0, 0, 1, 1] = 0.5  # four neighbours differ by 0.5, in one of two masks
    assert mask_smoothness(mask).item() == pytest.approx(4 * 0.5 / 2)


@pytest.mark.parametrize(("mask", "expected"), [(1.0, "source"), (0.0, "colour")])
def test_a_mask_of_one_keeps_the_source(mask, expected):
    named = {"source": torch.zeros(1, 3, 2, 2), "colour": torch.ones(1, 3, 2, 2)}
    blended = composite(named["source"], named["colour"], torch.full((1, 1, 2, 2), mask))
    assert torch.equal(blended, named[expected])


def tiny_batch(seed=0):
    return batch_of(images(2, 64), torch.full((2,), -1), 5 * SOURCE_AUS, seed)


def test_warm_steps_teach_both_networks_apart_and_then_the_official_steps_begin():
    model = GANimation(dataclasses.replace(TINY, warm_steps=30, critic_steps=1), 0, torch.device("cpu"))
    mask = model.generator.mask.weight.clone()
    seen = [model.update(tiny_batch(), step) for step in range(30)]
    assert all(set(terms) == {"critic/condition", "loss/cycle"} for terms in seen)
    assert seen[29]["critic/condition"] < seen[0]["critic/condition"]
    assert seen[29]["loss/cycle"] < seen[0]["loss/cycle"]
    assert torch.equal(mask, model.generator.mask.weight)  # the colour image alone is rebuilt
    assert {"critic/gradient_penalty", "loss/mask"} <= set(model.update(tiny_batch(), 30))


def test_the_critic_takes_two_steps_per_iteration_and_the_generator_one_in_five():
    model = GANimation(TINY, 0, torch.device("cpu"))
    for step in range(5):
        model.update(tiny_batch(), step)
    first = {name: next(iter(o.state.values()))["step"].item() for name, o in model.optimizers.items()}
    assert first == {"generator": 1, "critic": 10}


def test_the_penalty_step_moves_the_condition_head_by_its_moments_alone():
    model = GANimation(dataclasses.replace(TINY, weight_condition=0.0), 0, torch.device("cpu"))
    before = model.critic.condition.weight.clone()
    model.update(tiny_batch(), 0)
    assert torch.equal(before, model.critic.condition.weight)  # no loss, no moments, no movement


def test_the_edit_follows_the_aus_and_not_the_label():
    model, source = GANimation(TINY, 0, torch.device("cpu")), images(2, 64)

    def ask(aus, label):
        return model.edit(EditRequest(source, 0 * SOURCE_AUS, aus, torch.tensor([label, label]), source))

    assert torch.equal(ask(TARGET_AUS, 0), ask(TARGET_AUS, -1))
    assert not torch.equal(ask(5 * TARGET_AUS, 0), ask(5 * SOURCE_AUS, 0))


def test_convolutions_start_small_and_biases_at_zero():
    model = GANimation(GANimationConfig(image_size=64, width=16, critic_width=8), 0, torch.device("cpu"))
    weight = model.generator.trunk[0].weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert all(not p.any() for name, p in model.critic.named_parameters() if name.endswith("bias"))


def test_the_rate_falls_over_the_last_third():
    model = GANimation(TINY, 0, torch.device("cpu"))
    falling = []
    for factor in (1.0, 2 / 3, 1 / 3, 0.0):  # the loop's factor after 1/2, 2/3, 5/6 and all of the training
        model.set_learning_rate(factor)
        falling.append(model.optimizers["generator"].param_groups[0]["lr"])
    assert falling == pytest.approx([1e-4, 1e-4, 0.5e-4, 0])


def test_presets_parse():
    assert set(ENTRY.presets) == {"paper", "faithful", "cpu"}
    for preset in ENTRY.presets.values():
        assert from_dict(GANimationConfig, to_dict(preset)) == preset
