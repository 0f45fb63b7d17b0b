"""The texture of hair strands, shared by all people."""

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter


@lru_cache(maxsize=1)
def strand_texture() -> np.ndarray:
    """Return the strand density (512, 1024) uint8, 255 the densest: periodic noise along the strands."""
    rng = np.random.default_rng(11)
    fine = gaussian_filter(rng.standard_normal((512, 1024)), (26, 0.9), mode="wrap")
    coarse = gaussian_filter(rng.standard_normal((512, 1024)), (60, 5.0), mode="wrap")
    field = fine / fine.std() + 0.9 * coarse / coarse.std()
    ranks = np.argsort(np.argsort(field.ravel(), kind="stable"), kind="stable")
    return (ranks.reshape(field.shape) * 256 // field.size).astype(np.uint8)
