"""The fill rule behind the golden values: deterministic weights and inputs without a random generator."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from eggan.method import Batch

PERIOD = 46_341  # of the rule; so many elements at a time stay in a core's cache, too
FIRST_PERIOD = 1103515245 * np.arange(PERIOD) + 12345 * np.arange(PERIOD) ** 2
RELATIVE = 1e-3  # the golden values are float32 results of another build of torch


def fill_values(count: int) -> np.ndarray:
    """Return the rule's u for element 0 .. count - 1 of a tensor of `count` elements: float64 in [-1, 1).

    u = 2 (h mod 2^31) / 2^31 - 1 with h = 1103515245 i + 12345 (i mod PERIOD)^2 + count of element i.
    """
    values = np.empty(count)
    for start in range(0, count, PERIOD):
        part = values[start : start + PERIOD]
        hashed = FIRST_PERIOD[: len(part)] + (1103515245 * start + count)
        np.multiply(hashed & (2**31 - 1), 2.0**-30, out=part)
        part -= 1
    return values


def filled(*shape: int) -> Tensor:
    """Return a float32 tensor of u."""
    return torch.from_numpy(fill_values(math.prod(shape)).astype(np.float32)).view(*shape)


@torch.no_grad()
def fill(network: nn.Module) -> nn.Module:
    """Set every parameter by the rule and return the network; buffers keep their defaults."""
    for name, parameter in network.named_parameters():
        u = fill_values(parameter.numel())
        if parameter.dim() > 1:
            u *= math.sqrt(6 / (parameter.numel() / parameter.shape[0]))
        else:
            u = 0.1 * u if name.endswith("bias") else 1 + 0.1 * u
        parameter.copy_(torch.from_numpy(u.astype(np.float32)).view_as(parameter))
    return network


def images(batch: int = 2, size: int = 128) -> Tensor:
    """Return the rule's image batch (batch, 3, size, size)."""
    return filled(batch, 3, size, size)


def close(value: float | Tensor, golden: float, absolute: float = 0.0) -> bool:
    """Return whether a value agrees with a golden one."""
    return math.isclose(float(torch.as_tensor(value).detach()), golden, rel_tol=RELATIVE, abs_tol=absolute)


def agrees(tensor: Tensor, mean: float, std: float, first: tuple[float, ...] = ()) -> bool:
    """Return whether mean, population standard deviation and first elements agree with golden ones."""
    spread = tensor.std(correction=0)
    starts = [close(a, b, 2e-5) for a, b in zip(tensor.flatten().tolist(), first, strict=False)]
    return close(tensor.mean(), mean, RELATIVE * std / 10) and close(spread, std) and all(starts)


def slope_norms(critic, points: Tensor) -> list[float]:
    """Return the L2 norm per sample of the gradient of the summed outputs at `points`."""
    at = points.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(at).sum(), at)
    return slope.flatten(1).norm(dim=1).tolist()


def batch_of(image: Tensor, expression: Tensor, aus: Tensor, seed: int = 0) -> Batch:
    """Return a batch whose targets are the same faces in reverse order."""
    return Batch(
        image=image,
        aus=aus,
        identity=torch.arange(len(image)),
        expression=expression,
        target_image=image.flip(0),
        target_aus=aus.flip(0),
        target_expression=expression.flip(0),
        generator=torch.Generator().manual_seed(seed),
    )
