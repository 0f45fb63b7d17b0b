"""Pictures as networks see them: the range of their values."""

import torch
from torch import Tensor


def to_network_range(images: Tensor) -> Tensor:
    """Convert uint8 images (B, 3, H, W) to float32 in [-1, 1]."""
    return images.float().div(127.5).sub(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Convert images in [-1, 1] to uint8, rounding to the nearest level."""
    return images.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
