"""KID on given features: (N, D) float arrays from one extractor, named by the caller.

FID is not offered: it is biased at the small N of these splits, and KID is not.
"""

from typing import NamedTuple

import numpy as np

FEWEST_REAL, FEWEST_EDITS = 4, 2  # images: each half of the real ones, and the edits, need a pair


def polynomial_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return (x . y / D + 1)^3 for all pairs: (N, D), (M, D) -> (N, M) (Binkowski et al. 2018, Sec. 4)."""
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def kid(first: np.ndarray, second: np.ndarray) -> float:
    """Return the unbiased squared MMD with the cubic kernel (Binkowski et al. 2018, Eq. 4); may be negative.

    One value over all samples, not a mean over subsets, so it holds no random draw.
    """
    first, second = _features(first), _features(second)
    n, m = len(first), len(second)
    within_first = polynomial_kernel(first, first)
    within_second = polynomial_kernel(second, second)
    return float(
        (within_first.sum() - np.trace(within_first)) / (n * (n - 1))
        + (within_second.sum() - np.trace(within_second)) / (m * (m - 1))
        - 2.0 * polynomial_kernel(first, second).mean()
    )


class Kid(NamedTuple):
    """KID of edits against real images, and its floor: half of the real ones against the other half."""

    value: float
    floor: float


def kid_with_floor(real: np.ndarray, edit: np.ndarray, generator: np.random.Generator) -> Kid:
    """Return KID(real, edit) and its real-against-real floor: KID between two random halves of `real`."""
    order = generator.permutation(len(real))
    half = len(real) // 2
    floor = kid(real[order[:half]], real[order[half:]])
    return Kid(kid(real, edit), floor)


def _features(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(f"features must be (N, D) with at least two rows, not {values.shape}")
    return values
