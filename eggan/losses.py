"""Eq. 1 to 6 of the paper, and EGGAN-W's losses on true edits: pure functions from tensors to an unweighted
0-d tensor (mean over the batch).

Images are (B, 3, H, W) float32 in [-1, 1]. Nothing here draws random numbers, reads a config or applies a
weight; Eq. 7 is put together in `eggan.model`. D_z and D_img are maximised in Eq. 7: the `*_critic`
functions return what the discriminator *minimises*, the `*_generator` functions what E or G minimises.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import reduce
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_msssim import ms_ssim, ssim
from torch import Tensor
from torch.overrides import TorchFunctionMode

from eggan.aus import LEVELS
from eggan.networks import au_levels
from eggan.on_device import constants

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, Sec. 3.2
SSIM_SIGMA = 1.5  # Wang et al. 2004, Sec. III-C


def eq1_latent_critic(prior_logits: Tensor, code_logits: Tensor) -> Tensor:
    """Return -(E[log D_z(z)] + E[log(1 - D_z(E(I)))]) with D_z = sigmoid(logit) (Eq. 1); logits are (B,)."""
    return F.softplus(-prior_logits).mean() + F.softplus(code_logits).mean()


def eq1_latent_generator(code_logits: Tensor) -> Tensor:
    """Return -E[log D_z(E(I))], the non-saturating form of Eq. 1 for E (Goodfellow et al. 2014, Sec. 3)."""
    return F.softplus(-code_logits).mean()


def wasserstein_critic(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Return E[D(fake)] - E[D(real)]: Eq. 2 (and Eq. 1 as a critic) in its WGAN form; scores are (B,)."""
    return fake_scores.mean() - real_scores.mean()


def wasserstein_generator(fake_scores: Tensor) -> Tensor:
    """Return -E[D(fake)], what the generator minimises in WGAN-GP (Gulrajani et al. 2017, Alg. 1)."""
    return -fake_scores.mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Return E[(||grad D(x)||_2 - 1)^2] at `points` (B, ...) (last term of Eq. 2).

    The caller chooses the points: random interpolates of real and fake (Gulrajani et al. 2017, Eq. 3) or the
    real images (the printed form). `critic` maps (B, ...) to (B,) and treats samples independently.
    """
    at = points.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    return (slope.float().flatten(1).norm(dim=1) - 1).square().mean()


def interpolates(real: Tensor, fake: Tensor, t: Tensor) -> Tensor:
    """Return real + t (fake - real), detached; real, fake: (B, ...), t: (B,) in [0, 1]."""
    return torch.lerp(real, fake, t.view(-1, *[1] * (real.dim() - 1))).detach()


def eq3_au(logits: Tensor, aus: Tensor) -> Tensor:
    """Return the AU level cross-entropy, mean over the batch and the 17 AUs (Eq. 3).

    logits: (B, 102) of C_exp; aus: (B, 17) in [0, 5], rounded to the nearest of the six levels.
    """
    levels = aus.round().clamp(0, LEVELS - 1).long()
    return F.cross_entropy(au_levels(logits).flatten(0, 1), levels.flatten())


def eq3_au_unrounded(logits: Tensor, aus: Tensor) -> Tensor:
    """Return Eq. 3 without its rounding: an intensity between two levels is shared between these two.

    The shares are linear, so that the target's mean level is the intensity itself; at whole intensities this
    is `eq3_au`. Arguments as there, aus not rounded.
    """
    lower = aus.floor().clamp(0, LEVELS - 2)
    upper_share = (aus - lower).clamp(0, 1)[..., None]
    at_lower = F.one_hot(lower.long(), LEVELS).to(logits.dtype)
    shares = (1 - upper_share) * at_lower + upper_share * at_lower.roll(1, dims=-1)
    return F.cross_entropy(au_levels(logits).flatten(0, 1), shares.flatten(0, 1))


AU_LOSSES = MappingProxyType({"rounded": eq3_au, "unrounded": eq3_au_unrounded})  # by config.au_labels


def eq4_identity(logits: Tensor, identity: Tensor) -> Tensor:
    """Return the identity cross-entropy (Eq. 4); logits: (B, n) of C_id, identity: (B,) int64."""
    return F.cross_entropy(logits, identity)


def eq5_perceptual(source: Tensor, edit: Tensor, rebuilt: Tensor) -> Tensor:
    """Return (||phi(I) - phi(I~)||_2 + ||phi(I) - phi(I^)||_2) / (C3 H3 W3), mean over the batch (Eq. 5).

    Arguments are feature maps (B, C3, H3, W3). The norm is printed unsquared, so the value shrinks with
    1 / sqrt(C3 H3 W3): see `eq5_perceptual_squared` for the usual form.
    """
    distance = (source - edit).flatten(1).norm(dim=1) + (source - rebuilt).flatten(1).norm(dim=1)
    return distance.mean() / source[0].numel()


def eq5_perceptual_squared(source: Tensor, edit: Tensor, rebuilt: Tensor) -> Tensor:
    """Return Eq. 5 with squared norms (Johnson et al. 2016, Eq. 2): mean squared feature differences,
    summed.
    """
    return F.mse_loss(edit, source) + F.mse_loss(rebuilt, source)


def eq6_l1(rebuilt: Tensor, image: Tensor) -> Tensor:
    """Return the L1 part of Eq. 6: mean absolute difference over pixels and channels, images in [-1, 1]."""
    return F.l1_loss(rebuilt.float(), image.float())


def eq6_ms_ssim(rebuilt: Tensor, image: Tensor, window: int) -> Tensor:
    """Return 1 - MS-SSIM(rebuilt, image), the second part of Eq. 6.

    Converts from [-1, 1] to [0, 1]. Always float32 with autocast off: in bf16 its variances are meaningless.
    `window` must satisfy side > (window - 1) * 16.
    """
    with torch.autocast(rebuilt.device.type, enabled=False):
        a, b = _in_unit_range(rebuilt), _in_unit_range(image)
        weights = constants(MS_SSIM_WEIGHTS, a.device)
        with warnings.catch_warnings():  # the package copies them, and would rather be given a list
            warnings.filterwarnings("ignore", "To copy construct from a tensor")
            with _ProductOnDevice():
                return 1 - ms_ssim(a, b, data_range=1.0, win=_gaussian(a, window), weights=weights)


class _ProductOnDevice(TorchFunctionMode):
    """Multiplies factors one by one: the gradient of `torch.prod` asks the host whether one of them is 0,
    which makes a GPU's queue of work wait, and keeps a step from being recorded.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.prod:
            return reduce(torch.mul, args[0].unbind(**kwargs))
        return function(*args, **(kwargs or {}))


