"""Small stand-ins for tests: a dataset that is drawn in milliseconds and a narrow EGGAN."""

from dataclasses import replace
from pathlib import Path

import torch

from eggan.conformance.faces import drawn_faces as tiny_dataset
from eggan.data.dataset import Dataset
from eggan.method import BuildContext
from eggan.model_config import EGGANConfig, quick_preset

__all__ = ["context", "narrow_config", "tiny_dataset"]


def narrow_config(**changes) -> EGGANConfig:
    """An EGGAN of a few ten thousand parameters at 64 px."""
    base = replace(
        quick_preset(),
        latent_dim=16,
        encoder_channels=(4, 8, 8, 16, 16),
        generator_channels=(16, 16, 8, 8, 8, 4),
        latent_critic_widths=(8, 8, 8, 8, 8, 1),
        image_critic_channels=(4, 8, 8, 8, 8, 1),
        classifier_width=0.25,
        cid_epochs=2,
        cexp_warm_steps=0,
        rec_warm_steps=0,
        latent_adversary="log",
        ema_decay=0.0,
        pretraining_batch_size=4,
    )
    return replace(base, **changes)


def context(dataset: Dataset, cache: Path, seed: int = 0, device: str = "cpu") -> BuildContext:
    return BuildContext(
        dataset=dataset,
        seed=seed,
        device=torch.device(device),
        cache=cache,
        progress=lambda items, total, description: items,
    )
