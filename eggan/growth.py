"""Weights of EGGAN-W for pictures of twice the size, from weights that were trained on the smaller ones.

The U-Net keeps its grid: twice as many pixels of a side are folded into channels. Before any further
training the large network sees the mean of each 2 x 2 pixels and gives each of them the small network's flow
and features; the flow is in half pictures, so its values stay. The layers at full resolution are copied.
"""

from collections.abc import Mapping

from torch import Tensor

STEM = "stem.weight"  # its input channels are folded pixels
UNFOLDED = ("flow.weight", "flow.bias", "finish.features.weight", "finish.features.bias")  # outputs are


def grown(weights: Mapping[str, Tensor], reduction: int) -> dict[str, Tensor]:
    """Return the inference weights for twice the size and twice the `reduction` of the given ones."""
    large = dict(weights)
    large[STEM] = _repeat(weights[STEM].transpose(0, 1), reduction).transpose(0, 1).contiguous() / 4
    return large | {name: _repeat(weights[name], reduction) for name in UNFOLDED if name in weights}


def _repeat(folded: Tensor, reduction: int) -> Tensor:
    """Return (4 * C, ...) for (C, ...): each of the `reduction` x `reduction` pixels that are folded into the
    first dimension becomes 2 x 2, in the order of `torch.nn.functional.pixel_shuffle`.
    """
    pixels = folded.unflatten(0, (-1, reduction, reduction))
    return pixels.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2).flatten(0, 2)
