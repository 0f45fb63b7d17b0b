"""Inception-v3 features for KID, where the ImageNet weights are at hand; nothing is ever downloaded."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.scores import images_of
from eggan.weights import DOWNLOAD_URL, INCEPTION_FILE, require_weights, weights_missing

SIDE = 299
BATCH = 16


def missing() -> str | None:
    """Return why KID cannot be measured here, None when the weights are there and are the right ones."""
    return weights_missing(INCEPTION_FILE)


@lru_cache(maxsize=1)
def _network(path: Path) -> nn.Module:
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, init_weights=False, transform_input=False)
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    network.fc = nn.Identity()
    return network.eval().requires_grad_(False)


def prepare(images: Tensor) -> Tensor:
    """Resize images (B, 3, H, W) in [-1, 1] to 299 px; these weights learnt from images in [-1, 1].

    torchvision's own path to the same input is ImageNet's normalisation, which `transform_input` undoes.
    """
    return nn.functional.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True)


def features(images: np.ndarray, device: str) -> np.ndarray:
    """Return pooled features (N, 2048) of uint8 images (N, H, W, 3)."""
    network = _network(require_weights(INCEPTION_FILE, DOWNLOAD_URL, "do without KID")).to(device)
    parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    with torch.no_grad():
        return np.concatenate([network(prepare(images_of(part, device))).cpu().numpy() for part in parts])
