"""Golden values: official modules of EnVision-Research/HomoInterpGAN at b32f4af (fill rule: filling.py)."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from baselines.homointerpgan import (
    ENTRY,
    Critic,
    Decoder,
    HomoInterpGAN,
    HomoInterpGANConfig,
    Interpolator,
    attribute_loss,
    build,
    soft_targets,
)
from baselines.vgg import VGGTrunk, folded_convolutions, from_imagenet, to_imagenet
from eggan import losses
from eggan.config import from_dict, to_dict
from eggan.errors import UserError
from eggan.method import EditRequest
from eggan.networks import CLASSIFIERS, Classifier, parameter_count
from tests.baselines.filling import agrees, batch_of, close, fill, filled, images, slope_norms
from tests.tiny import context, tiny_dataset

CELEBA = (2, 5, 4, 3, 1)
ROW = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
V = torch.stack([ROW, ROW.flip(0)])
SWAP = torch.tensor([1, 0])
COUNTING = torch.arange(15)
ATTRIBUTES = torch.stack([((COUNTING + b) % 2 == 0).float() for b in range(2)])  # (2, 15)
LABELS = ATTRIBUTES.split(CELEBA, dim=1)
TINY = HomoInterpGANConfig(image_size=64, width=1 / 32, encoder_init="he")


@pytest.fixture(scope="module")
def official() -> HomoInterpGAN:
    config = HomoInterpGANConfig(groups=CELEBA, strength=(1.0,) * 6)
    model = HomoInterpGAN(config, 0, torch.device("cpu"))
    for network in (*model.networks.values(), model.teacher, model.perceptual):
        fill(network)
    return model


@pytest.fixture(scope="module")
def features(official):
    with torch.no_grad():
        return official.encoder(images())


@pytest.fixture(scope="module")
def moved(official, features):
    with torch.no_grad():
        return official.interpolator(features, features[SWAP], V)


def test_parameter_counts(official):
    assert official.parameter_counts() == {
        "encoder": 12_944_960,
        "interpolator": 42_476_544,
        "decoder": 6_201_603,
        "critic": 2_562_575,
        "guidance": 262_656,
    }


@pytest.mark.parametrize("groups", [(8,), (1,) * 8])
def test_the_critics_parameters_depend_on_the_number_of_attributes_only(groups):
    config = HomoInterpGANConfig(groups=groups, strength=(1.0,) * (len(groups) + 1))
    assert parameter_count(Critic(config)) == 2_558_720 + 257 * 8


@pytest.mark.parametrize(("blocks", "mean", "std"), [(3, 0.370132, 0.592099), (4, 0.283465, 0.493395)])
def test_the_encoders_layers_agree(official, blocks, mean, std):
    with torch.no_grad():
        assert agrees(official.encoder.frozen_copy(blocks)(images()), mean, std)


def test_features_and_interpolated_features_agree(features, moved):
    assert features.shape == (2, 512, 8, 8)
    assert agrees(features, 0.390060, 0.722730)
    assert agrees(moved, 0.327101, 1.381000, (-0.19548, -0.64025, 0.36125))


def test_the_decoder_agrees_in_both_modes(official, features, moved):
    official.decoder.eval()
    with torch.no_grad():
        assert agrees(official.decoder(moved), 0.085719, 0.334515, (-0.07367, 0.03655, 0.03874))
        official.decoder.train()
        assert agrees(official.decoder(features), -0.025984, 0.673380)
    official.decoder.load_state_dict(fill(Decoder(official.config)).state_dict())


def test_the_decoders_losses_agree(official, features):
    official.decoder.train()
    with torch.no_grad():
        terms = official.decoder_terms(features, images(), official.perceptual(images()))
    assert close(terms["perceptual"], 0.255941)
    assert close(terms["reconstruction"], 0.788223)


def test_the_critics_losses_and_penalty_agree(official, features, moved):
    with torch.no_grad():
        assert agrees(official.critic(moved)[0], -0.008158, 1.345233)
    half = torch.full((2,), 0.5)
    terms = official.critic_terms(features, moved, LABELS, half)
    assert close(terms["critic/wasserstein"], 0.049750)
    assert close(terms["critic/class"], 15.13923)
    assert close(official.config.weight_gp * terms["critic/gradient_penalty"], 537_510)
    norms = slope_norms(lambda x: official.critic(x)[0], losses.interpolates(features, moved, half))
    assert norms == pytest.approx([85.28551, 61.38343], rel=1e-3)


def test_the_encoders_and_interpolators_losses_agree(official, features, moved):
    targets = soft_targets(LABELS, [label[SWAP] for label in LABELS], V)
    with torch.no_grad():
        wanted_features, teacher_features = official.perceptual(images()), official.teacher(images())
        terms = official.encoder_terms(
            features, moved, SWAP, targets, images(), wanted_features, teacher_features
        )
    assert close(terms["adversarial"], 0.008158)
    assert close(terms["class"], 14.34794)
    assert close(terms["homomorphic"], 3.879074)
    assert close(terms["guidance"], 1.810864)


def test_interpolation_is_affine_in_v_and_starts_at_the_source():
    network = Interpolator(8, 2)
    source, reference = filled(2, 8, 4, 4), filled(2, 8, 4, 4).flip(1)
    with torch.no_grad():
        at = [network(source, reference, torch.full((2, 2), v)) for v in (0.0, 0.5, 1.0, 2.0)]
        assert not torch.equal(network(source, source, torch.ones(2, 2)), source)  # the branches have biases
    assert torch.equal(at[0], source)
    assert torch.allclose(at[1], (at[0] + at[2]) / 2, atol=1e-6)
    assert torch.allclose(at[3] - at[0], 2 * (at[2] - at[0]), atol=1e-6)


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("block", [4, 5])
def test_critic_and_decoder_fit_every_size(size, block):
    config = dataclasses.replace(TINY, image_size=size, latent_block=block)
    with torch.no_grad():
        features = VGGTrunk(block, config.width)(torch.zeros(2, 3, size, size))
        assert features.shape[-1] == size // 2 ** (block - 1)
        scores, (logits,) = Critic(config)(features)
        assert Decoder(config)(features).shape == (2, 3, size, size)
    assert (tuple(scores.shape), tuple(logits.shape)) == ((2, 8), (2, 8))


def test_soft_targets_by_hand():
    labels, reference = [torch.tensor([[1.0, 0.0]])], [torch.tensor([[0.0, 1.0]])]
    (soft,) = soft_targets(labels, reference, torch.tensor([[0.25, 0.9]]))
    assert soft.tolist() == [[0.75, 0.25]]


def test_attribute_loss_sums_over_attributes_and_averages_over_the_batch():
    logits = [torch.zeros(4, 3), torch.zeros(4, 2)]
    assert attribute_loss(logits, [torch.zeros_like(x) for x in logits]).item() == pytest.approx(5 * 0.693147)


def tiny_batch(seed=0):
    return batch_of(images(2, 64), torch.tensor([5, 0]), torch.zeros(2, 17), seed)


def test_encoder_and_interpolator_move_at_every_fifth_step_only():
    model = HomoInterpGAN(TINY, 0, torch.device("cpu"))
    for step in range(7):
        last = {name: list(network.parameters())[-1] for name, network in model.networks.items()}
        before = {name: parameter.clone() for name, parameter in last.items()}
        terms = model.update(tiny_batch(step), step)
        changed = {name for name, parameter in last.items() if not torch.equal(before[name], parameter)}
        due = {"encoder", "interpolator"} if step in (0, 5) else set()
        assert changed == {"decoder", "critic", "guidance"} | due
        assert ("loss/homomorphic" in terms) == bool(due)


def test_the_first_steps_only_rebuild_and_teach_the_critic_labels_at_their_own_rate():
    config = dataclasses.replace(TINY, warm_steps=1, warm_learning_rate=3e-4)
    model = HomoInterpGAN(config, 0, torch.device("cpu"))
    before = {name: [p.clone() for p in network.parameters()] for name, network in model.networks.items()}
    model.set_learning_rate(1.0)
    model.update(tiny_batch(), 0)
    moves = {
        name: max((a - b).abs().max().item() for a, b in zip(before[name], network.parameters(), strict=True))
        for name, network in model.networks.items()
    }
    assert moves["interpolator"] == moves["guidance"] == 0
    # Adam's first step moves a parameter by the learning rate, whatever the gradient's size.
    assert [moves[name] for name in ("encoder", "decoder", "critic")] == pytest.approx([3e-4] * 3, rel=0.01)
    model.set_learning_rate(1.0)
    assert all(o.param_groups[0]["lr"] == config.learning_rate for o in model.optimizers.values())
    assert "loss/homomorphic" in model.update(tiny_batch(1), 5)


def test_the_decoder_and_guidance_use_adams_default_momentum():
    model = HomoInterpGAN(TINY, 0, torch.device("cpu"))
    beta1 = {name: optimizer.param_groups[0]["betas"][0] for name, optimizer in model.optimizers.items()}
    assert beta1 == {"encoder": 0.5, "interpolator": 0.5, "critic": 0.5, "decoder": 0.9, "guidance": 0.9}


def test_teacher_and_perceptual_network_stay_what_the_encoder_was():
    model = HomoInterpGAN(TINY, 0, torch.device("cpu"))
    start = [p.clone() for p in model.encoder.parameters()]
    model.update(tiny_batch(), 0)
    assert all(torch.equal(a, b) for a, b in zip(start, model.teacher.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(start, model.perceptual.parameters(), strict=False))
    assert not torch.equal(start[0], model.encoder.convs[0].weight)


def test_the_edit_follows_the_reference_and_leaves_the_decoder_in_its_mode():
    model, source = HomoInterpGAN(TINY, 0, torch.device("cpu")), images(2, 64)

    def ask(reference, aus):
        return model.edit(EditRequest(source, aus, aus, torch.tensor([1, -1]), reference))

    one = ask(source.flip(3), torch.zeros(2, 17))
    assert torch.equal(one, ask(source.flip(3), torch.ones(2, 17)))
    assert not torch.equal(one, ask(source.flip(2), torch.zeros(2, 17)))
    assert model.decoder.training
    statistics = model.decoder.layers[1].running_mean.clone()
    ask(source, torch.zeros(2, 17))
    assert torch.equal(statistics, model.decoder.layers[1].running_mean)


def test_image_ranges_round_trip():
    x = images(2, 8)
    assert torch.allclose(from_imagenet(to_imagenet(x)), x, atol=1e-5)
    white = to_imagenet(torch.ones(1, 3, 1, 1)).flatten().tolist()
    assert white == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])


def test_folding_keeps_the_classifiers_features():
    classifier = Classifier("vgg19", 1 / 16, 64, 3)
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.uniform_(module.bias, -1, 1)
    trunk = VGGTrunk(3, 1 / 16).start_from(folded_convolutions(classifier.eval()))
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(trunk(x), classifier.features(x, 3), atol=1e-4)


def test_the_trunk_takes_torchvisions_convolutions_in_order():
    counts, channels = CLASSIFIERS["vgg19"]
    trunk = VGGTrunk(5, 1.0)
    widths = [width for count, width in zip(counts, channels, strict=True) for _ in range(count)][:13]
    assert [conv.out_channels for conv in trunk.convs] == widths
    assert sorted(trunk.pool_before) == [2, 4, 8, 12]


def test_an_encoder_of_identities_sees_what_the_classifier_saw(tmp_path):
    dataset = tiny_dataset(tmp_path / "tiny")
    config = dataclasses.replace(TINY, encoder_init="identity_vgg19", identity_epochs=1)
    model = build(config, context(dataset, tmp_path))
    again = build(config, context(dataset, tmp_path))  # from the cache
    x = to_imagenet(images(2, 64))
    assert torch.equal(model.encoder(x), again.encoder(x))
    he = build(TINY, context(dataset, tmp_path))
    assert not torch.equal(model.encoder.convs[0].weight, he.encoder.convs[0].weight)
    assert len(list(tmp_path.glob("c_id-*.safetensors"))) == 1


def test_missing_imagenet_weights_are_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("EGGAN_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    dataset = tiny_dataset(tmp_path / "tiny")
    with pytest.raises(UserError, match=r"vgg19-dcbb9e9d.*, or set encoder_init=identity_vgg19 or he"):
        build(HomoInterpGANConfig(image_size=64), context(dataset, tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 96},
        {"image_size": 32},
        {"strength": (1.0,)},
        {"width": 0.5},
        {"latent_block": 3},
        {"warm_steps": -1},
    ],
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        HomoInterpGANConfig(**change)


def test_training_needs_the_eight_expressions(tmp_path):
    config = dataclasses.replace(TINY, groups=(2, 5), strength=(1.0, 1.0, 0.0))
    with pytest.raises(UserError, match="8 expressions"):
        build(config, context(tiny_dataset(tmp_path / "tiny"), tmp_path))


def test_presets_parse():
    assert set(ENTRY.presets) == {"paper", "faithful", "cpu"}
    assert ENTRY.presets["faithful"] == ENTRY.presets["paper"]  # every number is the official code's
    for preset in ENTRY.presets.values():
        assert from_dict(HomoInterpGANConfig, to_dict(preset)) == preset


def test_attribute_loss_is_the_sigmoid_cross_entropy():
    logits, target = filled(3, 2), torch.tensor([[1.0, 0.0]] * 3)
    direct = F.binary_cross_entropy(logits.sigmoid(), target, reduction="sum") / 3
    assert attribute_loss([logits], [target]).item() == pytest.approx(direct.item(), rel=1e-5)
