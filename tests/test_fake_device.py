"""The whole training step on a fake device: a CPU/GPU mix or a host synchronisation fails here, without a
GPU.
"""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import eggan.training
from eggan.data.training_set import TrainingSet
from eggan.model import EGGAN
from eggan.networks import Classifier, ClassifierFeatures
from eggan.training import TrainingConfig, make_batch
from tests.tiny import narrow_config

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


class PlainAdam(torch.optim.Adam):
    """Adam without the fused kernel, which refuses the fake device."""

    def __init__(self, parameters, fused, **options):
        assert fused
        super().__init__(parameters, **options)


def generator_on_meta(*key, device="cpu"):
    """The fake device has no generators of its own; what counts is that the step asked for one on this
    device.
    """
    assert device == META or key[0] != "step"
    return torch.Generator().manual_seed(0)


@pytest.fixture
def fake(monkeypatch) -> Iterator[None]:
    """Fake tensors, modules that move by copying, and stand-ins for calls that fake tensors get wrong."""
    monkeypatch.setattr(nn.Module, "to", fake_to)
    monkeypatch.setattr(torch.Tensor, "new_tensor", lambda self, values: torch.tensor(values).to(self.device))
    monkeypatch.setattr(torch.optim, "Adam", PlainAdam)
    monkeypatch.setattr(torch, "autocast", lambda *_args, **_options: nullcontext())
    monkeypatch.setattr(eggan.training, "torch_generator", generator_on_meta)
    with FakeTensorMode():
        eggan.training._epoch_rows.cache_clear()
        yield
        eggan.training._epoch_rows.cache_clear()


def fake_data(size=64):
    count = 6
    return TrainingSet(
        images=torch.zeros(count, 3, size, size, dtype=torch.uint8, device=META),
        aus=torch.rand(count, 17, device=META),
        identity=torch.zeros(count, dtype=torch.int64, device=META),
        expression=torch.zeros(count, dtype=torch.int64, device=META),
        identities=3,
    )


READINGS = [
    {},
    {"latent_adversary": "wgan_gp", "gp_at": "real", "conditioning": "concat", "cexp_augment": "none"},
    {"latent_noise": 0.1, "ema_decay": 0.9, "critic_steps": 2, "perceptual_norm": "l2"},
]


@pytest.mark.parametrize("reading", READINGS)
def test_the_training_step_stays_on_its_device_and_never_waits_for_it(fake, reading):
    config = narrow_config(**reading)
    c_id = Classifier(config.classifier, config.classifier_width, 64, 3).to(META).requires_grad_(False)
    model = EGGAN(config, 0, META, c_id, ClassifierFeatures(c_id, 3))
    training = TrainingConfig(batch_size=4, horizontal_flip=True)
    for step in range(2):
        terms = model.update(make_batch(fake_data(), training, 0, step), step)
        model.set_learning_rate(0.5)
    assert {term.device.type for term in terms.values()} == {"meta"}


def test_the_fake_device_catches_a_mix_and_a_host_synchronisation(fake):
    image = torch.rand(2, 3, device=META)
    with pytest.raises(Exception, match="device"):
        torch.rand(2, 1) * image
    with pytest.raises(Exception, match="local_scalar_dense"):
        float(image.mean())
