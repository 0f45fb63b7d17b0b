"""`render`: one picture as a pure function of (identity, AUs, nuisance, gaze, size)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from eggan.aus import AU_NUMBERS, GAZES, MAX_INTENSITY, check_au_vector
from eggan.data.synfacs import shade as s
from eggan.data.synfacs.actions import action_row, action_weights, left_right
from eggan.data.synfacs.hair import CUTS, HairMesh, make_hair
from eggan.data.synfacs.head import EYE, LASH, HeadModel, load_head
from eggan.data.synfacs.identity import Identity
from eggan.data.synfacs.paint import SkinMaps, bake_skin
from eggan.data.synfacs.raster import LAYER_NONE, rasterise, vertex_normals
from eggan.data.synfacs.wrinkles import MAP_COLUMNS, MAP_ROWS, au_maps, map_axes
from eggan.errors import UserError
from eggan.randomness import numpy_generator

RENDERER_VERSION = "1.0.0"  # raise it with every change that alters pixels
SIZES = (64, 128, 256, 512)
SUPERSAMPLING = 3
SHADOW_MAP = 320
CAMERA_DISTANCE = 1.5  # metres from the eyes: a portrait lens
FRAME = 0.215  # metres of the face plane that the picture spans: the tight, face-aligned crop of Sec. 4.1
EYE_LINE = 0.42  # where the eyes sit, from the top, in picture heights
GAZE_ANGLE = np.deg2rad(24.0)


@dataclass(frozen=True)
class Nuisance:
    """What differs between pictures of one person besides AUs and gaze.

    Head turn in degrees; shift in picture widths; `scale` about 1; light angles in degrees, strength and
    warmth about 1; `exposure` about 1; `background` in [0, 1]; `noise_seed` of the sensor noise.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 1.0
    light_azimuth: float = 25.0
    light_height: float = 38.0
    light: float = 1.0
    warmth: float = 0.0
    exposure: float = 1.0
    background: float = 0.75
    noise_seed: int = 0


def draw_nuisance(*key: str | int) -> Nuisance:
    """Return the nuisance of one picture; equal keys give equal nuisance."""
    rng = numpy_generator("synfacs", "nuisance", *key)
    bounded = np.clip(rng.standard_normal(10), -2, 2) / 2  # in [-1, 1]
    return Nuisance(
        yaw=float(4.0 * bounded[0]),
        pitch=float(3.0 * bounded[1]),
        roll=float(2.0 * bounded[2]),
        shift_x=float(0.012 * bounded[3]),
        shift_y=float(0.012 * bounded[4]),
        scale=float(1 + 0.025 * bounded[5]),
        light_azimuth=float(rng.choice([-1, 1]) * rng.uniform(10, 38)),
        light_height=float(36 + 10 * bounded[6]),
        light=float(1 + 0.10 * bounded[7]),
        warmth=float(0.05 * bounded[8]),
        exposure=float(1 + 0.10 * bounded[9]),
        background=float(rng.uniform(0.62, 0.82)),
        noise_seed=int(rng.integers(2**31)),
    )


@dataclass(frozen=True)
class Person:
    """Everything of a person that pictures share: geometry, maps, and the mesh of head and hair together."""

    rest: np.ndarray
    hair: HairMesh
    maps: np.ndarray
    triangles: np.ndarray
    region: np.ndarray
    masks: np.ndarray
    eye_centres: np.ndarray
    eye_height: float


