"""The instruments' networks: two AU estimators of different families and one face embedder.

All take images (B, 3, H, W) in [-1, 1] of any size and bring them to 64 px themselves, so that 64 px
and 128 px images are read by one set of weights. The estimators share a convolution unit, no residual
block, no mixing layer and no pre-processing.
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from eggan.aus import AU_COUNT, MAX_INTENSITY

INPUT_SIZE = 64
ROWS, COLUMNS = slice(8, 64), slice(8, 56)  # forehead to chin, cheek to cheek; the rest is hair and wall


def to_input_size(images: Tensor) -> Tensor:
    """Bring (B, 3, H, W) to 64 x 64: area averaging when larger, bilinear when smaller."""
    if images.shape[-2:] == (INPUT_SIZE, INPUT_SIZE):
        return images
    if min(images.shape[-2:]) >= INPUT_SIZE:
        return F.interpolate(images, size=(INPUT_SIZE, INPUT_SIZE), mode="area")
    return F.interpolate(images, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False)


def face_of(images: Tensor) -> Tensor:
    """Return the part of the image, at 64 px, that holds the face: (B, 3, H, W) -> (B, 3, 56, 48)."""
    return to_input_size(images)[:, :, ROWS, COLUMNS]


def conv_unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return 3 x 3 convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class BatchNormBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm around a skip (He et al. 2016, Fig. 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_unit(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return F.relu(x + self.second(self.first(x)))


def residual_trunk(inputs: int, widths: tuple[int, int, int], blocks: int) -> nn.Sequential:
    """Return a residual trunk 56 x 48 -> 28 x 24 -> 14 x 12 -> 7 x 6 with the given widths."""
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(conv_unit(inputs, width, stride=2))
        layers.extend(BatchNormBlock(width) for _ in range(blocks))
        inputs = width
    return nn.Sequential(*layers)


def read_aus(network: nn.Module, images: Tensor) -> Tensor:
    """Return the mean reading of each image and its mirror image, (B, 17) in [0, 5].

    AU intensities are left-right means, so both show the same; their errors are partly independent.
    """
    mean = (network(images) + network(images.flip(-1))) / 2
    return cast(Tensor, mean.float().clamp(0.0, MAX_INTENSITY))


class ResidualAUNet(nn.Module):
    """Estimator "a": residual CNN on images standardised one by one; returns (B, 17), not clamped.

    Each channel loses its own mean, all lose one contrast: skin tone and light go, lips and teeth stay.
    """

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 128), blocks: int = 2) -> None:
        super().__init__()
        self.trunk = residual_trunk(3, widths, blocks)
        self.squeeze = nn.Sequential(
            nn.Conv2d(widths[-1], 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(32 * 42, 128), nn.ReLU(inplace=True), nn.Linear(128, AU_COUNT)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 17)."""
        face = face_of(images)
        face = face - face.mean(dim=(2, 3), keepdim=True)
        contrast = face.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        return cast(Tensor, self.head(self.squeeze(self.trunk(face / (contrast + 1e-3)))))


class TokenMixer(nn.Module):
    """Mixes positions, each channel alike: an MLP over the token axis (Tolstikhin et al. 2021, Eq. 1)."""

    def __init__(self, tokens: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first = nn.Linear(tokens, hidden)
        self.second = nn.Linear(hidden, tokens)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        mixed = self.second(F.gelu(self.first(self.norm(x).transpose(1, 2))))
        return cast(Tensor, x + mixed.transpose(1, 2))


class ChannelMixer(nn.Module):
    """Mixes channels at each position alike (Tolstikhin et al. 2021, Eq. 1)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first = nn.Linear(channels, hidden)
        self.second = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return cast(Tensor, x + self.second(F.gelu(self.first(self.norm(x)))))


class MixerAUNet(nn.Module):
    """Estimator "b": a short convolutional stem, then an MLP-mixer, on colour images; returns (B, 17), not
    clamped.

    The stem (Xiao et al. 2021: early convolutions) finds edges, 168 tokens of 4 px and then 42 of 8
    px are mixed without any further convolution; position is known to the token-mixing weights. No
    residual convolutions and another pre-processing than estimator "a".
    """

    def __init__(self, widths: tuple[int, int] = (96, 192), blocks: tuple[int, int] = (1, 4)) -> None:
        super().__init__()
        fine, coarse = widths
        self.stem = nn.Sequential(
            conv_unit(3, 32, stride=2),
            conv_unit(32, 48),
            conv_unit(48, fine, stride=2),
            conv_unit(fine, fine),
        )
        self.fine = mixer_stage(14 * 12, fine, blocks[0])
        self.merge = nn.Conv2d(fine, coarse, 2, 2)
        self.coarse = mixer_stage(7 * 6, coarse, blocks[1])
        self.norm = nn.LayerNorm(coarse)
        self.squeeze = nn.Linear(coarse, 32)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 42, 64), nn.GELU(), nn.Linear(64, AU_COUNT))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 17)."""
        grid = self.stem(2 * face_of(images))
        tokens = self.fine(grid.flatten(2).transpose(1, 2))  # (B, 168, C)
        grid = self.merge(tokens.transpose(1, 2).unflatten(2, (14, 12)))
        tokens = self.coarse(grid.flatten(2).transpose(1, 2))  # (B, 42, C)
        return cast(Tensor, self.head(F.gelu(self.squeeze(self.norm(tokens)))))


def mixer_stage(tokens: int, channels: int, depth: int) -> nn.Sequential:
    """Return `depth` pairs of token and channel mixing at one resolution."""
    pairs = [(TokenMixer(tokens, channels, 128), ChannelMixer(channels, 2 * channels)) for _ in range(depth)]
    return nn.Sequential(*(layer for pair in pairs for layer in pair))


class FaceEmbedder(nn.Module):
    """Verifier: residual CNN on colour images; returns unit-norm embeddings (B, D)."""

    def __init__(
        self, widths: tuple[int, int, int] = (32, 64, 128), blocks: int = 1, dimension: int = 128
    ) -> None:
        super().__init__()
        self.trunk = residual_trunk(3, widths, blocks)
        self.squeeze = nn.Sequential(
            nn.Conv2d(widths[-1], 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(32 * 42, dimension), nn.BatchNorm1d(dimension, affine=False)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, D), unit norm."""
        return F.normalize(self.head(self.squeeze(self.trunk(face_of(images)))).float(), dim=1)
