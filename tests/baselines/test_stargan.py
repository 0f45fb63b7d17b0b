"""Golden values: official modules of yunjey/stargan at 94dd002 (fill rule: filling.py)."""

import dataclasses
import math

import pytest
import torch

from baselines.stargan import ENTRY, Discriminator, StarGAN, StarGANConfig, StarGANGenerator, build, one_hot
from eggan import losses
from eggan.config import from_dict, to_dict
from eggan.errors import UserError
from eggan.method import EditRequest
from eggan.networks import parameter_count
from tests.baselines.filling import agrees, batch_of, close, fill, images, slope_norms
from tests.tiny import context, tiny_dataset

TARGET, SOURCE = torch.tensor([4, 6]), torch.tensor([5, 0])
TINY = StarGANConfig(image_size=64, width=4, residual_blocks=1, critic_width=2)


@pytest.fixture(scope="module")
def official() -> StarGAN:
    model = StarGAN(ENTRY.presets["faithful"], 0, torch.device("cpu"))
    fill(model.generator)
    fill(model.critic)
    return model


@pytest.fixture(scope="module")
def edit(official):
    with torch.no_grad():
        return official.generator(images(), one_hot(TARGET))


@pytest.mark.parametrize("domains", [2, 8])
def test_parameter_counts_follow_the_closed_forms(domains):
    assert parameter_count(StarGANGenerator(domains, 64, 6)) == 8_414_848 + 3_136 * domains


def test_parameter_counts_of_the_method(official):
    assert official.parameter_counts() == {"generator": 8_439_936, "critic": 44_786_624}


@pytest.mark.parametrize(("size", "patches"), [(64, 1), (128, 2), (256, 4)])
def test_the_critic_scores_patches_and_reads_one_condition(size, patches):
    scores, condition = Discriminator(8, 2, size)(torch.zeros(2, 3, size, size))
    assert (tuple(scores.shape), tuple(condition.shape)) == ((2, 1, patches, patches), (2, 8))


def test_the_generator_agrees_with_the_official_one(edit):
    assert agrees(edit, 0.066623, 0.571696, (0.13665, 0.26356, 0.15831))


def test_the_critic_agrees_with_the_official_one(official):
    with torch.no_grad():
        scores, logits = official.critic(images())
    golden = [-0.106927, -0.040218, -0.004409, 0.085755, -0.181901, 0.035208, 0.045775, 0.139745]
    assert scores.flatten().tolist() == pytest.approx(golden, rel=1e-3, abs=2e-5)
    assert agrees(logits, 0.038066, 0.301461, (0.25248, 0.18590, -0.30709))


def test_the_critics_losses_and_penalty_agree(official, edit):
    t = torch.full((2,), 0.75)
    norms = slope_norms(official.critic.scores, losses.interpolates(images(), edit, t))
    assert norms == pytest.approx([1.018315, 0.994102], rel=1e-3)
    terms = official.critic_terms(images(), SOURCE, edit, t)
    assert close(terms["critic/real"], 0.003371, 2e-5)
    assert close(terms["critic/fake"], -0.081992)
    assert close(terms["critic/class"], 1.988483)
    expected = sum((norm - 1) ** 2 for norm in norms) / 2
    assert terms["critic/gradient_penalty"].item() == pytest.approx(expected, rel=1e-3)


def test_the_generators_losses_agree(official, edit):
    with torch.no_grad():
        terms = official.generator_terms(images(), SOURCE, edit, TARGET)
    assert close(terms["adversarial"], 0.081992)
    assert close(terms["class"], 2.232298)
    assert close(terms["reconstruction"], 0.665001)


def tiny_batch(seed=0):
    return batch_of(images(2, 64), torch.tensor([5, 0]), torch.zeros(2, 17), seed)


def test_the_generator_moves_at_every_fifth_step_only():
    model = StarGAN(TINY, 0, torch.device("cpu"))
    for step in range(10):
        before = model.generator.image.weight.clone()
        terms = model.update(tiny_batch(), step)
        due = step in (4, 9)
        assert torch.equal(before, model.generator.image.weight) != due
        assert ("loss/class" in terms) == due


