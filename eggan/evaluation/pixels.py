"""Pixel metrics against the true edit: PSNR, MS-SSIM, background change, LPIPS.

Images are float tensors (B, 3, H, W) in [-1, 1]; each metric returns one float32 value per image, (B,). All
run in fp32 with autocast off: variances in bf16 give MS-SSIM 0.63 where it is 0.96.
"""

from functools import lru_cache
from pathlib import Path

import torch
from pytorch_msssim import ms_ssim as _package_ms_ssim
from torch import Tensor

from eggan.model_config import largest_ms_ssim_window
from eggan.published_weights import LPIPS_FILES, find_weights, weights_missing


def psnr(image: Tensor, truth: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB per image; infinite for equal images."""
    image, truth = _check(image, truth)
    error = (image - truth).square().flatten(1).mean(dim=1)
    return 10.0 * torch.log10(4.0 / error)


def ms_ssim_window(size: int) -> int:
    """Return the largest odd window (at most 11) that five-scale MS-SSIM admits: 7 at 128 px, 3 at 64 px."""
    window = min(11, largest_ms_ssim_window(size))
    if window < 3:
        raise ValueError(f"five-scale MS-SSIM needs images of at least 33 px, not {size}")
    return window


def ms_ssim_name(size: int) -> str:
    """Return the metric's name with its window: scores with different windows cannot be compared."""
    return f"msssim_w{ms_ssim_window(size)}"


def ms_ssim(image: Tensor, truth: Tensor) -> Tensor:
    """Return MS-SSIM per image (Wang et al. 2003, Eq. 7), five scales, the window of `ms_ssim_window`.

    Computed on intensities in [0, 1]: its luminance term compares means with 0, which must be black.
    """
    image, truth = _check(image, truth)
    window = ms_ssim_window(min(image.shape[-2:]))
    first, second = (image + 1) / 2, (truth + 1) / 2
    with torch.autocast(image.device.type, enabled=False):
        return _package_ms_ssim(first, second, data_range=1.0, size_average=False, win_size=window)


def background_change(source: Tensor, edit: Tensor, background: Tensor) -> Tensor:
    """Return the mean absolute change over background pixels per image, in [-1, 1] units; NaN without any.

    `background`: bool (B, H, W), true where the pixel shows neither head nor body.
    """
    source, edit = _check(source, edit)
    mask = background[:, None].expand_as(source)
    change = ((edit - source).abs() * mask).flatten(1).sum(dim=1)
    return change / mask.flatten(1).sum(dim=1).to(change.dtype)


def still_background(source: Tensor, truth: Tensor, tolerance: float = 1.0 / 255.0) -> Tensor:
    """Return where the true edit leaves the source as it is: bool (B, H, W).

    A pixel counts as background for this edit when no channel moves by more than `tolerance` (one grey level
    of the stored image is 2/255), so the true edit itself scores 0.
    """
    source, truth = _check(source, truth)
    return ((truth - source).abs() <= tolerance).all(dim=1)


def lpips_missing(net: str = "alex") -> str | None:
    """Return why LPIPS cannot be measured here, or None when the right backbone file is there."""
    return weights_missing(LPIPS_FILES[net])


def lpips(image: Tensor, truth: Tensor, net: str = "alex") -> Tensor:
    """Return LPIPS v0.1 per image (Zhang et al. 2018); call `lpips_missing` first, this raises without
    weights.
    """
    reason, path = lpips_missing(net), find_weights(LPIPS_FILES[net])
    if reason or path is None:
        raise FileNotFoundError(reason)
    image, truth = _check(image, truth)
    model = _lpips_model(net, path).to(image.device)
    with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
        return model(image, truth).flatten()


def _check(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    if first.shape != second.shape or first.ndim != 4:
        raise ValueError(
            f"expected two equal (B, 3, H, W) batches, not {tuple(first.shape)} and {tuple(second.shape)}"
        )
    if not (first.is_floating_point() and second.is_floating_point()):
        raise ValueError("expected float images in [-1, 1], not integers")
    return first.float(), second.float()


@lru_cache(maxsize=3)
def _lpips_model(net: str, path: Path) -> torch.nn.Module:
    """Return LPIPS with the backbone of a verified file; the package itself would load an unchecked one."""
    import lpips as package  # takes seconds and is needed only where the weights are

    with torch.random.fork_rng(devices=[]):  # the package draws the backbone that is replaced below
        model = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    state = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    keys = list(model.net.state_dict())  # slice2.3.weight is the backbone's features.3.weight
    model.net.load_state_dict({key: state[f"features.{key.partition('.')[2]}"] for key in keys})
    return model.eval().requires_grad_(False)