@lru_cache(maxsize=32)
def prepare(identity: Identity) -> Person:
    """Build the shared parts of a person; about 0.2 s, kept for the people rendered last."""
    head = load_head()
    rest = head.neutral(dict(identity.phenotypes), dict(identity.local_changes))
    eyes = np.stack([rest[(head.side == side) & is_eyeball(head)].mean(axis=0) for side in (1, -1)])
    rest = rest - np.array([0.0, 0.0, eyes[:, 2].mean() - 0.7285], np.float32)
    eyes[:, 2] -= eyes[:, 2].mean() - 0.7285
    hair = make_hair(head, rest, 0.7285, identity)
    skin: SkinMaps = bake_skin(identity)
    count = len(rest)
    masks = np.full((count + len(hair.vertices), 3), LAYER_NONE, np.float32)
    lash = np.unique(head.triangles[head.region == LASH])
    masks[lash, 0] = head.template[lash, 0] * 8.0
    masks[lash, 1] = 0.37
    masks[lash, 2] = np.where(head.template[lash, 2] > 0.7275, 0.05 if identity.female else 0.22, 1.1)
    masks[count:] = hair.strands
    return Person(
        rest=rest,
        hair=hair,
        maps=np.concatenate([skin.albedo, skin.matte[:, :, None], skin.height[:, :, None]], axis=2),
        triangles=np.concatenate([head.triangles, hair.triangles + np.int32(count)]),
        region=np.concatenate([head.region, np.full(len(hair.triangles), s.HAIR_REGION, np.uint8)]),
        masks=masks,
        eye_centres=eyes.astype(np.float32),
        eye_height=0.7285,
    )


def is_eyeball(head: HeadModel) -> np.ndarray:
    """Return a mask (V,) of the vertices of both eyeballs."""
    mask = np.zeros(len(head.template), bool)
    mask[np.unique(head.triangles[head.region == EYE])] = True
    return mask


@lru_cache(maxsize=1)
def strand_texture() -> np.ndarray:
    """Return the strand density (512, 1024) in [0, 1]: noise drawn out along the strands, periodic."""
    rng = np.random.default_rng(11)
    fine = gaussian_filter(rng.standard_normal((512, 1024)), (26, 0.9), mode="wrap")
    coarse = gaussian_filter(rng.standard_normal((512, 1024)), (60, 5.0), mode="wrap")
    field = fine / fine.std() + 0.9 * coarse / coarse.std()
    ranks = np.argsort(np.argsort(field.ravel(), kind="stable"), kind="stable")
    return (ranks.reshape(field.shape) / field.size).astype(np.float32)


def render(identity: Identity, aus: np.ndarray, nuisance: Nuisance, gaze: str, size: int) -> np.ndarray:
    """Return the picture, uint8 (size, size, 3) RGB; `aus` (17,) in [0, 5], `gaze` left, frontal or right."""
    aus = check_au_vector(aus).astype(np.float64)
    if size not in SIZES:
        raise UserError(f"size {size} is not offered: use one of {', '.join(map(str, SIZES))}")
    if gaze not in GAZES:
        raise UserError(f"unknown gaze {gaze!r}: use {', '.join(GAZES)}")
    head, person = load_head(), prepare(identity)
    vertices, turn = pose(head, person, expression(head, person, identity, aus), nuisance)
    attributes = assemble(head, person, vertices, turn)
    samples = size * SUPERSAMPLING
    points = project(vertices, nuisance, samples)
    strands = strand_texture()
    index, weight0, weight1, _ = rasterise(points, person.triangles, person.masks, strands, samples)
    light = light_direction(nuisance)
    light_points = project_light(vertices, light)
    light_depth = rasterise(light_points, person.triangles, person.masks, strands, SHADOW_MAP)[3]
    sides = np.concatenate([head.side, np.zeros(len(person.hair.vertices), np.int8)])
    linear = s.shade(
        (index, weight0, weight1),
        person.triangles,
        person.region,
        sides,
        attributes,
        eyeballs(person, turn, gaze),
        person.maps,
        wrinkle_map(identity, aus),
        strands,
        light_points,
        light_depth,
        parameters(identity, nuisance, light),
        SUPERSAMPLING,
    )
    return develop(linear, nuisance, size)


