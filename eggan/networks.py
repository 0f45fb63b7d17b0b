"""The networks of Sec. 3.2, 3.3 and 4.1: E, G, D_z, D_img and the classifiers C_exp and C_id.

Images are (B, 3, H, W) float in [-1, 1], H = W = `image_size`, a multiple of 64. AU vectors are (B, 17) in
[0, 5] and divided by 5 inside the generator. Networks return float32 whatever the autocast setting is.
"""

import itertools
import math
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eggan.aus import AU_COUNT, LEVELS, MAX_INTENSITY

Conditioning = Literal["concat", "film"]
ClassifierKind = Literal["vgg19", "narrow"]

Network = TypeVar("Network", bound=nn.Module)

LEAK = 0.2
# Of `ProductConv2d`: places of one picture, and of all of a batch together; weights.
MOST_OF_ONE, MOST_PLACES, LEAST_WEIGHTS = 16, 256, 2**19

# Convolutions per block and channels per block; a block ends with a 2 x 2 max pooling.
CLASSIFIERS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "vgg19": ((2, 2, 4, 4, 4), (64, 128, 256, 512, 512)),
    "narrow": ((1, 1, 2, 2), (16, 32, 64, 128)),
}


class ProductConv2d(nn.Conv2d):
    """A convolution that a CPU computes as one matrix product where its outputs are few and its weights many.

    The last layer of StarGAN's critic, from 1,024 x 4 x 4 to 2,048 x 2 x 2, batch 8, on one core with AMX
    (torch 2.14): 314 ms forth and back as a convolution and 134 ms as a product, 714 and 275 in a gradient
    penalty; in bf16 561 and 104, 1,205 and 189. EGGAN's from 128 x 4 x 4 to 256 x 2 x 2, batch 16: 6.8 and
    3.2 ms, in bf16 8.8 and 2.8. Where outputs are many, the copies that a product needs cost more than they
    save. Results differ by rounding alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, O, H', W') for (B, C, H, W)."""
        assert not isinstance(self.padding, str)
        sides = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        grid = tuple((side + 2 * padding - size) // stride + 1 for side, size, stride, padding in sides)
        if not _pays_as_product(x, grid, self.weight):
            return super().forward(x)
        seen = _seen(tuple(x.shape[2:]), self.kernel_size, self.stride, self.padding).to(x.dtype)
        patches = _times(x.flatten(2), seen).reshape(len(x), -1, math.prod(grid))
        return _times(patches.mT, self.weight.flatten(1), self.bias).mT.unflatten(2, grid)


class ProductConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that a CPU computes as one matrix product where its inputs are few and its
    weights many; no output padding.

    From 256 x 1 x 1 to 256 x 2 x 2, batch 32, on one core with AMX: 8.3 ms forth and back as a convolution
    and 3.2 ms as a product, in bf16 13.3 and 3.3. Results differ by rounding alone.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return (B, O, H', W') for (B, C, H, W)."""
        assert not isinstance(self.padding, str)
        if output_size is not None or not _pays_as_product(x, x.shape[2:], self.weight):
            return super().forward(x, output_size)
        patches = _times(x.flatten(2).mT, self.weight.flatten(1).mT).mT  # (B, O * kernel, H * W)
        sides = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        grid = tuple((side - 1) * stride - 2 * padding + size for side, size, stride, padding in sides)
        seen = _seen(grid, self.kernel_size, self.stride, self.padding).to(patches.dtype)
        out = _times(patches.reshape(len(x), self.out_channels, -1), seen.mT).unflatten(2, grid)
        return out if self.bias is None else out + self.bias.to(out.dtype).view(1, -1, 1, 1)


def _times(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows (B, N, K) times a weight (O, K): (B, N, O), as one product for the whole batch.

    Said outright: torch multiplies picture by picture, each with a copy of the weight, wherever the weight
    wants no gradient, as in a main step's pass of a critic (StarGAN's in bf16: 2.4 s where one takes 76 ms).
    """
    return F.linear(rows.flatten(0, 1), weight, bias).unflatten(0, (len(rows), -1))


@cache
def _seen(
    grid: tuple[int, ...], size: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
) -> Tensor:
    """Return which place of a `grid` a kernel's weight sees at an output: 0 or 1, (K * H' * W', H * W).

    A product with it does what `F.unfold` does, or `F.fold` the other way, in a third to a tenth of the time.
    """
    with torch.inference_mode(False):
        places = torch.eye(math.prod(grid)).unflatten(1, (1, *grid))
        return F.unfold(places, size, padding=padding, stride=stride).flatten(1).mT.contiguous()


def _pays_as_product(x: Tensor, grid: Sequence[int], weight: Tensor) -> bool:
    """Return whether to make a matrix product of a layer with `grid` places in each picture of `x`."""
    if x.device.type != "cpu" or torch.compiler.is_exporting():
        return False
    places = math.prod(grid)
    few = places <= MOST_OF_ONE and len(x) * places <= MOST_PLACES
    return few and weight.numel() >= LEAST_WEIGHTS


class Encoder(nn.Module):
    """E: five stride-2 convolutions, then one fully-connected layer (Sec. 4.1).

    (B, 3, H, W) in [-1, 1] -> latent code (B, latent_dim).
    """

    def __init__(self, image_size: int, channels: Sequence[int], latent_dim: int) -> None:
        super().__init__()
        widths = (3, *channels)
        self.convs = nn.ModuleList(ProductConv2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(widths))
        grid = image_size // 2 ** len(channels)
        self.code = nn.Linear(channels[-1] * grid * grid, latent_dim)

    def forward(self, images: Tensor) -> Tensor:
        """Return the latent codes l = E(I)."""
        x = images
        for conv in self.convs:
            x = F.leaky_relu(conv(x), LEAK)
        return self.code(x.flatten(1)).float()


class _PReLUFunction(torch.autograd.Function):
    """`F.prelu` with a backward pass of streaming kernels: torch's own takes six times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        slope = slope.to(x.dtype)
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        above = torch.ops.aten.threshold_backward(grad, x, 0)
        below = grad - above
        grad_slope = (below * x).sum((2, 3)).float().sum(0)
        return torch.addcmul(above, below, slope.view(1, -1, 1, 1)), grad_slope


class PReLU(nn.Module):
    """PReLU with one slope per channel (He et al. 2015); differentiable once. x: (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.full((channels,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        """Return max(x, 0) + slope * min(x, 0)."""
        return _PReLUFunction.apply(x, self.slope)


class InstanceNorm2d(nn.InstanceNorm2d):
    """InstanceNorm with a gain and a shift per channel; on a CPU a GroupNorm of groups of one channel.

    That is the same and takes, in float32, a half to a third of the time forth, and two thirds forth and
    back (torch 2.14); in bf16 nine tenths. On a GPU autocast would let a GroupNorm answer in float32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) for (B, C, H, W)."""
        if x.device.type != "cpu":
            return super().forward(x)
        return F.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


class ModulatedNorm(nn.Module):
    """InstanceNorm whose gain and shift are learnt ("concat") or read from the condition ("film").

    x: (B, C, H, W); condition: (B, K). FiLM is Perez et al. 2018, Eq. 2.
    """

    def __init__(self, channels: int, condition_dim: int, conditioning: Conditioning) -> None:
        super().__init__()
        self.affine = InstanceNorm2d(channels) if conditioning == "concat" else None
        self.film = nn.Linear(condition_dim, 2 * channels) if conditioning == "film" else None

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the normalised and modulated features."""
        if self.affine is not None:
            return self.affine(x)
        assert self.film is not None
        gain, shift = self.film(condition).to(x.dtype).chunk(2, dim=1)  # each (B, C)
        if torch.compiler.is_exporting():  # a file for any batch cannot have as many groups as B * C
            return F.instance_norm(x) * (1 + gain)[:, :, None, None] + shift[:, :, None, None]
        # One group per channel of each sample: InstanceNorm and the modulation in a single kernel.
        flat = x.reshape(1, -1, *x.shape[2:])  # (1, B * C, H, W)
        weight, bias = (1 + gain).flatten(), shift.flatten()
        return F.group_norm(flat, flat.shape[1], weight, bias).view_as(x)

    def modulation(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gains and the shifts: each (B, C), float32."""
        if self.affine is not None:
            return self.affine.weight.expand(len(condition), -1), self.affine.bias.expand(len(condition), -1)
        assert self.film is not None
        gain, shift = self.film(condition).float().chunk(2, dim=1)
        return 1 + gain, shift


def _trains_on_a_cpu(x: Tensor) -> bool:
    """Return whether gradients of float32 or bf16 features `x` are asked for, on a CPU."""
    if x.device.type != "cpu" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return type(x) is Tensor and x.dtype in (torch.float32, torch.bfloat16)


class UpBlock(nn.Module):
    """Residual block that doubles the side: two convolutions with InstanceNorm and PReLU (Sec. 4.1).

    The norms follow the convolutions, never the 1 x 1 start grid, where InstanceNorm would erase the code;
    the shortcut carries what InstanceNorm removes. The first convolution is a transposed one, which holds
    "nearest neighbour, then 3 x 3" as a special case at half its cost.
    """

    def __init__(self, before: int, after: int, condition_dim: int, conditioning: Conditioning) -> None:
        super().__init__()
        self.up = ProductConvTranspose2d(before, after, 4, 2, 1)
        self.up.weight.data = _nearest_then(nn.Conv2d(after, before, 3).weight.data)
        self.norm1 = ModulatedNorm(after, condition_dim, conditioning)
        self.act1 = PReLU(after)
        self.conv = ProductConv2d(after, after, 3, 1, 1)
        self.norm2 = ModulatedNorm(after, condition_dim, conditioning)
        self.act2 = PReLU(after)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, before, H, W), (B, K) -> (B, after, 2H, 2W)."""
        if _trains_on_a_cpu(x):
            from eggan.fused_norm import norm_prelu  # an edit does without it, and without numba

            branch = norm_prelu(self.up(x), None, *self.norm1.modulation(condition), self.act1.slope)
            modulation = self.norm2.modulation(condition)
            return norm_prelu(self.conv(branch), self.shortcut(x), *modulation, self.act2.slope)
        branch = self.act1(self.norm1(self.up(x), condition))
        branch = self.norm2(self.conv(branch), condition)
        return self.act2(branch + F.interpolate(self.shortcut(x), scale_factor=2.0, mode="nearest"))


class Generator(nn.Module):
    """G: six up-sampling residual blocks from a start grid of (image_size / 64)^2 (Sec. 4.1).

    Latent code (B, latent_dim) and AU vector (B, 17) in [0, 5] -> image (B, 3, H, W) in [-1, 1]. The
    condition is the concatenation of l and u / 5; it makes the start grid, and with "film" also every norm's
    gain and shift.
    """

    def __init__(
        self, image_size: int, latent_dim: int, channels: Sequence[int], conditioning: Conditioning
    ) -> None:
        super().__init__()
        condition_dim = latent_dim + AU_COUNT
        self.grid = image_size // 2 ** len(channels)
        self.start = nn.Linear(condition_dim, channels[0] * self.grid**2)
        widths = (channels[0], *channels)
        self.blocks = nn.ModuleList(
            UpBlock(a, b, condition_dim, conditioning) for a, b in itertools.pairwise(widths)
        )
        self.to_image = nn.Conv2d(channels[-1], 3, 3, 1, 1)

    def forward(self, latent: Tensor, aus: Tensor) -> Tensor:
        """Return G(l | u)."""
        condition = torch.cat([latent, aus / MAX_INTENSITY], dim=1)
        x = self.start(condition).unflatten(1, (-1, self.grid, self.grid))
        for block in self.blocks:
            x = block(x, condition)
        return torch.tanh(self.to_image(x).float())


class LatentDiscriminator(nn.Module):
    """D_z: six fully-connected layers (Sec. 4.1). (B, latent_dim) -> score (B,), higher = more like the
    prior.
    """

    def __init__(self, latent_dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        sizes = (latent_dim, *widths)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    def forward(self, codes: Tensor) -> Tensor:
        """Return one score per code."""
        x = codes
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), LEAK)
        return self.layers[-1](x).squeeze(1).float()


class ImageDiscriminator(nn.Module):
    """D_img: six stride-2 convolutions (Sec. 4.1), a critic without batch statistics.

    (B, 3, H, W) in [-1, 1] -> score (B,), the mean over what is left of the grid; higher = more real.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        widths = (3, *channels)
        self.convs = nn.ModuleList(ProductConv2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(widths))

    def forward(self, images: Tensor) -> Tensor:
        """Return one score per image."""
        x = images
        for conv in self.convs[:-1]:
            x = F.leaky_relu(conv(x), LEAK)
        return self.convs[-1](x).flatten(1).mean(1).float()


class Classifier(nn.Module):
    """C_exp and C_id: blocks of 3 x 3 convolutions after VGG19, then one fully-connected layer (Sec. 3.3).

    (B, 3, H, W) in [-1, 1] -> logits (B, outputs). `features` gives the activation relu<block>_1.
    """

    def __init__(self, kind: ClassifierKind, width: float, image_size: int, outputs: int) -> None:
        super().__init__()
        counts, channels = CLASSIFIERS[kind]
        self.blocks = nn.ModuleList()
        before = 3
        for count, base in zip(counts, channels, strict=True):
            after = max(8, round(base * width))
            self.blocks.append(_vgg_block(before, after, count))
            before = after
        grid = image_size // 2 ** len(counts)
        self.head = nn.Linear(before * grid * grid, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        x = images
        for block in self.blocks:
            x = _maxima(block, x)
        return self.head(x.flatten(1)).float()

    def features(self, images: Tensor, block: int) -> Tensor:
        """Return relu<block>_1: the first activation of the given block, counted from 1: (B, C, H', W')."""
        x = images
        for whole in self.blocks[: block - 1]:
            x = _maxima(whole, x)
        conv, norm, _ = self.blocks[block - 1][:3]  # type: ignore[index]
        return F.relu(_normed(conv, norm, x)).float()


class ImageNetFeatures(nn.Module):
    """phi of Eq. 5: ImageNet VGG19 up to the activation relu<block>_1 (block 1 to 4).

    (B, 3, H, W) in [-1, 1] -> (B, C, H', W'). The weights come from
    `eggan.published_weights.load_vgg19_convolutions`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, convolutions: Sequence[tuple[Tensor, Tensor]], block: int) -> None:
        super().__init__()
        counts, _channels = CLASSIFIERS["vgg19"]
        self.pool_before = {sum(counts[:k]) for k in range(1, block)}
        self.convs = nn.ModuleList()
        for weight, bias in convolutions[: sum(counts[: block - 1]) + 1]:
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, 1, 1)
            conv.load_state_dict({"weight": weight, "bias": bias})
            self.convs.append(conv)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the activation."""
        return rectified(((images + 1) / 2 - self.mean) / self.std, self.convs, self.pool_before)


class ClassifierFeatures(nn.Module):
    """phi of Eq. 5 on a frozen classifier: `classifier.features(images, block)`."""

    def __init__(self, classifier: Classifier, block: int) -> None:
        super().__init__()
        self.classifier, self.block = classifier, block

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, C, H', W')."""
        return self.classifier.features(images, self.block)


def au_levels(logits: Tensor) -> Tensor:
    """Reshape C_exp's d(m+1) = 102 logits (B, 102) to (B, 17, 6)."""
    return logits.unflatten(1, (AU_COUNT, LEVELS))


def expected_intensity(logits: Tensor) -> Tensor:
    """Return the mean AU intensity under C_exp's probabilities: (B, 102) logits -> (B, 17) in [0, 5]."""
    levels = torch.arange(LEVELS, dtype=torch.float32, device=logits.device)
    return au_levels(logits).float().softmax(2) @ levels


def parameter_count(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _nearest_then(kernels: Tensor) -> Tensor:
    """Return the 4 x 4 stride-2 transposed kernels that equal nearest doubling, then 3 x 3: (I, O, 3, 3)."""
    box = torch.ones(1, 1, 2, 2)
    return F.conv2d(kernels.flatten(0, 1)[:, None], box, padding=1).view(*kernels.shape[:2], 4, 4)


def _vgg_block(before: int, after: int, count: int) -> nn.Sequential:
    from eggan.distributed import BatchNorm2d  # EGGAN-W's edits have no classifier

    layers: list[nn.Module] = []
    for index in range(count):
        layers += [
            nn.Conv2d(before if index == 0 else after, after, 3, 1, 1, bias=False),
            BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def rectified(x: Tensor, convs: nn.ModuleList, pool_before: Collection[int]) -> Tensor:
    """Return the float32 output of VGG19's convolutions, each rectified, with a pooling before some of them.

    What is pooled is rectified afterwards: equal, and less to rectify.
    """
    for index, conv in enumerate(convs, 1):
        x = conv(x)
        x = F.relu(F.max_pool2d(x, 2) if index in pool_before else x)
    return x.float()


def _maxima(block: nn.Module, x: Tensor) -> Tensor:
    """Return the 2 x 2 maxima of a block's output; to rectify the maxima is less work, and equal."""
    for conv, norm, rectifier in zip(block[::3], block[1::3], block[2::3], strict=True):  # type: ignore[index]
        x = _normed(conv, norm, x)
        if rectifier is not block[-1]:  # type: ignore[index]
            x = rectifier(x)
    return F.relu(F.max_pool2d(x, 2))


def _normed(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Return norm(conv(x)); on a CPU a norm that learns no more is a part of the convolution.

    EGGAN's passes of C_id and phi, forth and back: 38 ms before and 28 in bf16, 79 and 57 in float32 (64 px,
    16 pictures, one core with AMX, torch 2.14). A GPU would launch more kernels for it than it saves.
    """
    if norm.training or x.device.type != "cpu":
        return norm(conv(x))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight, bias = conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
    return F.conv2d(x, weight, bias, conv.stride, conv.padding)


def channels_last(network: Network) -> Network:
    """Lay the convolution weights of `network` out channels-last, in place; outputs follow that layout."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
