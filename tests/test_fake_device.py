"""The whole training step on a fake device: a CPU/GPU mix or a host synchronisation fails here, without a
GPU.
"""

import pytest
import torch

from eggan.model import EGGAN
from eggan.networks import Classifier, ClassifierFeatures
from eggan.training import TrainingConfig, make_batch
from tests.fake_device import META, NoUploads, fake_data
from tests.tiny import narrow_config

READINGS = [  # beside the usual one, whose step tests/test_conformance.py takes for every method
    {"latent_adversary": "wgan_gp", "gp_at": "real", "conditioning": "concat", "cexp_augment": "none"},
    {"rec_warm_steps": 1, "latent_noise": 0.1, "ema_decay": 0.9, "critic_steps": 2, "perceptual_norm": "l2"},
]


@pytest.mark.parametrize("reading", READINGS)
def test_the_training_step_stays_on_its_device_and_never_waits_for_it(fake, reading):
    config = narrow_config(**reading)
    c_id = Classifier(config.classifier, config.classifier_width, 64, 3).to(META).requires_grad_(False)
    model = EGGAN(config, 0, META, c_id, ClassifierFeatures(c_id, 3))
    training = TrainingConfig(batch_size=4, horizontal_flip=True)
    for step in range(2):
        batch = make_batch(fake_data(), training, 0, step)
        with NoUploads():
            terms = model.update(batch, step)
        model.set_learning_rate(0.5)
    assert {term.device.type for term in terms.values()} == {"meta"}


def test_the_fake_device_catches_a_mix_and_a_host_synchronisation(fake):
    image = torch.rand(2, 3, device=META)
    with pytest.raises(Exception, match="device"):
        torch.rand(2, 1) * image
    with pytest.raises(Exception, match="local_scalar_dense"):
        float(image.mean())
    with pytest.raises(AssertionError, match=r"_to_copy of \(2,\) from the host to the device"), NoUploads():
        torch.tensor([1.0, 2.0]).to(META)
    with NoUploads():
        assert (image * 2.0).to(torch.float64).shape == image.shape
