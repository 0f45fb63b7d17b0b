"""Torch's Adam, without torch's compiler, which its methods import: two seconds of every training's start."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer


class Adam(torch.optim.Adam):
    """`torch.optim.Adam`, whose steps and states are the same; what it does cannot be compiled.

    Torch wraps the methods below for its compiler alone. They are what it wraps.
    """

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step, without a graph of it."""
        return _step(self, closure)


_step = inspect.unwrap(torch.optim.Adam.step)
