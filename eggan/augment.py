"""Label-neutral image perturbations, each draw from a given generator.

They stand in front of the classifiers so that a generator cannot raise its score with patterns that a shift
of a pixel or a little blur destroys.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from eggan.on_device import constants


def shift_blur_noise(
    images: Tensor, generator: torch.Generator, shift: float, blur: float, noise: float
) -> Tensor:
    """Return randomly shifted, blurred and noised copies; differentiable in `images`.

    images: (B, 3, H, W) float in [-1, 1]. Per image: a shift of up to `shift` pixels in x and y (bilinear,
    reflected at the border), a blend of up to `blur` (in [0, 1]) with its 3 x 3 mean, and Gaussian noise with
    a standard deviation of up to `noise`.
    """
    images = _shift(images.float(), generator, shift)
    strength = blur * _uniform(images, generator)
    images = torch.lerp(images, F.avg_pool2d(images, 3, 1, 1, count_include_pad=False), strength)
    grain = torch.randn(images.shape, generator=generator, device=images.device)
    return images + noise * _uniform(images, generator) * grain


def flip_some(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image with probability one half (AU intensities are means of left and right, so labels
    hold).
    """
    return torch.where(_uniform(images, generator) < 0.5, images.flip(3), images)


def _shift(images: Tensor, generator: torch.Generator, pixels: float) -> Tensor:
    count, _, height, width = images.shape
    draws = torch.rand(count, 2, generator=generator, device=images.device) * 2 - 1
    offsets = draws * constants([2 * pixels / width, 2 * pixels / height], images.device)
    identity = torch.eye(2, device=images.device).expand(count, 2, 2)
    theta = torch.cat([identity, offsets[:, :, None]], dim=2)  # (B, 2, 3)
    with torch.autocast(images.device.type, enabled=False):  # bf16 has too few digits for pixel positions
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _uniform(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
