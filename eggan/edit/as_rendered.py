"""A photographed face as networks that learnt from renders know faces: in their tones, with the AUs they see.

Renders have one kind of light. A face in the shade, or one of much contrast, is nothing that these networks
have seen: what they paint on it is dark, and what they should leave alone they draw anew. So each colour of
the face gets the mean and the spread that it has in renders, and what the networks add is scaled back.

Landmarks say what a face shows beside faces in general, pixels what these networks take it to show: brows
that are heavy are lowered ones to the former. Asked for what the latter say, EGGAN-W leaves a photograph as
it is.

They also answer a face and its mirror image differently, now and then by much: they are asked for both, so
that an edit has no side of its own.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from eggan.aus import MAX_INTENSITY
from eggan.evaluation.instrument_networks import ResidualAUNet, read_aus
from eggan.evaluation.instrument_weights import load_network
from eggan.method import EditsLarge
from eggan.warp import Parts, warp

ESTIMATOR = "au_a"
FACE = (0.31, 0.86, 0.27, 0.73)  # of the square: top, bottom, left, right of brows to chin
# Of the face in pictures of SynFACS' `crowd` at 128 px, in [-1, 1], by colour
RENDERED_MEAN = (0.339, 0.0, -0.157)
RENDERED_SPREAD = (0.231, 0.214, 0.187)
LARGEST_RATE = 8.0  # of what is asked of a network, by what is asked of the photograph
POWER = 4  # plain means halve what one of both ways paints: edits were a sixteenth weaker, lids half closed
LARGEST_GAIN = 2.5  # either way: the grain of a face without contrast stays small


@dataclass(frozen=True)
class AsRendered:
    """`square` (1, 3, S, S) in the tones of renders, `gain` (1, 3, 1, 1) by which it has more contrast than
    the photograph, `aus` (1, 17) in [0, 5] that are seen in it.
    """

    square: Tensor
    gain: Tensor
    aus: Tensor


@torch.no_grad()
def as_rendered(square: Tensor) -> AsRendered:
    """Return a framed face (1, 3, S, S) in [-1, 1] as it would be if it were rendered."""
    square, gain = in_rendered_tones(square)
    return AsRendered(square, gain, read_aus(_estimator(square.device), square.clamp(-1, 1)))


def in_rendered_tones(square: Tensor) -> tuple[Tensor, Tensor]:
    """Return the square with the mean and spread of renders in each colour of the face, and the gain."""
    top, bottom, left, right = (round(part * square.shape[-1]) for part in FACE)
    face = square[..., top:bottom, left:right]
    mean, spread = face.mean((2, 3), keepdim=True), face.std((2, 3), keepdim=True)
    wanted_mean, wanted_spread = (
        square.new_tensor(colours).view(1, 3, 1, 1) for colours in (RENDERED_MEAN, RENDERED_SPREAD)
    )
    gain = (wanted_spread / spread).clamp(1 / LARGEST_GAIN, LARGEST_GAIN)
    return (square - mean) * gain + wanted_mean, gain


def rescaled(wanted: Tensor, shown: Tensor, seen: Tensor) -> Tensor:
    """Return wanted AUs on the scale on which what is `shown` reads `seen`, all (1, 17) in [0, 5].

    Linear to both sides of what is shown, so that 0 stays 0 and 5 stays 5; but where they are near to it, no
    steeper than `LARGEST_RATE`: a reading that errs a little at an end would be a leap otherwise.
    """
    less, more = seen / shown, (MAX_INTENSITY - seen) / (MAX_INTENSITY - shown)
    rate = torch.where(wanted < shown, less, more).clamp(max=LARGEST_RATE)
    return torch.where(wanted == shown, seen, seen + rate * (wanted - shown))


def parts_both_ways(method: EditsLarge, pictures: Tensor, target_aus: Tensor) -> Parts:
    """Return one for two of the parts of pictures (B, 3, H, W) and of those of their mirror images.

    Flows are means. Paints are power means, so that what one of both covers is hardly transparent; colours
    are weighted as paints are.
    """
    both = method.parts(torch.cat([pictures, pictures.flip(-1)]), torch.cat([target_aus, target_aus]))
    own, image = split(both)
    across = own.flow.new_tensor([-1, 1]).view(1, 2, 1, 1)  # to the right in the image is to the left
    flow = (own.flow + image.flow.flip(-1) * across) / 2
    weights = own.paint**POWER, image.paint.flip(-1) ** POWER
    whole = weights[0] + weights[1]
    paint = (whole / 2) ** (1 / POWER)
    colour = weights[0] * own.colour + weights[1] * image.colour.flip(-1)
    return Parts(flow, warp(pictures, flow), colour / whole.clamp(min=torch.finfo(whole.dtype).tiny), paint)


def split(parts: Parts) -> tuple[Parts, Parts]:
    """Return the parts of the first half of the pictures, and those of the second."""
    halves = [part.chunk(2) for part in (parts.flow, parts.moved, parts.colour, parts.paint)]
    return Parts(*(first for first, _ in halves)), Parts(*(second for _, second in halves))


@lru_cache(maxsize=1)
def _estimator(device: torch.device) -> ResidualAUNet:
    return load_network(ESTIMATOR, ResidualAUNet, device)[1]
