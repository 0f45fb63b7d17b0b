"""Smooth noise inside compiled functions.

Numba's cache of a function that uses it notices no change here: delete `__pycache__` after one.
"""

import numpy as np
from numba import njit

from eggan.data.synfacs.raster import FAST


@njit(cache=True, fastmath=FAST, forceinline=True)
def hash01(i: int, j: int) -> float:
    """Return a pseudo-random number in [0, 1) for two integers."""
    h = (i * 374761393 + j * 668265263) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65536.0


@njit(cache=True, fastmath=FAST, forceinline=True)
def value_noise(x: float, y: float) -> float:
    """Return smooth noise in [0, 1] with unit cell size."""
    i, j = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - i, y - j
    fx = fx * fx * (3 - 2 * fx)
    fy = fy * fy * (3 - 2 * fy)
    a = hash01(i, j) * (1 - fx) + hash01(i + 1, j) * fx
    b = hash01(i, j + 1) * (1 - fx) + hash01(i + 1, j + 1) * fx
    return a * (1 - fy) + b * fy
