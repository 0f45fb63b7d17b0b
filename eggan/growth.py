"""Weights of EGGAN-W for pictures of twice the size, or for more channels, from weights that are trained.

The U-Net keeps its grid: twice as many pixels of a side are folded into channels. Before any further
training the large network sees the mean of each 2 x 2 pixels and gives each of them the small network's flow
and features; the flow is in half pictures, so its values stay. The layers at full resolution are copied.

A network with more channels edits as the narrow one does before any further training: its first channels are
those of the narrow one and see nothing of the others, which begin as drawn (Net2Net, Chen et al. 2016, with
drawn channels in the place of copies, which would learn alike).
"""

from collections.abc import Mapping
from dataclasses import replace
from operator import le

import torch
from torch import Tensor

from eggan.randomness import derive_seed
from eggan.warp import Editor, WarpConfig

STEM = "stem.weight"  # its input channels are folded pixels
UNFOLDED = ("flow.weight", "flow.bias", "finish.features.weight", "finish.features.bias")  # outputs are
ALIKE = ("reduction", "blocks", "detail_channels", "embedding")  # where a network is wider than another
GAIN_AND_OFFSET = ".film."  # one below the other in the first dimension


def fitted(weights: Mapping[str, Tensor], config: WarpConfig, larger: WarpConfig) -> Mapping[str, Tensor]:
    """Return the inference weights of `config` for `larger`: grown where that is twice the size, widened
    where it has more channels of each resolution, else unchanged.
    """
    if (2 * config.image_size, 2 * config.reduction) == (larger.image_size, larger.reduction):
        weights = grown(weights, config.reduction)
        config = replace(config, image_size=larger.image_size, reduction=larger.reduction)
    if _is_wider(config, larger):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("eggan-w", "widened", 0))
            weights = widened(weights, Editor(larger).state_dict())
    return weights


def grown(weights: Mapping[str, Tensor], reduction: int) -> dict[str, Tensor]:
    """Return the inference weights for twice the size and twice the `reduction` of the given ones."""
    large = dict(weights)
    large[STEM] = _repeat(weights[STEM].transpose(0, 1), reduction).transpose(0, 1).contiguous() / 4
    return large | {name: _repeat(weights[name], reduction) for name in UNFOLDED if name in weights}


def widened(weights: Mapping[str, Tensor], drawn: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `weights` as those of the first channels of a wider network, whose others are as `drawn`.

    What leads from the further channels to the first ones is 0. Weights that `drawn` lacks are kept.
    """
    return {
        name: _inside(weight, drawn.get(name, weight), halves=2 if GAIN_AND_OFFSET in name else 1)
        for name, weight in weights.items()
    }


def _is_wider(config: WarpConfig, larger: WarpConfig) -> bool:
    """Whether `larger` has more channels, of at least one resolution, and is alike in all other layers."""
    alike = all(getattr(config, name) == getattr(larger, name) for name in ALIKE)
    narrow, wide = config.channels, larger.channels
    return alike and len(narrow) == len(wide) and narrow != wide and all(map(le, narrow, wide))


def _inside(weight: Tensor, wide: Tensor, halves: int) -> Tensor:
    """Return `wide` (halves * D, D', ...) with `weight` in the first rows and columns of each half."""
    result, own = (each.unflatten(0, (halves, -1)) for each in (wide.clone(), weight))
    result[:, : own.shape[1]] = 0
    result[tuple(slice(length) for length in own.shape)] = own
    return result.flatten(0, 1)


def _repeat(folded: Tensor, reduction: int) -> Tensor:
    """Return (4 * C, ...) for (C, ...): each of the `reduction` x `reduction` pixels that are folded into the
    first dimension becomes 2 x 2, in the order of `torch.nn.functional.pixel_shuffle`.
    """
    pixels = folded.unflatten(0, (-1, reduction, reduction))
    return pixels.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2).flatten(0, 2)
