"""InstanceNorm, modulation, shortcut and PReLU in one operation: what torch's own operations give."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eggan import networks
from eggan.fused_norm import norm_prelu
from eggan.networks import UpBlock

CASES = [(3, 5, 6, True), (3, 5, 6, False), (2, 16, 4, True), (1, 1, 2, True), (5, 3, 8, False)]


def inputs(count: int, channels: int, side: int, with_half: bool) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    half = normal(count, channels, side // 2, side // 2) if with_half else None
    numbers = normal(count, channels), normal(count, channels), normal(channels)
    return [3 + 2 * normal(count, channels, side, side), half, *numbers]


def plain(x: Tensor, half: Tensor | None, gain: Tensor, shift: Tensor, slope: Tensor) -> Tensor:
    inner = F.instance_norm(x) * gain[:, :, None, None] + shift[:, :, None, None]
    if half is not None:
        inner = inner + F.interpolate(half, scale_factor=2.0)
    return torch.where(inner > 0, inner, inner * slope[:, None, None])


def results(function, parts: list[Tensor | None], dtype: torch.dtype) -> list[Tensor]:
    """Return the output and the gradients of a weighted sum of it, pictures being of a type."""
    leaves = [None if part is None else part.clone().requires_grad_(True) for part in parts]
    pictures = [None if part is None else part.to(dtype) for part in leaves[:2]]
    numbers = [part.to(dtype) if dtype == torch.float64 else part for part in leaves[2:]]
    y = function(*pictures, *numbers)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    (y.to(torch.float64) * weight).sum().backward()
    return [y.detach(), *(leaf.grad for leaf in leaves if leaf is not None)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("threads", [1, 2])
def test_values_and_gradients_are_those_of_torchs_operations(case, threads):
    parts, before = inputs(*case), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = results(norm_prelu, parts, torch.float32)
    finally:
        torch.set_num_threads(before)
    for ours, exact in zip(found, results(plain, parts, torch.float64), strict=True):
        torch.testing.assert_close(ours.double(), exact.double(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("case", CASES[:3])
def test_in_bf16_sums_are_float32_and_a_result_is_rounded_once(case):
    parts = inputs(*case)
    parts[:2] = [None if part is None else part.bfloat16().float() for part in parts[:2]]
    found = results(norm_prelu, parts, torch.bfloat16)
    assert found[0].dtype == torch.bfloat16
    exact = results(plain, parts, torch.float64)
    torch.testing.assert_close(found[0].double(), exact[0], rtol=2**-8, atol=1e-6)
    for ours, wanted in zip(found[1:], exact[1:], strict=True):
        assert (ours - wanted).norm() <= 0.01 * wanted.norm()  # the gradient that comes in was rounded, too


def test_a_small_spread_about_a_large_mean_is_kept():
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)) * 0.01 + 100
    ones, zeros = torch.ones(2, 4), torch.zeros(2, 4)
    found = norm_prelu(x.requires_grad_(True), None, ones, zeros, torch.ones(4))
    torch.testing.assert_close(found.double(), F.instance_norm(x.double()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_hidden(dtype, value):
    x = torch.zeros(1, 2, 4, 4, dtype=dtype)
    x[0, 1, 2, 2] = value
    ones = torch.ones(1, 2)
    y = norm_prelu(x.requires_grad_(True), None, ones, ones, ones[0])
    assert y[0, 1].isnan().all()
    assert y[0, 0].isfinite().all()
    y.sum().backward()
    assert x.grad[0, 1].isnan().all()


def test_threads_change_no_bit():
    parts, before, found = inputs(5, 8, 8, True), torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(results(norm_prelu, parts, torch.float32))
    torch.set_num_threads(before)
    for several in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], several, strict=True))


@pytest.mark.parametrize("conditioning", ["film", "concat"])
def test_a_block_trains_as_it_does_without(conditioning, monkeypatch):
    torch.manual_seed(0)
    block = UpBlock(6, 4, 7, conditioning)
    x, condition = torch.randn(3, 6, 4, 4), torch.randn(3, 7)
    found = []
    for fused in (True, False):
        monkeypatch.setattr(networks, "_trains_on_a_cpu", lambda x, fused=fused: fused)
        block.zero_grad()
        y = block(x, condition)
        y.square().sum().backward()
        assert ("NormPReLU" in type(y.grad_fn).__name__) == fused
        found.append([y.detach(), *(weight.grad for weight in block.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_training_on_a_cpu_takes_it_alone(monkeypatch):
    """Not an edit, another type, another device, or a network that is written to a file."""
    taken = []
    monkeypatch.setattr("eggan.fused_norm.norm_prelu", lambda x, *_: taken.append(x.dtype) or x)
    torch.manual_seed(0)
    block, x, condition = UpBlock(3, 3, 5, "film"), torch.zeros(1, 3, 2, 2), torch.zeros(1, 5)
    with torch.no_grad():
        block(x, condition)
    torch.export.export(block, (x, condition))
    block.double()(x.double(), condition.double())
    block.to("meta")(x.double().to("meta"), condition.double().to("meta"))
    assert not taken
    UpBlock(3, 3, 5, "film")(x, condition)
    assert taken == [torch.float32] * 2


def test_what_is_given_need_not_be_writeable(monkeypatch):
    """As numpy has it before 2.1."""
    real = np.from_dlpack

    def read_only(values: Tensor) -> np.ndarray:
        array = real(values)
        array.flags.writeable = False
        return array

    parts = inputs(2, 16, 4, True)
    wanted = results(norm_prelu, parts, torch.float32)
    monkeypatch.setattr(np, "from_dlpack", read_only)
    found = results(norm_prelu, parts, torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))


def test_a_second_derivative_is_refused():
    x, ones = torch.randn(1, 2, 4, 4, requires_grad=True), torch.ones(1, 2)
    y = norm_prelu(x, None, ones, ones, ones[0])
    (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
