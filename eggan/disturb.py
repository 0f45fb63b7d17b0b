"""Disturbances that photographs have and renders lack, applied alike to a source and its true edit.

One is the source's alone: what its true edit covers or moves changes its colour, as eyes and teeth of
photographs have colours that renders lack, and the network learns to leave nothing of them.

Every draw is per pair and comes from a given generator. A network that learns from disturbed pairs leaves
alone what the truth leaves alone: grain, blur, a hand, an unusual crop.
"""

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:  # an edit does without what is below
    from eggan.warp import DisturbConfig

BLOCK = 8  # pixels of a side of JPEG's blocks
STAINED = 0.5  # the difference of a truth, of 2, from which its source is stained in full
BENDS, SHADES = 5, 3  # points of a side through which the smooth fields are drawn


def disturb(
    source: Tensor, truth: Tensor, generator: torch.Generator, config: "DisturbConfig"
) -> tuple[Tensor, Tensor]:
    """Return disturbed copies of pairs (B, 3, H, W) in [-1, 1]; both of a pair get the same disturbance but
    for stains.
    """
    both = torch.cat([source, truth], dim=1).float()
    with torch.autocast(both.device.type, enabled=False):  # bf16 has too few digits for pixel positions
        if config.stain:
            both = _stain(both, generator, config.stain)
        both = _move(both, generator, config)
        both = _occlude(both, generator, config.occluder_share)
        both = _recolour(both, generator, config)
        blurred = F.avg_pool2d(both, 3, 1, 1, count_include_pad=False)
        both = torch.lerp(both, blurred, config.blur * _draw(both, generator).square())
        grain = torch.randn(both[:, :3].shape, generator=generator, device=both.device).repeat(1, 2, 1, 1)
        both = both + config.noise * _draw(both, generator).square() * grain
        coarse = _draw(both, generator) < config.jpeg_share
        step = config.jpeg_step * _draw(both, generator)
        both = torch.where(coarse, _quantise_blocks(both, step), both).clamp(-1, 1)
    return both[:, :3], both[:, 3:]


def _stain(both: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Shift colour and contrast of sources (the first three channels) where their true edits differ."""
    from eggan.losses import change_weight  # the library of MS-SSIM takes its time to load

    source, truth = both.chunk(2, dim=1)
    shift, contrast = (
        torch.rand(len(both), channels, 1, 1, generator=generator, device=both.device) * 2 - 1
        for channels in (3, 1)
    )
    window = both.shape[-1] // 8 | 1  # odd: as far to either side
    detail = source - F.avg_pool2d(source, window, 1, window // 2, count_include_pad=False)
    amount = strength * _draw(both, generator) * change_weight(source, truth, STAINED)
    return torch.cat([(source + amount * (shift + 2 * contrast * detail)).clamp(-1, 1), truth], dim=1)


def _move(both: Tensor, generator: torch.Generator, config: "DisturbConfig") -> Tensor:
    """Turn, scale and shift; reflected at the border."""
    angle, size, right, down = (_draw(both, generator).flatten() * 2 - 1 for _ in range(4))
    angle, size = angle * math.radians(config.turn), 1 + config.scale * size
    cos, sin = angle.cos() * size, angle.sin() * size
    rows = [cos, -sin, 2 * config.shift * right, sin, cos, 2 * config.shift * down]
    theta = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(both.shape), align_corners=False)
    if config.bend:
        grid = grid + 2 * config.bend * _smooth(both, generator, 2, BENDS).permute(0, 2, 3, 1)
    return F.grid_sample(both, grid, padding_mode="reflection", align_corners=False)


def _occlude(both: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """Put an ellipse of one colour that fades into another over some pairs."""
    height, width = both.shape[-2:]
    y = torch.linspace(-1, 1, height, device=both.device).view(1, 1, height, 1)
    x = torch.linspace(-1, 1, width, device=both.device).view(1, 1, 1, width)
    centre_x, centre_y, fade = (_draw(both, generator) * 2 - 1 for _ in range(3))
    half_x, half_y = (0.1 + 0.5 * _draw(both, generator).square() for _ in range(2))
    inside = ((x - centre_x) / half_x).square() + ((y - centre_y) / half_y).square() < 1
    covered = inside & (_draw(both, generator) < share)
    ends = torch.rand(len(both), 6, 1, 1, generator=generator, device=both.device) * 2 - 1
    colour = ends[:, :3] + fade * (ends[:, 3:] - ends[:, :3]) * (x + y) / 2
    return torch.where(covered, colour.clamp(-1, 1).repeat(1, 2, 1, 1), both)


def _recolour(both: Tensor, generator: torch.Generator, config: "DisturbConfig") -> Tensor:
    """Change exposure, white balance and black level; take the colour from some pairs."""
    exposure = _draw(both, generator) * 2 - 1
    balance = torch.rand(len(both), 3, 1, 1, generator=generator, device=both.device) * 2 - 1
    gain = 1 + config.gain * (0.6 * exposure + 0.4 * balance).repeat(1, 2, 1, 1)
    if config.shade:
        gain = gain * (config.shade * _smooth(both, generator, 1, SHADES)).exp()
    changed = (both + 1) * gain - 1 + config.offset * (_draw(both, generator) * 2 - 1)
    grey = changed.unflatten(1, (2, 3)).mean(2, keepdim=True).expand(-1, 2, 3, -1, -1).flatten(1, 2)
    return torch.where(_draw(both, generator) < config.grey_share, grey, changed).clamp(-1, 1)


def _quantise_blocks(images: Tensor, step: Tensor) -> Tensor:
    """Round the cosine transform of 8 x 8 blocks to multiples of `step` (B, 1, 1, 1), coarser where fine.

    Sides must be multiples of 8.
    """
    count, channels, height, width = images.shape
    n = torch.arange(BLOCK, device=images.device, dtype=torch.float32)
    basis = (math.pi / BLOCK * (n[:, None] * (n[None] + 0.5))).cos() * math.sqrt(2 / BLOCK)
    basis = torch.cat([basis[:1] / math.sqrt(2), basis[1:]])
    steps = step.view(count, 1, 1, 1, 1, 1) * (1 + (n[:, None] + n[None]) / 2)
    steps = steps.clamp(min=1e-3)
    blocks = images.view(count, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(3, 4)
    coefficients = basis @ blocks @ basis.T
    rounded = (coefficients / steps).round() * steps
    return (basis.T @ rounded @ basis).transpose(3, 4).reshape(images.shape)


def _smooth(both: Tensor, generator: torch.Generator, channels: int, points: int) -> Tensor:
    """Return smooth fields (B, channels, H, W) about [-1, 1] through `points` x `points` draws each."""
    shape = (len(both), channels, points, points)
    coarse = torch.rand(shape, generator=generator, device=both.device) * 2 - 1
    return F.interpolate(coarse, both.shape[-2:], mode="bicubic", align_corners=True)


def _draw(both: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(len(both), 1, 1, 1, generator=generator, device=both.device)
