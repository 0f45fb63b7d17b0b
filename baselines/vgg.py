"""HomoInterpGAN's VGG19 trunk and where it starts: ImageNet, the training identities, or He-normal draws.

Its images are ImageNet-normalised; those of every other network here are in [-1, 1].
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from eggan.method import BuildContext
from eggan.model_config import EGGANConfig, largest_ms_ssim_window
from eggan.networks import CLASSIFIERS, Classifier, rectified
from eggan.on_device import constants
from eggan.pretraining import pretrained_identity_classifier
from eggan.published_weights import load_vgg19_convolutions

EncoderInit = Literal["imagenet_vgg19", "identity_vgg19", "he"]
Convolutions = Sequence[tuple[Tensor, Tensor]]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGGTrunk(nn.Module):
    """VGG19's convolutions up to relu<blocks>_1, every width times `width`.

    ImageNet-normalised images (B, 3, S, S) -> features (B, C, s, s) >= 0 with s = S / 2^(blocks - 1).
    """

    def __init__(self, blocks: int, width: float) -> None:
        super().__init__()
        counts, channels = CLASSIFIERS["vgg19"]
        self.width = width
        self.pool_before: set[int] = set()
        self.convs = nn.ModuleList()
        before = 3
        for block in range(blocks):
            self.pool_before |= {len(self.convs)} if block else set()
            for _ in range(counts[block] if block + 1 < blocks else 1):
                after = scaled(channels[block], width)
                self.convs.append(nn.Conv2d(before, after, 3, 1, 1))
                before = after

    def forward(self, images: Tensor) -> Tensor:
        """Return the features."""
        return rectified(images, self.convs, self.pool_before)

    def start_from(self, convolutions: Convolutions | None) -> "VGGTrunk":
        """Set He-normal weights, then those of `convolutions`, if any; return self."""
        for conv in self.convs:
            for parameter in conv.parameters():
                nn.init.kaiming_normal_(parameter) if parameter.dim() > 1 else nn.init.zeros_(parameter)
        for conv, (weight, bias) in zip(self.convs, convolutions or (), strict=False):
            conv.load_state_dict({"weight": weight, "bias": bias})
        return self

    def frozen_copy(self, blocks: int) -> "VGGTrunk":
        """Return a copy that ends at relu<blocks>_1 and takes no gradient."""
        copied = VGGTrunk(blocks, self.width)
        copied.convs.load_state_dict(self.convs[: len(copied.convs)].state_dict())
        return copied.requires_grad_(False)


def scaled(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded as `eggan.networks.Classifier` does."""
    return max(8, round(channels * width))


def starting_convolutions(
    kind: EncoderInit, image_size: int, width: float, epochs: int, context: BuildContext
) -> Convolutions | None:
    """Return (weight, bias) of VGG19's convolutions for normalised images; None for He draws.

    `width` and `epochs` are those of the VGG19 of identities, which is trained here or taken from the cache.
    """
    if kind == "imagenet_vgg19":
        return load_vgg19_convolutions("set encoder_init=identity_vgg19 or he (what the preset cpu uses)")
    return identity_convolutions(image_size, width, epochs, context) if kind == "identity_vgg19" else None


def identity_convolutions(image_size: int, width: float, epochs: int, context: BuildContext) -> Convolutions:
    """Return the convolutions of a VGG19 trained on the training identities, for normalised images.

    Batch norms are folded into the convolutions, and the change of input range into the first one.
    """
    recipe = EGGANConfig(
        image_size=image_size,
        classifier_width=width,
        cid_epochs=epochs,
        ms_ssim_window=largest_ms_ssim_window(image_size),
    )
    (weight, bias), *others = folded_convolutions(pretrained_identity_classifier(recipe, context))
    mean, std = _rgb(IMAGENET_MEAN, weight), _rgb(IMAGENET_STD, weight)
    bias = bias + (weight * (2 * mean - 1)).sum((1, 2, 3))
    return [(weight * 2 * std, bias), *others]


def folded_convolutions(classifier: Classifier) -> list[tuple[Tensor, Tensor]]:
    """Return (weight, bias) of every convolution, the batch norm behind it (evaluation mode) folded in."""
    folded = []
    for block in classifier.blocks:
        layers = list(block.children())
        for conv, norm in zip(layers[0::3], layers[1::3], strict=True):
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            folded.append((conv.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale))
    return [(weight.detach().contiguous(), bias.detach()) for weight, bias in folded]


def to_imagenet(images: Tensor) -> Tensor:
    """Convert images (B, 3, H, W) in [-1, 1] to ImageNet normalisation."""
    return ((images + 1) / 2 - _rgb(IMAGENET_MEAN, images)) / _rgb(IMAGENET_STD, images)


def from_imagenet(images: Tensor) -> Tensor:
    """Undo `to_imagenet`."""
    return (images * _rgb(IMAGENET_STD, images) + _rgb(IMAGENET_MEAN, images)) * 2 - 1


def _rgb(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return constants(values, like.device).to(like.dtype).view(1, 3, 1, 1)
