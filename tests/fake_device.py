"""A device that only pretends: a CPU/GPU mix or a host synchronisation fails on it, without a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import eggan.adam
import eggan.training
from eggan.data.training_set import Groups, TrainingSet

META = torch.device("meta")


def fake_to(self, device):
    for module in self.modules():
        for key, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[key] = nn.Parameter(parameter.detach().to(device), parameter.requires_grad)
        for key, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[key] = buffer.to(device)
    return self


def fake_deepcopy(self, memo):
    """Copy within the fake mode of the original, which a plain deepcopy would copy, too."""
    copied = self.detach().clone()
    return nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied


def new_tensor(self, values):
    """A copy of a tensor, or a list's numbers brought from the host."""
    return (
        values.to(self.device) if isinstance(values, torch.Tensor) else torch.tensor(values).to(self.device)
    )


class PlainAdam(torch.optim.Adam):
    """Adam without the fused kernel, which refuses the fake device: one call for all weights, as that one."""

    def __init__(self, parameters, fused, **options):
        assert fused
        super().__init__(parameters, foreach=True, **options)


def generator_on_meta(*key, device="cpu"):
    """The fake device has no generators of its own; what counts is that the step asked for one on this
    device.
    """
    assert device == META or key[0] != "step"
    return torch.Generator().manual_seed(0)


@contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fake tensors, modules that move by copying, and stand-ins for calls that fake tensors get wrong."""
    monkeypatch.setattr(nn.Module, "to", fake_to)
    monkeypatch.setattr(FakeTensor, "__deepcopy__", fake_deepcopy, raising=False)
    monkeypatch.setattr(torch.Tensor, "new_tensor", new_tensor)
    monkeypatch.setattr(eggan.adam, "Adam", PlainAdam)
    monkeypatch.setattr(torch, "autocast", lambda *_args, **_options: nullcontext())
    monkeypatch.setattr(eggan.training, "torch_generator", generator_on_meta)
    with FakeTensorMode():
        eggan.training._epoch_rows.cache_clear()
        yield
        eggan.training._epoch_rows.cache_clear()


def fake_data(size=64, grouped=False):
    count = 6
    pairs = Groups(*(torch.zeros(count, dtype=torch.int64, device=META) for _ in range(3)))
    return TrainingSet(
        images=torch.zeros(count, 3, size, size, dtype=torch.uint8, device=META),
        aus=torch.rand(count, 17, device=META),
        identity=torch.zeros(count, dtype=torch.int64, device=META),
        expression=torch.zeros(count, dtype=torch.int64, device=META),
        identities=3,
        groups=pairs if grouped else None,
    )


class NoUploads(TorchDispatchMode):
    """Fails where a tensor goes from the host to the device: a GPU's queue of work is waited for."""

    def __torch_dispatch__(self, kernel, types, args=(), kwargs=None):
        done = kernel(*args, **(kwargs or {}))
        name = kernel.name().partition(".")[0]
        if name in ("aten::_to_copy", "aten::copy_"):
            source = args[1] if name == "aten::copy_" else args[0]
            if source.device.type == "cpu" and done.device == META:
                raise AssertionError(f"{name} of {tuple(source.shape)} from the host to the device")
        return done
