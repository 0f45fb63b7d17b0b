"""The skin of one person, baked once into maps over the frontal plane of the template face.

Baking makes a picture's cost independent of how rich the skin is: rendering only looks the maps up.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from eggan.data.synfacs.identity import Identity, Paint
from eggan.data.synfacs.wrinkles import MAP_COLUMNS, MAP_ROWS, age_map, distance, map_axes

HAIRLINE_Z = 0.797  # template height of the middle of the hair line, metres
BEARDS = {"full": 1.0, "short": 0.62, "goatee": 0.95, "moustache": 0.95, "none": 0.0}


@dataclass(frozen=True)
class SkinMaps:
    """`albedo` (H, W, 3) linear RGB; `height` (H, W) metres; `matte` (H, W), 1 where hair covers."""

    albedo: np.ndarray
    height: np.ndarray
    matte: np.ndarray


def bake_skin(identity: Identity) -> SkinMaps:
    """Return the maps of a person."""
    paint = identity.paint
    rng = np.random.default_rng(paint.texture_seed)
    albedo = np.ones((MAP_ROWS, MAP_COLUMNS, 3)) * np.array(paint.skin)
    albedo = albedo * complexion(paint, rng)
    albedo = add_spots(albedo, paint, rng)
    albedo = add_eye_area(albedo, paint)
    height = 0.000035 * paint.roughness * noise(rng, 1.3) + paint.wrinkles * age_map()
    matte = np.zeros((MAP_ROWS, MAP_COLUMNS))
    for cover, colour in hair_covers(identity, rng):
        albedo = albedo * (1 - cover[:, :, None]) + np.array(colour) * cover[:, :, None]
        matte = np.maximum(matte, cover)
    height = (height + 0.00022 * matte * noise(rng, 0.9)) * step((map_axes()[1] - 0.622) / 0.02)
    return SkinMaps(
        np.ascontiguousarray(albedo, np.float32),
        np.ascontiguousarray(height, np.float32),
        np.ascontiguousarray(matte, np.float32),
    )


def noise(rng: np.random.Generator, blur: float | tuple[float, float]) -> np.ndarray:
    """Return blurred white noise (H, W) with unit variance; `blur` in map cells (down, across)."""
    field = gaussian_filter(rng.standard_normal((MAP_ROWS, MAP_COLUMNS)), blur)
    return field / field.std()


def blob(x0: float, z0: float, width: float, tall: float) -> np.ndarray:
    """Return a soft spot at (+-x0, z0) with peak 1."""
    x, z = map_axes()
    return np.exp(-0.5 * (((np.abs(x) - x0) / width) ** 2 + ((z - z0) / tall) ** 2))


def complexion(paint: Paint, rng: np.random.Generator) -> np.ndarray:
    """Return the factor (H, W, 3) of blood and blotches on the skin colour."""
    light = 1.0 - 0.6 * paint.melanin
    blood = 0.9 * blob(0.046, 0.698, 0.014, 0.012) + 0.8 * blob(0.0, 0.688, 0.011, 0.007)
    blood = blood + 0.35 * blob(0.0, 0.632, 0.014, 0.008) + 0.5 * blob(0.085, 0.72, 0.008, 0.03)
    blood = np.clip(blood + 0.10 * noise(rng, 9), 0, 1.3) * paint.redness * light
    factor = 1.0 - blood[:, :, None] * np.array([0.02, 0.26, 0.22])
    yellow = 0.06 * blob(0.0, 0.772, 0.05, 0.02)[:, :, None] * np.array([0.0, 0.1, 0.5])
    blotch = 1.0 + paint.roughness * (0.020 * noise(rng, 5) + 0.022 * noise(rng, 1.3))[:, :, None]
    neck = step((0.632 - map_axes()[1]) / 0.02)[:, :, None]  # the last row of the map covers the whole neck
    return ((factor - yellow) * blotch) * (1 - neck) + neck


def add_spots(albedo: np.ndarray, paint: Paint, rng: np.random.Generator) -> np.ndarray:
    """Darken freckles, age spots and a few moles."""
    x, z = map_axes()
    marks = np.zeros((MAP_ROWS, MAP_COLUMNS))
    freckles = int(150 * paint.freckles)
    for _ in range(freckles):
        side, centre = rng.choice([-1, 1]), rng.normal([0.028, 0.706], [0.016, 0.013])
        marks += rng.uniform(0.08, 0.30) * spot(
            x - side * centre[0], z - centre[1], rng.uniform(0.0005, 0.0009)
        )
    for _ in range(int(rng.integers(0, 4))):
        where = rng.uniform([-0.055, 0.63], [0.055, 0.78])
        marks += 0.75 * spot(x - where[0], z - where[1], rng.uniform(0.0009, 0.0016))
    for _ in range(int(12 * max(0.0, paint.wrinkles - 0.4))):
        where = rng.uniform([-0.07, 0.69], [0.07, 0.795])
        marks += 0.22 * spot(x - where[0], z - where[1], rng.uniform(0.0015, 0.0035))
    shade = np.clip(marks, 0, 0.85)[:, :, None]
    return albedo * (1 - shade * np.array([0.55, 0.72, 0.80]))


def spot(dx: np.ndarray, dz: np.ndarray, radius: float) -> np.ndarray:
    """Return a round spot."""
    return np.exp(-0.5 * (dx * dx + dz * dz) / radius**2)


def add_eye_area(albedo: np.ndarray, paint: Paint) -> np.ndarray:
    """Shade under the eyes, paint eye shadow on the upper lids and a line along the lashes."""
    under = paint.under_eye * 0.9 * blob(0.029, 0.7165, 0.010, 0.0035)
    albedo = albedo * (1 - 0.36 * under[:, :, None] * np.array([0.75, 1.0, 0.85]))
    lid = paint.eye_shadow * blob(0.033, 0.7395, 0.0125, 0.0045)
    tint = np.array([0.50, 0.40, 0.46])
    albedo = albedo * (1 - lid[:, :, None] * (1 - tint) * 0.75)
    rim = np.exp(
        -0.5
        * (
            (
                np.sqrt(
                    ((np.abs(map_axes()[0]) - 0.0335) / 0.0165) ** 2
                    + ((map_axes()[1] - 0.7285) / 0.0085) ** 2
                )
                - 1
            )
            / 0.14
        )
        ** 2
    )
    return albedo * (1 - 0.22 * rim[:, :, None] * np.array([0.8, 1.0, 1.0]))


def hair_covers(
    identity: Identity, rng: np.random.Generator
) -> list[tuple[np.ndarray, tuple[float, float, float]]]:
    """Return (cover (H, W) in [0, 1], colour) of brows, beard and the scalp under the hair."""
    paint = identity.paint
    covers = [(brow_cover(paint, rng), paint.brow_colour)]
    if not identity.female:
        covers.append((beard_cover(paint, rng), paint.beard_colour))
    if identity.hair.style != "bald":
        covers.append((scalp_cover(identity, rng), identity.hair.colour))
    else:
        covers.append((0.22 * scalp_cover(identity, rng), identity.hair.colour))
    return covers


def brow_cover(paint: Paint, rng: np.random.Generator) -> np.ndarray:
    """Return both brows, drawn as strokes along an arch."""
    x, z = map_axes()
    base = 0.7455 + paint.brow_height
    tilt = 0.0022 * paint.brow_angle
    arch = [(0.0125, base - 0.0004 - tilt), (0.022, base + 0.0016), (0.034, base + 0.0036 + 0.6 * tilt)]
    arch += [(0.043, base + 0.0030 + 0.6 * tilt), (0.0525, base - 0.0012)]
    total = np.zeros((MAP_ROWS, MAP_COLUMNS))
    strokes = 0.95 + 0.13 * noise(rng, 0.9)
    for sign in (1, -1):
        d = distance([(sign * px, pz) for px, pz in arch])
        along = np.clip((np.abs(x) - 0.0125) / 0.04, 0, 1)
        half = 0.0034 * paint.brow_thickness * (1.0 - 0.62 * along**1.5)
        inner = np.clip((np.abs(x) - 0.0095) / 0.006, 0, 1)
        side = (sign * x > 0) + 0 * z
        total = np.maximum(total, side * inner * np.clip(1.25 - d / half * 0.8, 0, 1))
    return np.clip(total * strokes * 1.15, 0, 1) * paint.brow_density


def beard_cover(paint: Paint, rng: np.random.Generator) -> np.ndarray:
    """Return stubble and beard."""
    x, z = map_axes()
    ax = np.abs(x)
    jaw = step((0.684 - 0.9 * np.clip(ax - 0.035, 0, 1) * -1.0 - z) / 0.014) * step(
        (ax * 0.62 + 0.655 - z) / 0.010
    )
    cheeks = step((0.660 + 0.9 * np.clip(ax - 0.028, 0, 1) - z) / 0.026)
    below = step((0.6495 - z) / 0.007)
    moustache = (
        step((0.0275 - ax) / 0.006) * step((z - 0.6685) / 0.003) * step((0.6835 - 0.16 * ax - z) / 0.004)
    )
    chin = step((0.024 - ax) / 0.008) * step((0.6455 - z) / 0.005)
    around = step((ax - 0.024) / 0.003) * step((0.031 - ax) / 0.004) * step((0.674 - z) / 0.006)
    full = np.maximum(np.maximum(np.maximum(cheeks * step((ax - 0.026) / 0.006), below), moustache), around)
    grain = np.clip(0.84 + 0.15 * noise(rng, (1.8, 0.7)), 0, 1)
    shadow = 0.20 * paint.stubble * np.maximum(full, jaw * 0.2) * (0.75 + 0.25 * noise(rng, 0.7))
    shape = {
        "full": full,
        "short": full,
        "goatee": np.maximum(np.maximum(moustache, chin), around),
        "moustache": moustache,
    }.get(paint.beard, np.zeros_like(full))
    chin_end = step((z - 0.622) / 0.012)  # the map has no neck: nothing may smear down from its edge
    return np.clip(np.maximum(shadow, shape * grain * BEARDS[paint.beard]), 0, 0.97) * chin_end


def scalp_cover(identity: Identity, rng: np.random.Generator) -> np.ndarray:
    """Return where hair roots darken the scalp: above the hair line, at the temples and as sideburns."""
    x, z = map_axes()
    ax = np.abs(x)
    lift = identity.hair.hairline + (0.022 if identity.hair.style == "receding" else 0.0)
    line = HAIRLINE_Z + lift + 0.004 * np.sin(np.clip(ax / 0.04, 0, 1) * np.pi)
    line = line - 0.066 * step((ax - 0.066) / 0.018)
    line = line + 0.0022 * noise(rng, 2.2)
    return 0.9 * step((z - line) / 0.015)


def step(x: np.ndarray) -> np.ndarray:
    """Smooth step from 0 at x <= -0.5 to 1 at x >= 0.5."""
    t = np.clip(x + 0.5, 0, 1)
    return t * t * (3 - 2 * t)
