"""KID and FID on given features: (N, D) float arrays from one extractor, named by the caller.

KID is unbiased, FID is biased at small N: both are shown only beside the real-against-real floor and N.
"""

from typing import NamedTuple

import numpy as np


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
    """KID of edits against real images, its floor (half of the real ones against half) and the counts."""

    value: float
    floor: float
    n_real: int
    n_edit: int


def kid_with_floor(real: np.ndarray, edit: np.ndarray, generator: np.random.Generator) -> Kid:
    """Return KID(real, edit) and its real-against-real floor: KID between two random halves of `real`."""
    order = generator.permutation(len(real))
    half = len(real) // 2
    floor = kid(real[order[:half]], real[order[half:]])
    return Kid(kid(real, edit), floor, len(real), len(edit))


def fid(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Frechet distance of two Gaussians fitted to the features (Heusel et al. 2017, Eq. 6)."""
    first, second = _features(first), _features(second)
    offset = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    cov_first, cov_second = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = _symmetric_root(np.atleast_2d(cov_first))
    # tr((C1 C2)^1/2) = sum of roots of eigenvalues of C1^1/2 C2 C1^1/2, which is symmetric
    eigenvalues = np.linalg.eigvalsh(root @ np.atleast_2d(cov_second) @ root)
    cross = np.sqrt(np.clip(eigenvalues, 0.0, None)).sum()
    return float(
        offset + np.trace(np.atleast_2d(cov_first)) + np.trace(np.atleast_2d(cov_second)) - 2.0 * cross
    )


def _symmetric_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T


def _features(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(f"features must be (N, D) with at least two rows, not {values.shape}")
    return values
