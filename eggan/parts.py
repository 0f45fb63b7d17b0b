"""What an edit is made of: where pixels come from, and what is painted over them.

edit = (1 - paint) * warp(source, flow) + paint * colour
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Parts:
    """What a network says about an edit, at its own resolution; it can be composed at a larger one.

    `flow` (B, 2, H, W): from where a pixel comes, relative to its place, in half pictures (x, y); `moved`
    (B, 3, H, W) the source after it; `colour` (B, 3, H, W) in [-1, 1]; `paint` (B, 1, H, W) in [0, 1].
    """

    flow: Tensor
    moved: Tensor
    colour: Tensor
    paint: Tensor


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Return images (B, 3, H, W) sampled at each pixel's place plus `flow` (B, 2, H, W), in half pictures.

    Bilinear; beyond the border its pixels are repeated. Always float32: bf16 has too few digits for places.
    """
    with torch.autocast(images.device.type, enabled=False):
        height, width = flow.shape[-2:]
        x = (torch.arange(width, device=flow.device, dtype=torch.float32) * 2 + 1) / width - 1
        y = (torch.arange(height, device=flow.device, dtype=torch.float32) * 2 + 1) / height - 1
        still = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)
        grid = still + flow.float().permute(0, 2, 3, 1)
        return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def compose(parts: Parts) -> Tensor:
    """Return the edit (B, 3, H, W), about [-1, 1]."""
    return torch.lerp(parts.moved, parts.colour, parts.paint)
