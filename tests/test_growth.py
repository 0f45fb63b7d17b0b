"""EGGAN-W's weights at twice the size, and with more channels: at first the edits stay."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from eggan.growth import grown
from eggan.method import EditRequest
from eggan.warp import EGGANW, Editor, WarpConfig, compose, grow

CONFIG = WarpConfig(
    image_size=32, reduction=2, channels=(6, 8), blocks=1, detail_channels=5, embedding=4, disturb_share=0.0
)
LARGE = replace(CONFIG, image_size=64, reduction=4)


def shaken(config=CONFIG) -> Editor:
    """An editor in which no layer is zero, so that every one shows."""
    editor = Editor(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in editor.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return editor


def enlarged(image):
    return F.interpolate(image, scale_factor=2.0, mode="nearest")


@torch.no_grad()
def test_a_grown_network_gives_the_small_ones_flow_and_features_to_each_of_2_by_2_pixels():
    small, large = shaken(), Editor(LARGE)
    large.load_state_dict(grown(small.state_dict(), CONFIG.reduction))
    picture = torch.rand(2, 3, 64, 64) * 2 - 1  # its 2 x 2 pixels differ: the grown network sees their mean
    aus = torch.rand(2, 17) * 5
    seen = {}
    for name, network in (("small", small), ("large", large)):
        network.finish.features.register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.__setitem__(name, output)
        )
    before, after = small(F.avg_pool2d(picture, 2), aus), large(picture, aus)
    assert before.flow.abs().max() > 0.01
    assert torch.allclose(enlarged(before.flow), after.flow, atol=1e-6)
    features = (F.pixel_shuffle(seen[name], r) for name, r in (("small", 2), ("large", 4)))
    assert torch.allclose(enlarged(next(features)), next(features), atol=1e-5)


@pytest.mark.parametrize("without", ["flow", "colour"])
def test_ablations_grow_too(without):
    config = replace(CONFIG, **{without: False})
    large = Editor(replace(LARGE, **{without: False}))
    large.load_state_dict(grown(shaken(config).state_dict(), config.reduction))


@torch.no_grad()
@pytest.mark.parametrize("base", [CONFIG, LARGE], ids=["of the same size", "of twice the size"])
@pytest.mark.parametrize("channels", [(10, 12), (6, 9)])
def test_a_widened_network_edits_as_the_narrow_one(base, channels):
    small, config = shaken(), replace(base, channels=channels)
    large = Editor(config)
    large.load_state_dict(grow(small.state_dict(), CONFIG, config))
    picture, aus = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 17) * 5
    before = small(picture, aus)
    if base is CONFIG:
        after = large(picture, aus)
        assert torch.allclose(before.flow, after.flow, atol=1e-5)
        assert torch.allclose(compose(before), compose(after), atol=1e-5)
    else:
        assert torch.allclose(enlarged(before.flow), large(enlarged(picture), aus).flow, atol=1e-5)


def test_the_further_channels_of_a_widened_network_learn():
    config = replace(CONFIG, channels=(10, 12))
    large = Editor(config)
    large.load_state_dict(grow(shaken().state_dict(), CONFIG, config))
    compose(large(torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 17) * 5)).square().sum().backward()
    for name in ("flow.weight", "finish.features.weight", "seen.weight", "up.0.0.first.weight"):
        gradient = large.get_parameter(name).grad[:, 6:]
        assert gradient.abs().transpose(0, 1).flatten(1).amax(1).min() > 0


@pytest.mark.parametrize(
    "other",
    [
        {"channels": (10, 7)},
        {"channels": (10, 12, 14)},
        {"channels": (10, 12), "embedding": 5},
        {"channels": (10, 12), "reduction": 4},
    ],
)
def test_networks_that_differ_otherwise_are_not_widened(other):
    weights = Editor(CONFIG).state_dict()
    assert grow(weights, CONFIG, replace(CONFIG, **other)) is weights


def test_only_twice_the_size_is_grown():
    weights = Editor(CONFIG).state_dict()
    assert grow(weights, CONFIG, LARGE).keys() == weights.keys()
    assert grow(weights, CONFIG, LARGE)["stem.weight"].shape[1] == 3 * 16
    for other in (CONFIG, replace(CONFIG, image_size=64), replace(CONFIG, image_size=128, reduction=8)):
        assert grow(weights, CONFIG, other) is weights


def test_grown_untrained_weights_still_edit_nothing():
    small = EGGANW(CONFIG, 0, torch.device("cpu"))
    large = EGGANW(LARGE, 1, torch.device("cpu"))
    large.load_inference_weights(grow(small.inference_weights(), CONFIG, LARGE))
    source, aus = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 17) * 5
    edit = large.edit(EditRequest(source, aus, aus, torch.full((2,), -1), source))
    assert torch.allclose(edit, source, atol=1e-5)