def expression(head: HeadModel, person: Person, identity: Identity, aus: np.ndarray) -> np.ndarray:
    """Return the head's vertices (V, 3) float32 with the AUs applied, before the head turns."""
    weights = action_weights(aus, np.array(identity.asymmetry), identity.resting_lids)
    row = action_row(weights, head.action_labels)
    used = np.flatnonzero(row)
    return person.rest + np.einsum("a,avc->vc", row[used], head.action_shapes[used], optimize=False)


def pose(
    head: HeadModel, person: Person, vertices: np.ndarray, nuisance: Nuisance
) -> tuple[np.ndarray, np.ndarray]:
    """Turn head and hair about the top of the neck; return all vertices and the rotation (3, 3)."""
    yaw, pitch, roll = np.deg2rad([nuisance.yaw, nuisance.pitch, nuisance.roll])
    about_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_y = np.array([[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]])
    turn = about_z @ about_x @ about_y
    everything = np.concatenate([vertices, person.hair.vertices])
    template_height = np.concatenate([head.template[:, 2], person.hair.vertices[:, 2]])
    bend = np.clip((template_height - 0.565) / 0.055, 0, 1)  # shoulders stay, the head turns, the neck bends
    bend = (bend * bend * (3 - 2 * bend))[:, None]
    pivot = np.array([0.0, -0.03, 0.63])
    turned = (everything - pivot) @ turn.T + pivot
    return (everything * (1 - bend) + turned * bend).astype(np.float32), turn