def test_warm_steps_teach_both_networks_apart_and_then_the_official_steps_begin():
    model = StarGAN(dataclasses.replace(TINY, warm_steps=30, critic_steps=1), 0, torch.device("cpu"))
    seen = [model.update(tiny_batch(), step) for step in range(31)]
    assert all(set(terms) == {"critic/class", "loss/reconstruction"} for terms in seen[:30])
    assert seen[29]["critic/class"] < seen[0]["critic/class"]
    assert seen[29]["loss/reconstruction"] < seen[0]["loss/reconstruction"]
    assert {"critic/gradient_penalty", "loss/class", "loss/adversarial"} <= set(seen[30])


def test_the_score_head_rests_in_warm_steps():
    model = StarGAN(dataclasses.replace(TINY, warm_steps=3), 0, torch.device("cpu"))
    score = model.critic.score.weight.clone()
    for step in range(4):
        assert torch.equal(score, model.critic.score.weight)
        model.update(tiny_batch(), step)
    assert not torch.equal(score, model.critic.score.weight)


def test_the_weighted_sum_is_what_descends():
    model = StarGAN(dataclasses.replace(TINY, critic_steps=1), 0, torch.device("cpu"))
    terms = model.update(tiny_batch(), 0)
    parts = [terms[f"loss/{n}"] * w for n, w in {"adversarial": 1, "class": 1, "reconstruction": 10}.items()]
    assert float(terms["loss/total"]) == pytest.approx(float(sum(parts)), rel=1e-5)


def test_the_edit_follows_the_label_and_not_the_aus():
    model = StarGAN(TINY, 0, torch.device("cpu"))
    source = images(2, 64)

    def ask(label, aus):
        return model.edit(EditRequest(source, aus, aus, torch.tensor([label, label]), source))

    assert torch.equal(ask(3, torch.zeros(2, 17)), ask(3, torch.ones(2, 17)))
    assert not torch.equal(ask(3, torch.zeros(2, 17)), ask(4, torch.zeros(2, 17)))


def test_a_target_without_a_label_is_refused():
    model, source = StarGAN(TINY, 0, torch.device("cpu")), images(2, 64)
    aus, labels = torch.zeros(2, 17), torch.tensor([1, -1])
    with pytest.raises(UserError, match="no label"):
        model.edit(EditRequest(source, aus, aus, labels, source))


def test_a_dataset_without_labels_is_refused(tmp_path):
    dataset = tiny_dataset(tmp_path / "tiny")
    unnamed = dataclasses.replace(dataset, manifest=dataset.manifest.assign(expression="grin"))
    with pytest.raises(UserError, match="none of neutral, angry"):
        build(TINY, context(unnamed, tmp_path))
    with pytest.raises(UserError, match="128 px"):
        build(StarGANConfig(), context(dataset, tmp_path))


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [("shared", {1.0: 1.0, 0.8: 0.8, 0.2: 0.2}), ("constant", {1.0: 1.0, 0.2: 1.0, 0.0: 0.0})],
)
def test_schedules(schedule, factors):
    model = StarGAN(dataclasses.replace(TINY, schedule=schedule), 0, torch.device("cpu"))
    for factor, expected in factors.items():
        model.set_learning_rate(factor)
        rates = [group["lr"] for o in model.optimizers.values() for group in o.param_groups]
        assert rates == pytest.approx([1e-4 * expected] * 2)


def test_presets_parse_and_faithful_is_the_official_code():
    for preset in ENTRY.presets.values():
        assert from_dict(StarGANConfig, to_dict(preset)) == preset
    faithful = ENTRY.presets["faithful"]
    assert (faithful.weight_class, faithful.weight_reconstruction, faithful.weight_gp) == (1, 10, 10)
    assert (faithful.critic_steps, faithful.learning_rate, faithful.beta1) == (5, 1e-4, 0.5)
    assert faithful.schedule == "constant"


@pytest.mark.parametrize("size", [32, 96, 100])
def test_sizes_that_the_critic_cannot_take_are_refused(size):
    with pytest.raises(ValueError, match="multiple of 64"):
        StarGANConfig(image_size=size)


def test_the_fill_rule_is_the_documented_one():
    first = images().flatten()[:4].tolist()
    assert first == pytest.approx([-0.99991, 0.02783, -0.94441, 0.08338], abs=5e-6)
    assert math.prod(images().shape) == 98_304
