"""What a network says of faces and of their mirror images, as one: an edit that has no side of its own.

A network that learnt faces of both kinds still answers to each differently, now and then by much.
"""

import torch
from torch import Tensor

from eggan.method import EditsLarge
from eggan.warp import Parts, warp

POWER = 4  # plain means halve what one of both paints: edits were a sixteenth weaker, lids half closed


def parts_both_ways(method: EditsLarge, pictures: Tensor, target_aus: Tensor) -> Parts:
    """Return one for two of the parts of pictures (B, 3, H, W) and of those of their mirror images.

    Flows are means. Paints are power means, so that what one of both covers is hardly transparent; colours
    are weighted as paints are.
    """
    both = method.parts(torch.cat([pictures, pictures.flip(-1)]), torch.cat([target_aus, target_aus]))
    own, mirrored = split(both)
    mirrored = _mirrored(mirrored)
    flow = (own.flow + mirrored.flow) / 2
    weights = own.paint**POWER, mirrored.paint**POWER
    whole = weights[0] + weights[1]
    paint = (whole / 2) ** (1 / POWER)
    colour = weights[0] * own.colour + weights[1] * mirrored.colour
    return Parts(flow, warp(pictures, flow), colour / whole.clamp(min=torch.finfo(whole.dtype).tiny), paint)


def split(parts: Parts) -> tuple[Parts, Parts]:
    """Return the parts of the first half of the pictures, and those of the second."""
    halves = [part.chunk(2) for part in (parts.flow, parts.moved, parts.colour, parts.paint)]
    return Parts(*(first for first, _ in halves)), Parts(*(second for _, second in halves))


def _mirrored(parts: Parts) -> Parts:
    across = parts.flow.new_tensor([-1, 1]).view(1, 2, 1, 1)
    flow, moved, colour, paint = (
        part.flip(-1) for part in (parts.flow, parts.moved, parts.colour, parts.paint)
    )
    return Parts(flow * across, moved, colour, paint)
