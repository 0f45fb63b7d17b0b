"""Wrinkles, bulges and creases that action units leave in the skin, as height maps over the frontal plane.

The maps live on the *template* face (x to the person's left, z up, metres), so they move with the skin.
Heights are in metres: creases are negative. A map belongs to one AU; its left half (x > 0) is weighted by
the AU's left strength, its right half by the right one.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter

from eggan.aus import AU_NUMBERS, MAX_INTENSITY
from eggan.data.synfacs.actions import left_right

MAP_LEFT, MAP_BOTTOM, MAP_STEP = -0.11, 0.60, 0.0006
MAP_COLUMNS, MAP_ROWS = 368, 438
# an AU that moves little geometry must be read from its wrinkles, on small pictures too
EMPHASIS = {1: 1.7, 2: 2.2, 6: 1.8, 7: 2.0, 9: 1.3, 14: 1.4, 17: 1.6, 20: 1.5, 23: 1.7}
FLAT = 1e-7  # metres: less height than this is no wrinkle, and no picture shows it
Points = list[tuple[float, float]]


@lru_cache(maxsize=1)
def map_axes() -> tuple[np.ndarray, np.ndarray]:
    """Return x (1, W) and z (H, 1) of the map's cells in template metres, float32."""
    x = MAP_LEFT + MAP_STEP * np.arange(MAP_COLUMNS, dtype=np.float32)
    z = MAP_BOTTOM + MAP_STEP * np.arange(MAP_ROWS, dtype=np.float32)
    return x[None, :], z[:, None]


def distance(points: Points) -> np.ndarray:
    """Return the distance (H, W) of every cell to a polyline, metres."""
    x, z = map_axes()
    best = np.full((MAP_ROWS, MAP_COLUMNS), 1.0, np.float32)
    for (x0, z0), (x1, z1) in pairwise(points):
        dx, dz = x1 - x0, z1 - z0
        t = np.clip(((x - x0) * dx + (z - z0) * dz) / (dx * dx + dz * dz), 0, 1)
        best = np.minimum(best, np.hypot(x - x0 - t * dx, z - z0 - t * dz))
    return best


def taper(points: Points) -> np.ndarray:
    """Return a weight (H, W) that is 1 along the middle of a polyline and falls to 0.25 at its ends."""
    x, z = map_axes()
    middle = np.mean(np.array(points), axis=0)
    reach = max(np.hypot(px - middle[0], pz - middle[1]) for px, pz in points) + 1e-6
    return np.clip(1.25 - (np.hypot(x - middle[0], z - middle[1]) / reach) ** 2, 0.25, 1)


def crease(points: Points, depth: float, width: float) -> np.ndarray:
    """Return a groove along a polyline on both sides of the face, with slightly raised banks."""
    total = np.zeros((MAP_ROWS, MAP_COLUMNS), np.float32)
    for sign in (1, -1):
        mirrored = [(sign * px, pz) for px, pz in points]
        d = distance(mirrored) / width
        groove = -np.exp(-0.5 * d * d) + 0.45 * np.exp(-0.5 * (d - 2.2) ** 2)
        total = total + depth * groove * taper(mirrored)
        if all(abs(px) < 1e-9 for px, _ in points):
            break
    return total


def bulge(x0: float, z0: float, height: float, width: float, tall: float) -> np.ndarray:
    """Return a soft bump at (+-x0, z0)."""
    x, z = map_axes()
    field = np.zeros((MAP_ROWS, MAP_COLUMNS))
    for centre in (x0,) if x0 == 0 else (x0, -x0):
        field = field + height * np.exp(-0.5 * (((x - centre) / width) ** 2 + ((z - z0) / tall) ** 2))
    return field


def centred(points: Points, depth: float, width: float) -> np.ndarray:
    """Return a groove that crosses the middle line (drawn once, not mirrored)."""
    d = distance(points) / width
    return depth * (-np.exp(-0.5 * d * d) + 0.45 * np.exp(-0.5 * (d - 2.2) ** 2)) * taper(points)


def forehead_line(z0: float, inner: float, outer: float, lift: float) -> Points:
    """Return a slightly arched horizontal line from x = inner to x = outer."""
    return [
        (x, z0 + lift * np.sin(np.pi * (x - inner) / (outer - inner))) for x in np.linspace(inner, outer, 6)
    ]


