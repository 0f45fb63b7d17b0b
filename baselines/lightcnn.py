"""LightCNN (Wu et al. 2018): the face embedder that the EGGAN paper verifies identities with (Sec. 4.2).

Reference implementation: AlfredXiangWu/LightCNN at 7b38a6f. Its released weights are not shipped here;
`eggan import lightcnn FILE` turns such a file into a folder that `load_lightcnn` reads. The identity
classifier is left out: an embedding is the network's last layer before it. Which of the three variants the
EGGAN paper used is not named.
"""

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eggan.checkpoint import load_checkpoint
from eggan.errors import UserError
from eggan.evaluation.instruments import one_precision
from eggan.networks import channels_last

VERSION = 1
SIDE = 128
DIMENSIONS = 256
GREY = (0.299, 0.587, 0.114)
WIDTHS = (48, 96, 192, 128, 128)
RESIDUAL_BLOCKS = (1, 2, 3, 4)
# The released networks learnt from faces framed so: the eyes on row 40 of 128, the mouth 48 rows below.
EYE_ROW, MOUTH_BELOW = 40 / SIDE, 48 / SIDE
EYES_PER_MOUTH = 0.866  # distance between the eyes / from them to the mouth, of ArcFace's five-point template


class MaxFeatureMap(nn.Module):
    """The maximum of the two halves of a layer's outputs, the only non-linearity of these networks."""

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.filter = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return max(first half, second half)."""
        return torch.maximum(*self.filter(x).chunk(2, dim=1))


class Group(nn.Module):
    """A 1 x 1 and a 3 x 3 max-feature-map convolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv_a = mfm_conv(before, before, 1)
        self.conv = mfm_conv(before, after, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, H, W) -> (B, after, H, W)."""
        return self.conv(self.conv_a(x))


class MaxoutResidualBlock(nn.Module):
    """Two 3 x 3 max-feature-map convolutions and a sum. (B, C, H, W) -> same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = mfm_conv(channels, channels, 3), mfm_conv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return x + conv2(conv1(x))."""
        return x + self.conv2(self.conv1(x))


def mfm_conv(before: int, after: int, side: int) -> MaxFeatureMap:
    """Return a size-keeping max-feature-map convolution with a `side` x `side` kernel."""
    return MaxFeatureMap(nn.Conv2d(before, 2 * after, side, 1, side // 2))


def mfm_embedding() -> MaxFeatureMap:
    """Return the max-feature-map layer from the last 8 x 8 map to the embedding."""
    return MaxFeatureMap(nn.Linear(WIDTHS[-1] * (SIDE // 16) ** 2, 2 * DIMENSIONS))


class LightCNN9(nn.Module):
    """Grey faces (B, 1, 128, 128) in [0, 1] -> raw embeddings (B, 256)."""

    def __init__(self) -> None:
        super().__init__()
        pool = [nn.MaxPool2d(2, ceil_mode=True) for _ in range(4)]
        groups = [Group(a, b) for a, b in pairwise(WIDTHS)]
        self.features = nn.Sequential(
            mfm_conv(1, WIDTHS[0], 5),
            pool[0],
            groups[0],
            pool[1],
            groups[1],
            pool[2],
            groups[2],
            groups[3],
            pool[3],
        )
        self.fc1 = mfm_embedding()

    def forward(self, grey: Tensor) -> Tensor:
        """Return the embeddings."""
        return self.fc1(self.features(grey).flatten(1))


class LightCNN29(nn.Module):
    """As `LightCNN9`, with residual stages; v2 adds average to maximum pooling and ends in a linear layer."""

    def __init__(self, v2: bool) -> None:
        super().__init__()
        self.v2 = v2
        self.conv1 = mfm_conv(1, WIDTHS[0], 5)
        self.blocks, self.groups = nn.ModuleList(), nn.ModuleList()
        for count, before, after in zip(RESIDUAL_BLOCKS, WIDTHS, WIDTHS[1:], strict=False):
            self.blocks.append(nn.Sequential(*(MaxoutResidualBlock(before) for _ in range(count))))
            self.groups.append(Group(before, after))
        self.fc = nn.Linear(WIDTHS[-1] * (SIDE // 16) ** 2, DIMENSIONS) if v2 else mfm_embedding()

    def forward(self, grey: Tensor) -> Tensor:
        """Return the embeddings."""
        x = self._pool(self.conv1(grey))
        for stage, (block, group) in enumerate(zip(self.blocks, self.groups, strict=True)):
            x = group(block(x))
            x = x if stage == 2 else self._pool(x)  # stages 4 and 5 share a resolution
        return self.fc(x.flatten(1))

    def _pool(self, x: Tensor) -> Tensor:
        largest = F.max_pool2d(x, 2, ceil_mode=True)
        return largest + F.avg_pool2d(x, 2) if self.v2 else largest


def build_network(variant: str) -> nn.Module:
    """Return the network of a variant with PyTorch's default weights; an unknown one is a `UserError`."""
    if variant not in ("9", "29", "29v2"):
        raise UserError(f"there is no LightCNN-{variant}: the variants are 9, 29 and 29v2")
    return LightCNN9() if variant == "9" else LightCNN29(v2=variant == "29v2")


