"""Augmentation of instrument training images: none changes an AU label (labels are left-right means)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from eggan.augment import flip_some


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return randomly mirrored, moved, relit, blurred and noised images; (B, 3, H, W) in about [-1, 1].

    A quarter of the images is only mirrored and relit, so that sharp, centred renders stay the common case.
    """
    images = flip_some(images, generator)
    moved = blur(move(images, generator), generator)
    sharp = _uniform(images, generator, 0, 1) < 0.25
    return add_noise(relight(torch.where(sharp, images, moved), generator), generator)


def move(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate by up to 3 degrees, scale by up to 3 %, shift by up to 2.5 % of the side; border pixels repeat.

    That is about twice the renders' own play: faces are aligned here, and where a lip is says what it does.
    """
    count = len(images)
    angle = torch.empty(count).uniform_(-1, 1, generator=generator) * math.radians(3)
    scale = 1 + torch.empty(count).uniform_(-0.03, 0.03, generator=generator)
    shift = torch.empty(count, 2).uniform_(-0.05, 0.05, generator=generator)  # grid units: the side is 2
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mix each image with a blurred copy; half of the images stay as they are."""
    smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = _uniform(images, generator, -1, 1).clamp_min(0)
    return torch.lerp(images, smooth, share)


def relight(images: Tensor, generator: torch.Generator) -> Tensor:
    """Change contrast by up to 15 %, brightness by up to 0.1 and each channel's level by up to 0.05."""
    contrast = _uniform(images, generator, 0.85, 1.15)
    brightness = _uniform(images, generator, -0.1, 0.1)
    tint = torch.empty(len(images), 3, 1, 1).uniform_(-0.05, 0.05, generator=generator)
    return images * contrast + brightness + tint


def add_noise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of standard deviation up to 0.04; half of the images stay clean."""
    level = _uniform(images, generator, -0.04, 0.04).clamp_min(0)
    return images + level * torch.randn(images.shape, generator=generator)


def _uniform(images: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    return torch.empty(len(images), 1, 1, 1).uniform_(low, high, generator=generator)