def _in_unit_range(images: Tensor) -> Tensor:
    """Return float32 images in [0, 1]; on a CPU channels-last: the package's blurs take half as long."""
    unit = (images.float() + 1) / 2
    return unit.contiguous(memory_format=torch.channels_last) if unit.device.type == "cpu" else unit


def _gaussian(images: Tensor, size: int) -> Tensor:
    """Return the package's own window (C, 1, 1, size), made where the images are."""
    places = torch.arange(size, dtype=torch.float32, device=images.device) - size // 2
    window = torch.exp(-(places**2) / (2 * SSIM_SIGMA**2))
    return (window / window.sum()).repeat(images.shape[1], 1, 1, 1)


# Losses on true edits: images (B, 3, H, W) in [-1, 1]; `weight` is a map (B, 1, H, W) in [0, 1].


def change_weight(source: Tensor, truth: Tensor, full: float) -> Tensor:
    """Return where a true edit differs from its source: 0 where nothing does, 1 from a difference of `full`.

    The largest difference of the three channels, averaged over 3 x 3 pixels, so that edges of thin structures
    count.
    """
    change = (truth.float() - source.float()).abs().amax(1, keepdim=True)
    return F.avg_pool2d((change / full).clamp(max=1), 3, 1, 1, count_include_pad=False)


def weighted_l1(edit: Tensor, truth: Tensor, weight: Tensor, floor: float) -> Tensor:
    """Return the mean absolute difference under `weight`, normalised in each image, then averaged.

    So an edit of twenty pixels counts as much as one of two thousand. `floor` (a share of the pixels) is
    added to each image's total weight: pairs with less change than that count less.
    """
    error = (edit.float() - truth.float()).abs().mean(1, keepdim=True)
    return ((error * weight).mean((1, 2, 3)) / (weight.mean((1, 2, 3)) + floor)).mean()


def weighted_gradient_l1(edit: Tensor, truth: Tensor, weight: Tensor, floor: float) -> Tensor:
    """Return `weighted_l1` of the differences of horizontal and vertical neighbours, their mean."""
    across = weighted_l1(edit.diff(dim=3), truth.diff(dim=3), weight[:, :, :, 1:], floor)
    down = weighted_l1(edit.diff(dim=2), truth.diff(dim=2), weight[:, :, 1:], floor)
    return (across + down) / 2


def dissimilarity(edit: Tensor, truth: Tensor, window: int) -> Tensor:
    """Return 1 - SSIM at one scale; float32 with autocast off, as in `eq6_ms_ssim`; `window` is odd."""
    with torch.autocast(edit.device.type, enabled=False):
        a, b = _in_unit_range(edit), _in_unit_range(truth)
        return 1 - ssim(a, b, data_range=1.0, win=_gaussian(a, window))


def flow_roughness(flow: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring flow vectors; flow: (B, 2, H, W)."""
    flow = flow.float()
    return flow.diff(dim=3).abs().mean() + flow.diff(dim=2).abs().mean()


def half_painted(moved: Tensor, colour: Tensor, paint: Tensor) -> Tensor:
    """Return how far an edit shows two pictures at once: 4 p (1 - p) |colour - moved|, mean over the pixels.

    0 where a pixel is moved or painted (p = 0 or 1), or where both are alike. paint: (B, 1, H, W) in [0, 1].
    """
    return (4 * paint * (1 - paint) * (colour - moved).abs()).mean()


def mean_magnitudes(features: Sequence[Tensor]) -> Tensor:
    """Return the mean magnitude of each of L layers' features: (L)."""
    return torch.stack([layer.float().abs().mean() for layer in features])


def feature_l1(edit: Sequence[Tensor], truth: Sequence[Tensor], magnitudes: Tensor) -> Tensor:
    """Return the mean absolute difference of features of L layers, each relative to the truth's
    `mean_magnitudes` (L).
    """
    # Channels last, as the features lie, so that gradients lie alike: two layouts make an operation ten times
    # as long.
    differences = [(a.float() - b.float()).movedim(1, 3) for a, b in zip(edit, truth, strict=True)]
    distances = [difference.abs().mean() for difference in differences]
    return (torch.stack(distances) / magnitudes.clamp(min=1e-6)).mean()
