"""From light to the picture file: exposure, the shoulder of the film curve, sensor noise."""

import numpy as np
from numba import njit


def sensor_noise(seed: int, size: int) -> np.ndarray:
    """Return the sensor noise (size, size) float32 in grey levels."""
    return np.random.default_rng(seed).standard_normal((size, size), dtype=np.float32) * np.float32(0.9)


@njit(cache=True)
def develop(linear: np.ndarray, noise: np.ndarray, exposure: float) -> np.ndarray:
    """Expose linear RGB (S, S, 3), compress the highlights, add noise (S, S) and return uint8 (S, S, 3)."""
    picture = np.empty(linear.shape, np.uint8)
    for row in range(linear.shape[0]):
        for column in range(linear.shape[1]):
            for c in range(3):
                light = linear[row, column, c] * exposure * 1.10
                if light >= 0.6:
                    light = 0.6 + 0.4 * (1 - np.exp(-(light - 0.6) / 0.4))
                level = min(max(light, 0.0), 1.0) ** (1 / 2.2) * 255 + noise[row, column]
                picture[row, column, c] = np.uint8(min(max(np.rint(level), 0.0), 255.0))
    return picture
