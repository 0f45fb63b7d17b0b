"""Convolutions as matrix products: same results, gradients and penalties, and only where they pay."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eggan import networks
from eggan.losses import gradient_penalty
from eggan.model import ENTRY
from eggan.networks import Encoder, Generator, ProductConv2d, ProductConvTranspose2d
from tests.operations import Operations

SHAPES = [
    (3, 5, 4, 2, 1, True, 6),
    (4, 2, 3, 1, 1, False, 5),
    (2, 3, 2, 1, 0, True, 2),
    (3, 4, 5, 3, 2, True, 9),
]


def pair(before, after, size, stride, padding, bias, dtype=torch.float64) -> tuple[nn.Conv2d, nn.Conv2d]:
    generator = torch.Generator().manual_seed(1)
    plain = nn.Conv2d(before, after, size, stride, padding, bias=bias, dtype=dtype)
    for parameter in plain.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=dtype)
    product = ProductConv2d(before, after, size, stride, padding, bias=bias, dtype=dtype)
    product.load_state_dict(plain.state_dict())
    return plain, product


@pytest.fixture
def products(monkeypatch) -> list:
    """Compute products at any size, and record them."""
    monkeypatch.setattr(networks, "LEAST_WEIGHTS", 1)
    monkeypatch.setattr(networks, "MOST_OF_ONE", 256)
    return recorded(monkeypatch)


def recorded(monkeypatch) -> list:
    """Record of what grids products are made."""
    made = []
    real = networks._seen
    monkeypatch.setattr(networks, "_seen", lambda grid, *own: made.append(tuple(grid)) or real(grid, *own))
    return made


@pytest.mark.parametrize("shape", SHAPES)
def test_results_gradients_and_penalties_are_those_of_the_convolution(shape, products):
    *settings, side = shape
    images = torch.randn(3, settings[0], side, side, generator=torch.Generator().manual_seed(2)).double()
    found = []
    for layer in pair(*settings):
        x = images.clone().requires_grad_(True)
        out = layer(x)
        penalty = gradient_penalty(lambda at, layer=layer: F.leaky_relu(layer(at)).flatten(1).sum(1), images)
        (out.square().sum() + penalty).backward()
        found.append([out.detach(), penalty.detach(), x.grad, *(own.grad for own in layer.parameters())])
    assert products
    for plain, product in zip(*found, strict=True):
        torch.testing.assert_close(product, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "stride", "padding", "bias", "side"),
    [(4, 2, 1, True, 1), (4, 2, 1, False, 3), (3, 1, 0, True, 2)],
)
def test_a_transposed_convolution_is_a_product_too(size, stride, padding, bias, side, products):
    generator = torch.Generator().manual_seed(1)
    layers = [
        kind(3, 5, size, stride, padding, bias=bias, dtype=torch.float64)
        for kind in (nn.ConvTranspose2d, ProductConvTranspose2d)
    ]
    layers[1].load_state_dict(layers[0].state_dict())
    images = torch.randn(2, 3, side, side, generator=generator, dtype=torch.float64)
    found = []
    for layer in layers:
        x = images.clone().requires_grad_(True)
        out = layer(x)
        out.square().sum().backward()
        found.append([out.detach(), x.grad, *(own.grad for own in layer.parameters())])
    assert products
    for plain, product in zip(*found, strict=True):
        torch.testing.assert_close(product, plain, rtol=1e-9, atol=1e-12)


def test_the_first_layers_of_a_generator_and_the_last_of_an_encoder_are_products(monkeypatch):
    """Of the preset `cpu`; at more places they are not, nor in an exported file, which takes any batch."""
    made = recorded(monkeypatch)
    config = ENTRY.presets["cpu"]
    encoder = Encoder(64, config.encoder_channels, config.latent_dim)
    generator = Generator(64, config.latent_dim, config.generator_channels, config.conditioning)
    with torch.no_grad():
        codes = encoder(torch.zeros(16, 3, 64, 64))
        generator(codes, torch.zeros(16, 17))
    assert made == [(4, 4), (2, 2), (2, 2), (4, 4)]
    made.clear()
    with torch.no_grad():
        generator(encoder(torch.zeros(300, 3, 64, 64)), torch.zeros(300, 17))
    assert not made
    torch.export.export(encoder, (torch.zeros(2, 3, 64, 64),))
    assert not made


def test_under_autocast_the_result_has_the_type_of_a_convolution(products):
    plain, product = pair(3, 5, 4, 2, 1, True, torch.float32)
    images = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", torch.bfloat16):
        wanted, found = plain(images), product(images)
    assert products
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=0.05, atol=0.1)


@pytest.mark.parametrize(
    ("batch", "side", "channels", "pays"),
    [(8, 4, 256, True), (80, 4, 256, False), (8, 4, 128, False), (4, 8, 256, True), (1, 10, 256, False)],
)
def test_a_product_is_made_where_outputs_are_few_and_weights_many(batch, side, channels, pays, monkeypatch):
    made = recorded(monkeypatch)
    layer = ProductConv2d(channels, channels, 4, 2, 1)
    assert layer(torch.zeros(batch, channels, side, side)).shape == (batch, channels, side // 2, side // 2)
    assert bool(made) == pays


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("kind", [ProductConv2d, ProductConvTranspose2d])
def test_a_batch_is_one_product_though_its_weights_be_frozen(kind, trainable, products):
    """Torch would multiply picture by picture, each with a copy of the weight: thirty times the time."""
    layer = kind(3, 5, 4, 2, 1).requires_grad_(trainable)
    with Operations() as computed:
        gradient_penalty(lambda at: layer(at).square().flatten(1).sum(1), torch.randn(4, 3, 6, 6))
        layer(torch.randn(4, 3, 6, 6, requires_grad=True)).square().sum().backward()
        with torch.no_grad():
            layer(torch.randn(4, 3, 6, 6))
    assert "bmm" not in computed.names
    assert {"mm", "addmm"} & set(computed.names)