def to_grey(images: Tensor) -> Tensor:
    """Convert faces (B, 3, H, W) in [-1, 1] to LightCNN's input (B, 1, 128, 128) in [0, 1]."""
    weights = torch.tensor(GREY).to(images).view(1, 3, 1, 1)
    grey = (((images + 1) / 2) * weights).sum(1, keepdim=True)
    if grey.shape[2:] == (SIDE, SIDE):
        return grey
    return F.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)


def framed(images: Tensor, eye_line: float, eye_distance: float) -> Tensor:
    """Cut faces (B, 3, H, W) to the framing that LightCNN learnt from: (B, 3, 128, 128), the edge repeated.

    Eyes are level and centred; `eye_line`, `eye_distance`: their row and distance in parts of the side.
    """
    side = eye_distance / EYES_PER_MOUTH / MOUTH_BELOW  # of the cut, in parts of the picture's side
    middle = eye_line + (0.5 - EYE_ROW) * side
    place = torch.tensor([[side, 0.0, 0.0], [0.0, side, 2 * middle - 1]]).to(images)
    grid = F.affine_grid(place.expand(len(images), 2, 3), [len(images), 3, SIDE, SIDE], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


@torch.no_grad()
def embed(network: nn.Module, images: Tensor) -> Tensor:
    """Return unit-norm embeddings (B, 256) of faces (B, 3, H, W) in [-1, 1]; their dot product is the cosine.

    LightCNN expects level eyes, 48 px from eye midpoint to mouth midpoint, and the eyes at y = 40 of 128:
    `framed` makes that of other framings. In fp32 without TF32, so that every device gives the same.
    """
    device = images.device
    with torch.autocast(device.type, enabled=False), one_precision(device):
        return F.normalize(network(to_grey(images.float())), dim=1)


def variant_of(network: nn.Module) -> str:
    """Return which of 9, 29 and 29v2 a network is."""
    if isinstance(network, LightCNN29):
        return "29v2" if network.v2 else "29"
    return "9"


def load_lightcnn(folder: Path, device: torch.device | str = "cpu") -> nn.Module:
    """Return the frozen network in a folder made by `eggan import lightcnn`; a defect is a `UserError`."""
    checkpoint = load_checkpoint(folder)
    if checkpoint.card.method != "lightcnn":
        raise UserError(f"{folder} holds {checkpoint.card.method}, not lightcnn")
    network = build_network(str(checkpoint.card.config.get("variant")))
    try:
        network.load_state_dict(checkpoint.weights)
    except RuntimeError:
        raise UserError(f"{folder} does not hold a LightCNN: import the official file again") from None
    return channels_last(network).to(device).eval().requires_grad_(False)  # in two thirds of the time