def assemble(head: HeadModel, person: Person, vertices: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return the attributes (V + H, ATTRIBUTES) float32 that the shader interpolates."""
    count = len(head.template)
    attributes = np.zeros((len(vertices), s.ATTRIBUTES), np.float32)
    attributes[:, s.POSITION : s.POSITION + 3] = vertices
    attributes[:, s.NORMAL : s.NORMAL + 3] = vertex_normals(vertices, person.triangles)
    attributes[:count, s.TEMPLATE : s.TEMPLATE + 3] = head.template
    attributes[:count, s.LIPS] = head.lips
    attributes[:count, s.OPENNESS] = head.openness
    attributes[:count, s.CAVITY] = head.cavity
    attributes[count:, s.TANGENT : s.TANGENT + 3] = person.hair.tangents @ turn.T
    attributes[count:, s.DEPTH] = person.hair.depth
    attributes[:, s.STRAND_U : s.STRAND_V + 1] = person.masks[:, :2]
    return attributes


def project(vertices: np.ndarray, nuisance: Nuisance, samples: int) -> np.ndarray:
    """Return sample coordinates and depth (V, 3) float32 in a perspective camera in front of the face."""
    nearness = CAMERA_DISTANCE / (CAMERA_DISTANCE + vertices[:, 1] + 0.14)
    zoom = nuisance.scale / FRAME * nearness
    x = 0.5 + nuisance.shift_x + vertices[:, 0] * zoom
    y = EYE_LINE + nuisance.shift_y - (vertices[:, 2] - 0.7285) * zoom
    return np.stack([x * samples, y * samples, vertices[:, 1]], axis=1).astype(np.float32)


def light_direction(nuisance: Nuisance) -> np.ndarray:
    """Return the unit vector towards the key light."""
    azimuth, height = np.deg2rad([nuisance.light_azimuth, nuisance.light_height])
    return np.array([np.sin(azimuth) * np.cos(height), -np.cos(azimuth) * np.cos(height), np.sin(height)])


def project_light(vertices: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Return the vertices as seen from the key light: map coordinates and distance, (V, 3) float32."""
    right = np.cross(light, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, light)
    offset = vertices - np.array([0.0, -0.08, 0.72])
    plane = np.stack([offset @ right, offset @ up], axis=1) / 0.42 + 0.5
    return np.concatenate([plane * SHADOW_MAP, -(offset @ light)[:, None]], axis=1).astype(np.float32)


def eyeballs(person: Person, turn: np.ndarray, gaze: str) -> np.ndarray:
    """Return per eye (left, right) its centre, gaze direction and up direction, (2, 9) float64."""
    pivot = np.array([0.0, -0.03, 0.63])
    # "left" is the person's left: positive x
    angle = {"left": GAZE_ANGLE, "frontal": 0.0, "right": -GAZE_ANGLE}[gaze]
    direction = turn @ np.array([np.sin(angle), -np.cos(angle), 0.0])
    up = turn @ np.array([0.0, 0.0, 1.0])
    return np.stack(
        [np.concatenate([(c - pivot) @ turn.T + pivot, direction, up]) for c in person.eye_centres]
    )


def wrinkle_map(identity: Identity, aus: np.ndarray) -> np.ndarray:
    """Return the height (H, W) float32 that the AUs add to the skin, metres."""
    left, right = left_right(aus / MAX_INTENSITY, np.array(identity.asymmetry))
    depth = 0.85 + 0.35 * identity.paint.wrinkles
    x = map_axes()[0]
    blend = np.clip(x / 0.008 + 0.5, 0, 1)  # 1 on the person's left
    total = np.zeros((MAP_ROWS, MAP_COLUMNS), np.float32)
    for number, field in au_maps().items():
        position = AU_NUMBERS.index(number)
        if aus[position] > 0:
            total += field * (depth * (left[position] * blend + right[position] * (1 - blend))).astype(
                np.float32
            )
    return total


def parameters(identity: Identity, nuisance: Nuisance, light: np.ndarray) -> np.ndarray:
    """Return the scene's parameter vector for the shader."""
    q = np.zeros(s.PARAMETERS)
    q[s.P_KEY_X : s.P_KEY_Z + 1] = light
    q[s.P_KEY_R : s.P_KEY_B + 1] = (
        nuisance.light
        * 1.04
        * (1 + nuisance.warmth * np.array([1.0, 0.0, -1.4]))
        * np.array([1.03, 1.0, 0.95])
    )
    fill = np.array([-light[0] * 1.3 - 0.1, -0.8, 0.15])
    q[s.P_FILL_X : s.P_FILL_Z + 1] = fill / np.linalg.norm(fill)
    q[s.P_FILL], q[s.P_AMBIENT] = 0.25, 0.33
    q[s.P_GLOSS] = identity.paint.gloss
    q[s.P_HAIR_R : s.P_HAIR_B + 1] = identity.hair.colour
    q[s.P_LIP_R : s.P_LIP_B + 1] = identity.paint.lips
    q[s.P_IRIS_R : s.P_IRIS_B + 1] = identity.iris
    q[s.P_IRIS_SIZE] = identity.iris_size
    q[s.P_CLOTH_R : s.P_CLOTH_B + 1] = identity.clothes.colour
    q[s.P_NECK] = ("crew", "scoop", "v", "collar").index(identity.clothes.neckline)
    q[s.P_PATTERN] = ("plain", "stripes", "knit").index(identity.clothes.pattern)
    q[s.P_BACK_R : s.P_BACK_B + 1] = nuisance.background * np.array([0.97, 0.99, 1.0])
    q[s.P_CURL] = CUTS[identity.hair.style].curl
    return q


def develop(linear: np.ndarray, nuisance: Nuisance, size: int) -> np.ndarray:
    """Expose, compress the highlights, add sensor noise and return uint8."""
    exposed = linear * (nuisance.exposure * 1.10)
    shoulder = np.where(exposed < 0.6, exposed, 0.6 + 0.4 * (1 - np.exp(-(exposed - 0.6) / 0.4)))
    encoded = np.clip(shoulder, 0, 1) ** np.float32(1 / 2.2)
    noise = np.random.default_rng(nuisance.noise_seed).standard_normal((size, size, 1), dtype=np.float32)
    return np.clip(np.rint(encoded * 255 + noise * 0.9), 0, 255).astype(np.uint8)
