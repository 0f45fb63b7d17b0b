"""Images whose structural similarity is known on paper: uniform greys and one-pixel chequers."""

import math

import torch
from torch import Tensor

C1, C2 = 0.01**2, 0.03**2  # Wang et al. 2003, Sec. 2: (K L)^2 with L = 1
FIRST, LAST = 0.0448, 0.1333  # exponents of the finest contrast term and of the luminance term, Sec. 3.2
SIGMA = 1.5  # of the Gaussian window
ROUNDING = 2e-4  # variances as E[x^2] - E[x]^2 in float32, beside C2 = 9e-4


def grey(level: float, size: int = 64) -> Tensor:
    """Return a uniform image (1, 3, size, size) in [-1, 1] of a grey level from 0 to 255."""
    return torch.full((1, 3, size, size), level / 127.5 - 1)


def chequers(amplitude: float, size: int = 64) -> Tensor:
    """Return pixels that alternate between -amplitude and amplitude: (1, 3, size, size)."""
    row = torch.arange(size)
    sign = 1 - 2 * ((row[:, None] + row) % 2)
    return (amplitude * sign).float().expand(1, 3, size, size).clone()


def ms_ssim_of_greys(first: float, second: float) -> float:
    """Return MS-SSIM of two uniform greys from 0 to 255: the luminance term of the coarsest scale."""
    a, b = first / 255, second / 255
    return ((2 * a * b + C1) / (a * a + b * b + C1)) ** LAST


def ms_ssim_of_chequers(amplitude: float, contrast: float) -> float:
    """Return MS-SSIM (window 3) of chequers and the same at another contrast.

    They differ at the finest scale alone: from the next on both are one mid-grey.
    """
    side = math.exp(-1 / (2 * SIGMA**2))
    residue = ((1 - 2 * side) / (1 + 2 * side)) ** 2  # of the amplitude after the window's mean in x and y
    variance = (amplitude / 2) ** 2 * (1 - residue**2)
    return ((2 * contrast * variance + C2) / ((1 + contrast**2) * variance + C2)) ** FIRST
