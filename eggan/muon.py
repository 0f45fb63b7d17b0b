"""Muon: weights of inner convolutions step along their momentum, its singular values all brought to about 1.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the size of a step is that of
Adam's, Liu et al. 2025, "Muon is scalable for LLM training", Eq. 4. Torch's own takes matrices alone, and
its learning rate must lie on the host, which a recorded step cannot read.
"""

import inspect
from collections.abc import Iterable
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

MOMENTUM = 0.95  # Jordan et al.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al.: a steep start, so that five rounds do
ROUNDS = 5
STEP_SIZE = 0.2  # Liu et al.: the root mean square of a step of Adam's, in learning rates


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices (N, M, K) with their singular vectors and singular values between about 0.7 and 1.2.

    Newton-Schulz, in autocast's precision where that is on, which is enough. 0 stays 0.
    """
    device = matrices.device.type
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))  # at once: no casts between products and sums
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(Optimizer):
    """Steps weights (out, in, ...) as matrices (out, the rest); those of one shape together."""

    # torch wraps these for its compiler alone, whose import takes two seconds
    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)

    def __init__(self, weights: Iterable[nn.Parameter], lr: float) -> None:
        """Take `weights` of two or more dimensions and their learning rate."""
        super().__init__(sorted(weights, key=_shape), {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step on the gradients, which all weights must have."""
        for group in self.param_groups:
            for (rows, columns), alike in groupby(group["params"], key=_shape):
                weights: list[Tensor] = list(alike)
                ahead = [self._looked_ahead(weight).reshape(rows, columns) for weight in weights]
                steps = orthogonal(torch.stack(ahead)) * (STEP_SIZE * max(rows, columns) ** 0.5)
                for weight, step in zip(weights, (group["lr"] * steps).unbind(), strict=True):
                    weight.sub_(step.view(weight.shape))

    def _looked_ahead(self, weight: Tensor) -> Tensor:
        """Return the gradient and the momentum (Nesterov's), which the gradient has joined."""
        if not self.state[weight]:
            self.state[weight]["momentum"] = torch.zeros_like(weight)
        momentum = self.state[weight]["momentum"]
        momentum.mul_(MOMENTUM).add_(weight.grad)
        return weight.grad + MOMENTUM * momentum


def _shape(weight: Tensor) -> tuple[int, int]:
    return weight.shape[0], weight[0].numel()