@lru_cache(maxsize=1)
def au_maps() -> dict[int, np.ndarray]:
    """Return AU number -> height map (H, W) float32 at intensity 5."""
    inner = [(x, 0.0022 * np.cos(x / 0.026 * np.pi / 2)) for x in np.linspace(-0.026, 0.026, 9)]
    maps = {
        1: sum(
            centred([(x, z0 + lift) for x, lift in inner], 0.0014, 0.0018) for z0 in (0.762, 0.7705, 0.779)
        )
        + bulge(0.012, 0.7505, 0.0012, 0.005, 0.004),
        2: sum(
            crease(forehead_line(z0, 0.028, 0.058, 0.003), 0.0013, 0.0018) for z0 in (0.764, 0.7725, 0.781)
        ),
        4: crease([(0.0055, 0.7385), (0.0062, 0.747), (0.0072, 0.755)], 0.0019, 0.0018)
        + bulge(0.0, 0.747, 0.0008, 0.003, 0.006)
        + bulge(0.011, 0.7435, 0.0016, 0.005, 0.004),
        6: sum(
            crease([(0.0545, z0), (0.0635, z1)], 0.0012, 0.0011)
            for z0, z1 in ((0.7255, 0.7235), (0.729, 0.7295), (0.7325, 0.736))
        )
        + crease([(0.024, 0.7135), (0.034, 0.7105), (0.046, 0.7125), (0.053, 0.717)], 0.0013, 0.0014)
        + bulge(0.043, 0.703, 0.0030, 0.011, 0.008),
        7: crease([(0.020, 0.7215), (0.031, 0.7178), (0.043, 0.7195)], 0.0012, 0.0014)
        + crease([(0.019, 0.7375), (0.031, 0.7405), (0.044, 0.7385)], 0.0009, 0.0014),
        9: sum(
            crease([(0.0020, z0), (0.0065, z0 + 0.0008), (0.0115, z0 + 0.0035)], 0.0013, 0.0013)
            for z0 in (0.7255, 0.7305, 0.7355)
        )
        + crease([(0.0125, 0.715), (0.0185, 0.705), (0.0195, 0.697)], 0.0013, 0.0014),
        10: crease([(0.0190, 0.690), (0.0235, 0.684), (0.0275, 0.676)], 0.0019, 0.0023)
        + bulge(0.0235, 0.694, 0.0016, 0.006, 0.005),
        12: crease([(0.0205, 0.688), (0.0285, 0.679), (0.0345, 0.669), (0.0365, 0.659)], 0.0017, 0.0024)
        + bulge(0.042, 0.690, 0.0024, 0.009, 0.009),
        14: crease([(0.0315, 0.668), (0.0335, 0.6615), (0.0315, 0.6545)], 0.0028, 0.0023)
        + bulge(0.0395, 0.661, 0.0014, 0.005, 0.007),
        15: crease([(0.0265, 0.6575), (0.0300, 0.649), (0.0305, 0.639)], 0.0019, 0.0021),
        17: chin_pits()
        + centred([(x, 0.6425 - 12 * x * x) for x in np.linspace(-0.016, 0.016, 7)], 0.0024, 0.0026),
        20: crease([(0.0345, 0.669), (0.0385, 0.660), (0.0375, 0.648)], 0.0014, 0.0020)
        + crease([(0.0410, 0.667), (0.0455, 0.657), (0.0440, 0.645)], 0.0011, 0.0020),
        23: lip_lines(),
    }
    emphasised = {number: field * EMPHASIS.get(number, 1.0) for number, field in maps.items()}
    return {
        number: np.ascontiguousarray(np.where(np.abs(field) < FLAT, 0, field), np.float32)
        for number, field in emphasised.items()
    }


@lru_cache(maxsize=1)
def au_patches() -> list[tuple[int, int, int, np.ndarray]]:
    """Return (AU position, first row, first column, heights) of the part of each AU's map with wrinkles."""
    patches = []
    for number, field in au_maps().items():
        rows, columns = np.flatnonzero(field.any(axis=1)), np.flatnonzero(field.any(axis=0))
        top, left = int(rows[0]), int(columns[0])
        patch = np.ascontiguousarray(field[top : rows[-1] + 1, left : columns[-1] + 1])
        patches.append((AU_NUMBERS.index(number), top, left, patch))
    return patches


def wrinkle_map(aus: np.ndarray, asymmetry: np.ndarray, age_wrinkles: float) -> np.ndarray:
    """Return the height (H, W) float32 that AUs (17,) in [0, 5] add to the skin, metres."""
    left, right = left_right(aus / MAX_INTENSITY, asymmetry)
    depth = 0.85 + 0.35 * age_wrinkles
    blend = np.clip(map_axes()[0][0] / 0.008 + 0.5, 0, 1)  # 1 on the person's left
    total = np.zeros((MAP_ROWS, MAP_COLUMNS), np.float32)
    for position, top, first, patch in au_patches():
        if aus[position] > 0:
            part = blend[first : first + patch.shape[1]]
            share = depth * (left[position] * part + right[position] * (1 - part))
            total[top : top + patch.shape[0], first : first + patch.shape[1]] += patch * share.astype(
                np.float32
            )
    return total


def chin_pits() -> np.ndarray:
    """Return the orange-peel dimples of a raised chin."""
    window = bulge(0.0, 0.631, 1.0, 0.012, 0.0075)
    pits = gaussian_filter(np.random.default_rng(17).standard_normal((MAP_ROWS, MAP_COLUMNS)), 2.6)
    return window * (0.0027 + 0.00033 * pits / pits.std())


def lip_lines() -> np.ndarray:
    """Return the short vertical lines around tightened lips."""
    x, z = map_axes()
    lines = np.clip(np.cos(x * 2 * np.pi / 0.0058), 0, 1) ** 2
    above = np.exp(-0.5 * ((z - 0.6745 + 6 * x * x) / 0.0032) ** 2)
    below = np.exp(-0.5 * ((z - 0.6465 - 6 * x * x) / 0.0030) ** 2)
    return -0.0011 * lines * (above + below) * np.exp(-0.5 * (x / 0.018) ** 2)


@lru_cache(maxsize=1)
def age_map() -> np.ndarray:
    """Return the wrinkles of an old face at rest (H, W), metres."""
    folds = crease([(0.0205, 0.688), (0.0265, 0.679), (0.0310, 0.668)], 0.0012, 0.0020)
    bags = crease([(0.020, 0.7155), (0.030, 0.7115), (0.042, 0.7145)], 0.0008, 0.0016)
    feet = sum(
        crease([(0.055, z0), (0.064, z1)], 0.0006, 0.0011) for z0, z1 in ((0.7255, 0.7235), (0.7315, 0.735))
    )
    brow = sum(
        centred([(x, z0 - 0.9 * x * x) for x in np.linspace(-0.048, 0.048, 9)], 0.0006, 0.0015)
        for z0 in (0.765, 0.7745, 0.784)
    )
    marionette = crease([(0.0275, 0.656), (0.0300, 0.645)], 0.0007, 0.0016)
    return np.ascontiguousarray(folds + bags + feet + brow + marionette, dtype=np.float32)
