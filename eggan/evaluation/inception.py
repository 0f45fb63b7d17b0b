"""The Inception features of KID: torch-fidelity's port of the network that FID and KID were published with.

torchvision's Inception has other weights and another input, so its distances are not KID. Nothing is ever
downloaded: the weights are looked for and verified like every published file.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from eggan.progress import progress_bar
from eggan.published_weights import INCEPTION_FILE, INCEPTION_URL, require_weights, weights_missing

LAYER = "2048"  # the pooled features, those of FID and KID
BATCH = 16


def missing() -> str | None:
    """Return why KID cannot be measured here, None when the weights are there and are the right ones."""
    return weights_missing(INCEPTION_FILE)


@lru_cache(maxsize=1)
def _network(path: Path) -> nn.Module:
    """Return the extractor with the weights of a verified file.

    It would load the file as a pickle of anything, or download it: it is given a copy of the tensors alone.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    copy = io.BytesIO()
    torch.save(torch.load(path, weights_only=True, map_location="cpu"), copy)
    copy.seek(0)
    return FeatureExtractorInceptionV3("inception-v3-compat", [LAYER], feature_extractor_weights_path=copy)


def features(images: np.ndarray, device: str, progress: Callable[..., Any] = progress_bar) -> np.ndarray:
    """Return pooled features (N, 2048) of uint8 images (N, H, W, 3); the network resizes them itself."""
    network = _network(require_weights(INCEPTION_FILE, INCEPTION_URL, "do without KID")).to(device)
    found = []
    with torch.no_grad():
        starts = range(0, len(images), BATCH)
        for start in progress(starts, len(starts), "Inception features"):
            part = torch.from_numpy(np.array(images[start : start + BATCH])).permute(0, 3, 1, 2)
            found.append(network(part.to(device))[0].cpu().numpy())
    return np.concatenate(found)
