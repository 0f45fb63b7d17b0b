"""A recorder without a GPU: it notes every kernel of a step and runs them again on the same memory.

As a CUDA graph it knows nothing of Python: a number that a step computed on the host stays what it was when
the step was recorded, and what is not among the kernels does not happen again.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from eggan.recorded_steps import Recording

UNDECLARED = ("running_mean", "running_var")  # BatchNorm's kernel writes these and does not say so


class Kernels(TorchDispatchMode):
    """Notes kernels with the very tensors that they read and wrote, and what was written over."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.before = {}

    def __torch_dispatch__(self, kernel, types, args=(), kwargs=None):
        self._keep(kernel, args)
        done = kernel(*args, **(kwargs or {}))
        self.calls.append((kernel, args, kwargs or {}, done))
        return done

    def _keep(self, kernel, args):
        for argument, given in zip(kernel._schema.arguments, args, strict=False):
            written = argument.alias_info is not None and argument.alias_info.is_write
            if (written or argument.name in UNDECLARED) and given is not None:
                for tensor in tree_leaves(given):
                    self.before.setdefault(tensor.data_ptr(), (tensor, tensor.detach().clone()))

    @torch.no_grad()
    def undo(self):
        for tensor, value in self.before.values():
            tensor.copy_(value)

    @torch.no_grad()
    def replay(self):
        for kernel, args, kwargs, done in self.calls:
            again = kernel(*args, **kwargs)
            for old, new in zip(tree_leaves(done), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def record_kernels(step, generator):
    """Record a step as a CUDA graph would: nothing that it does is done until it is replayed."""
    drawn, kernels = generator.get_state(), Kernels()
    with kernels:
        terms = step()
    kernels.undo()
    generator.set_state(drawn)
    return Recording(kernels.replay, terms)
