"""Inception-v3 features for KID, where the ImageNet weights are at hand; nothing is ever downloaded."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.scores import images_of
from eggan.errors import UserError
from eggan.weights import DOWNLOAD_URL, find_weights, require_weights

FILE = "inception_v3_google-0cc3c7bd.pth"
SIDE = 299
BATCH = 16
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@lru_cache(maxsize=1)
def missing() -> str | None:
    """Return why KID cannot be measured here, None when the weights are there and are the right ones."""
    if find_weights(FILE) is None:
        return f"weights missing: {FILE} (`eggan doctor` says where it is looked for)"
    try:
        require_weights(FILE, DOWNLOAD_URL, "do without KID")
    except UserError:
        return f"weights wrong: the sha256 of {FILE} differs from its name"
    return None


@lru_cache(maxsize=1)
def _network() -> nn.Module:
    from torchvision.models import inception_v3

    path = require_weights(FILE, DOWNLOAD_URL, "do without KID")
    network = inception_v3(weights=None, init_weights=False, transform_input=False)
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    network.fc = nn.Identity()
    return network.eval().requires_grad_(False)


def prepare(images: Tensor) -> Tensor:
    """Resize images (B, 3, H, W) in [-1, 1] to 299 px and normalise them as torchvision's weights expect."""
    large = nn.functional.interpolate(images, size=(SIDE, SIDE), mode="bilinear", antialias=True)
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    return ((large + 1) / 2 - mean) / std


def features(images: np.ndarray, device: str) -> np.ndarray:
    """Return pooled features (N, 2048) of uint8 images (N, H, W, 3)."""
    network = _network().to(device)
    parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    with torch.no_grad():
        return np.concatenate([network(prepare(images_of(part, device))).cpu().numpy() for part in parts])
