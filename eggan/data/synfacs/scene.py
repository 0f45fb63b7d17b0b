"""One person under one nuisance with one gaze: what pictures with different AUs share, drawn once.

`Scene.picture` draws only what AUs change (`moving`) over what stays, and looks up the colours of the samples
that stay. A picture is the same, byte for byte, whether a scene draws it alone or among others.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from eggan.data.synfacs import shade as s
from eggan.data.synfacs.actions import action_weights
from eggan.data.synfacs.develop import develop, sensor_noise
from eggan.data.synfacs.hair import CUTS, make_hair
from eggan.data.synfacs.head import EYE, LASH, HeadModel, load_head
from eggan.data.synfacs.identity import Identity
from eggan.data.synfacs.moving import Moving, action_strengths, moving_part
from eggan.data.synfacs.nuisance import Nuisance
from eggan.data.synfacs.paint import bake_skin
from eggan.data.synfacs.raster import (
    FAST,
    LAYER_NONE,
    TILE,
    add_normals,
    farthest_depths,
    rasterise,
    vertex_normals,
)
from eggan.data.synfacs.strands import strand_texture
from eggan.data.synfacs.wrinkles import wrinkle_map

SHADOW_MAP = 160
CAMERA_DISTANCE = 1.5  # metres from the eyes: a portrait lens
FRAME = 0.215  # metres of the face plane that the picture spans: the tight, face-aligned crop of Sec. 4.1
EYE_LINE = 0.42  # where the eyes sit, from the top, in picture heights
EYE_HEIGHT = 0.7285  # metres
GAZE_ANGLE = np.deg2rad(24.0)
PIVOT_X, PIVOT_Y, PIVOT_Z = 0.0, -0.03, 0.63  # the top of the neck
PIVOT = np.array([PIVOT_X, PIVOT_Y, PIVOT_Z])
NO_INDEX = np.zeros((0, 0), np.int32)
NO_WEIGHT = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Person:
    """What all pictures of a person share: the mesh of head (V vertices first) and hair (H), and the maps.

    `rest`, `normals` (V + H, 3): the neutral face before the head turns; `bend` (V + H,) in [0, 1]: how far a
    vertex follows the turn of the head; `attributes` (V + H, ATTRIBUTES) of the shader, without normals;
    `hair` (S,) the triangles of the hair, outer layers first, and `coarse_hair` (C,) larger ones of the same
    surface, good enough for its shadow; `moves`, `region` (T + S + C,).
    """

    rest: np.ndarray
    normals: np.ndarray
    bend: np.ndarray
    attributes: np.ndarray
    tangents: np.ndarray
    masks: np.ndarray
    side: np.ndarray
    triangles: np.ndarray
    region: np.ndarray
    moves: np.ndarray
    hair: np.ndarray
    coarse_hair: np.ndarray
    maps: np.ndarray
    eye_centres: np.ndarray


@lru_cache(maxsize=32)
def prepare(identity: Identity) -> Person:
    """Build the shared parts of a person; kept for the people rendered last."""
    head = load_head()
    rest = head.neutral(dict(identity.phenotypes), dict(identity.local_changes))
    eyes = np.stack([rest[(head.side == side) & is_eyeball(head)].mean(axis=0) for side in (1, -1)])
    lift = eyes[:, 2].mean() - EYE_HEIGHT
    rest = rest - np.array([0.0, 0.0, lift], np.float32)
    eyes[:, 2] -= lift
    hair = make_hair(head, rest, EYE_HEIGHT, identity)
    count, strand_count = len(rest), len(hair.vertices)
    everything = np.concatenate([rest, hair.vertices])
    fine = np.concatenate([head.triangles, hair.triangles + np.int32(count)])
    triangles = np.concatenate([fine, hair.coarse + np.int32(count)])
    heights = np.concatenate([head.template[:, 2], hair.vertices[:, 2]])
    bend = np.clip((heights - 0.565) / 0.055, 0, 1)  # shoulders stay, the head turns, the neck bends
    attributes = np.zeros((count + strand_count, s.ATTRIBUTES), np.float32)
    attributes[:count, s.TEMPLATE : s.TEMPLATE + 3] = head.template
    attributes[:count, s.LIPS] = head.lips
    attributes[:count, s.OPENNESS] = head.openness
    attributes[:count, s.CAVITY] = head.cavity
    attributes[:count, s.RED_AIR] = np.maximum(head.openness, 0.14) ** 0.6
    attributes[count:, s.DEPTH] = hair.depth
    attributes[count:, s.STRAND_U : s.STRAND_V + 1] = hair.strands[:, :2]
    masks = np.full((count + strand_count, 3), LAYER_NONE, np.float32)
    lash = np.unique(head.triangles[head.region == LASH])
    masks[lash, 0] = head.template[lash, 0] * 8.0
    masks[lash, 1] = 0.37
    masks[lash, 2] = np.where(head.template[lash, 2] > 0.7275, 0.05 if identity.female else 0.22, 1.1)
    masks[count:] = hair.strands
    skin = bake_skin(identity)
    return Person(
        rest=np.ascontiguousarray(everything, np.float32),
        normals=vertex_normals(everything, fine),
        bend=(bend * bend * (3 - 2 * bend)).astype(np.float32),
        attributes=attributes,
        tangents=hair.tangents,
        masks=masks,
        side=np.concatenate([head.side, np.zeros(strand_count, np.int8)]),
        triangles=triangles,
        region=np.concatenate(
            [head.region, np.full(len(triangles) - len(head.triangles), s.HAIR_REGION, np.uint8)]
        ),
        moves=np.concatenate([moving_part().flags, np.zeros(len(triangles) - len(head.triangles), bool)]),
        hair=np.arange(len(head.triangles), len(fine))[::-1].copy(),
        coarse_hair=np.arange(len(fine), len(triangles))[::-1].copy(),
        maps=np.concatenate([skin.albedo, skin.matte[:, :, None], skin.height[:, :, None]], axis=2),
        eye_centres=eyes.astype(np.float32),
    )


def is_eyeball(head: HeadModel) -> np.ndarray:
    """Return a mask (V,) of the vertices of both eyeballs."""
    mask = np.zeros(len(head.template), bool)
    mask[np.unique(head.triangles[head.region == EYE])] = True
    return mask


class Scene:
    """A person under one nuisance with one gaze, ready to show `pictures` times some AUs at one size."""

    def __init__(
        self, identity: Identity, nuisance: Nuisance, gaze: str, size: int, pictures: int = 1
    ) -> None:
        self.identity, self.nuisance, self.pictures = identity, nuisance, pictures
        self.person: Person = prepare(identity)
        self.moving: Moving = moving_part()
        self.strands = strand_texture()
        self.turn = head_turn(nuisance)
        light = light_direction(nuisance)
        self.light = light_axes(light)
        samples = size * s.SUPERSAMPLING
        self.camera = np.array([nuisance.scale / FRAME, nuisance.shift_x, nuisance.shift_y, samples])
        self.eyes = eyeballs(self.person, self.turn, gaze)
        self.scene_parameters = parameters(identity, nuisance, light)
        self.noise = sensor_noise(nuisance.noise_seed, size)
        self._place_everything()
        self._draw_what_stays(samples)

    def _place_everything(self) -> None:
        person = self.person
        self.vertices = np.empty_like(person.rest)
        self.points = np.empty_like(person.rest)
        self.light_points = np.empty_like(person.rest)
        self.attributes = person.attributes.copy()
        count = len(person.rest) - len(person.tangents)
        self.attributes[count:, s.TANGENT : s.TANGENT + 3] = person.tangents @ self.turn.T
        self._place(np.arange(len(person.rest)), person.rest, person.normals)

    def _place(self, rows: np.ndarray, rest: np.ndarray, normals: np.ndarray) -> None:
        place(
            rows,
            rest,
            normals,
            self.person.bend,
            self.turn,
            self.camera,
            self.light,
            self.vertices,
            self.points,
            self.light_points,
            self.attributes,
        )

    def _draw_what_stays(self, samples: int) -> None:
        self.index = np.full((samples, samples), -1, np.int32)
        self.weight0 = np.zeros((samples, samples), np.float32)
        self.weight1 = np.zeros((samples, samples), np.float32)
        self.depth = np.full((samples, samples), 1e9, np.float32)
        self.light_depth = np.full((SHADOW_MAP, SHADOW_MAP), 1e9, np.float32)
        kept = samples if self.pictures > 1 else 0
        self.known = np.zeros((kept, kept, 3), np.float32)
        self.known_light = np.full((kept, kept), -1, np.int8)
        seen = (self.index, self.weight0, self.weight1, self.depth)
        lit = (NO_INDEX, NO_WEIGHT, NO_WEIGHT, self.light_depth)
        views = ((self.points, self.person.hair, seen), (self.light_points, self.person.coarse_hair, lit))
        for points, hair, buffers in views:
            # both sides: the back of the head hides the hair behind it before that is drawn
            self._draw(points, self.moving.still, False, True, unbounded(buffers[3]), buffers)
            self._draw(points, hair, True, True, farthest_depths(buffers[3]), buffers)

    def _draw(
        self,
        points: np.ndarray,
        chosen: np.ndarray,
        masked: bool,
        both_sides: bool,
        far: np.ndarray,
        buffers: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    ) -> None:
        person = self.person
        rasterise(
            points, person.triangles, chosen, person.masks, self.strands, masked, both_sides, far, *buffers
        )

    def picture(self, aus: np.ndarray) -> np.ndarray:
        """Return the next picture, with these AUs (17,) in [0, 5]: uint8 (size, size, 3) RGB."""
        if self.pictures < 1:
            raise ValueError("the scene was made for fewer pictures")
        self._express(aus)
        self.pictures -= 1
        light_depth = self.light_depth
        buffers = (self.index, self.weight0, self.weight1, self.depth)
        if self.pictures > 0:  # the last one draws over what stays
            light_depth = light_depth.copy()
            buffers = (self.index.copy(), self.weight0.copy(), self.weight1.copy(), self.depth.copy())
        light_buffers = (NO_INDEX, NO_WEIGHT, NO_WEIGHT, light_depth)
        for points, target in ((self.points, buffers), (self.light_points, light_buffers)):
            self._draw(points, self.moving.faces, False, False, farthest_depths(target[3]), target)
            self._draw(points, self.moving.lashes, True, True, unbounded(target[3]), target)
        linear = s.shade(
            buffers,
            self.person.triangles,
            self.person.region,
            self.person.moves,
            self.person.side,
            self.attributes,
            self.vertices,
            self.eyes,
            self.person.maps,
            wrinkle_map(aus, np.array(self.identity.asymmetry), self.identity.paint.wrinkles),
            self.strands,
            self.light_points,
            light_depth,
            self.scene_parameters,
            self.known,
            self.known_light,
        )
        return develop(linear, self.noise, self.nuisance.exposure)

    def _express(self, aus: np.ndarray) -> None:
        """Put the moving part where the AUs want it, before the head turns."""
        moving, person = self.moving, self.person
        weights = action_weights(aus, np.array(self.identity.asymmetry), self.identity.resting_lids)
        count = len(person.rest) - len(person.tangents)
        rest = person.rest[:count].copy()
        move(moving.vertices, moving.shapes, action_strengths(moving, weights), rest)
        normals = np.zeros_like(rest)
        add_normals(rest, person.triangles, moving.around, normals)
        self._place(moving.turning, rest, normals)


def unbounded(depth: np.ndarray) -> np.ndarray:
    """Return the tiles of a depth buffer as if they held nothing."""
    return np.full((depth.shape[0] // TILE, depth.shape[0] // TILE), 1e9, np.float32)


@njit(cache=True, fastmath=FAST)
def move(rows: np.ndarray, shapes: np.ndarray, weights: np.ndarray, vertices: np.ndarray) -> None:
    """Add the weighted shapes (A, M, 3) to the `rows` (M,) of `vertices`."""
    for action in range(len(weights)):
        weight = weights[action]
        if weight == 0:
            continue
        for m in range(len(rows)):
            for c in range(3):
                vertices[rows[m], c] += weight * shapes[action, m, c]


@njit(cache=True, fastmath=FAST)
def place(
    rows: np.ndarray,
    rest: np.ndarray,
    normals: np.ndarray,
    bend: np.ndarray,
    turn: np.ndarray,
    camera: np.ndarray,
    light: np.ndarray,
    vertices: np.ndarray,
    points: np.ndarray,
    light_points: np.ndarray,
    attributes: np.ndarray,
) -> None:
    """Turn `rows` of the head and look at them: in space, from the camera, from the key light.

    `rest`, `normals` (V, 3) before the turn, normals of any length; `turn` (3, 3); `camera` (4,): zoom, shift
    across and down, samples; `light` (3, 3): across, up and towards the light. Points are sample coordinates
    and depth, (V, 3).
    """
    for n in range(len(rows)):
        i = rows[n]
        follow = bend[i]
        x, y, z = rest[i, 0] - PIVOT_X, rest[i, 1] - PIVOT_Y, rest[i, 2] - PIVOT_Z
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        px = x + follow * (turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z - x) + PIVOT_X
        py = y + follow * (turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z - y) + PIVOT_Y
        pz = z + follow * (turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z - z) + PIVOT_Z
        ax = nx + follow * (turn[0, 0] * nx + turn[0, 1] * ny + turn[0, 2] * nz - nx)
        ay = ny + follow * (turn[1, 0] * nx + turn[1, 1] * ny + turn[1, 2] * nz - ny)
        az = nz + follow * (turn[2, 0] * nx + turn[2, 1] * ny + turn[2, 2] * nz - nz)
        length = 1.0 / (np.sqrt(ax * ax + ay * ay + az * az) + 1e-20)
        attributes[i, s.NORMAL] = ax * length
        attributes[i, s.NORMAL + 1] = ay * length
        attributes[i, s.NORMAL + 2] = az * length
        vertices[i, 0], vertices[i, 1], vertices[i, 2] = px, py, pz
        zoom = camera[0] * CAMERA_DISTANCE / (CAMERA_DISTANCE + py + 0.14)
        points[i, 0] = (0.5 + camera[1] + px * zoom) * camera[3]
        points[i, 1] = (EYE_LINE + camera[2] - (pz - EYE_HEIGHT) * zoom) * camera[3]
        points[i, 2] = py
        py += 0.08
        pz -= 0.72
        across = px * light[0, 0] + py * light[0, 1] + pz * light[0, 2]
        up = px * light[1, 0] + py * light[1, 1] + pz * light[1, 2]
        light_points[i, 0] = (across / 0.42 + 0.5) * SHADOW_MAP
        light_points[i, 1] = (up / 0.42 + 0.5) * SHADOW_MAP
        light_points[i, 2] = -(px * light[2, 0] + py * light[2, 1] + pz * light[2, 2])


def head_turn(nuisance: Nuisance) -> np.ndarray:
    """Return the rotation (3, 3) of the head."""
    yaw, pitch, roll = np.deg2rad([nuisance.yaw, nuisance.pitch, nuisance.roll])
    about_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_y = np.array([[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]])
    return about_z @ about_x @ about_y


def light_direction(nuisance: Nuisance) -> np.ndarray:
    """Return the unit vector towards the key light."""
    azimuth, height = np.deg2rad([nuisance.light_azimuth, nuisance.light_height])
    return np.array([np.sin(azimuth) * np.cos(height), -np.cos(azimuth) * np.cos(height), np.sin(height)])


def light_axes(light: np.ndarray) -> np.ndarray:
    """Return the axes of the shadow map, (3, 3): across, up, and towards the light."""
    right = np.cross(light, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, light), light])


def eyeballs(person: Person, turn: np.ndarray, gaze: str) -> np.ndarray:
    """Return per eye (left, right) its centre, gaze direction and up direction, (2, 9) float64."""
    # "left" is the person's left: positive x
    angle = {"left": GAZE_ANGLE, "frontal": 0.0, "right": -GAZE_ANGLE}[gaze]
    direction = turn @ np.array([np.sin(angle), -np.cos(angle), 0.0])
    up = turn @ np.array([0.0, 0.0, 1.0])
    return np.stack(
        [np.concatenate([(c - PIVOT) @ turn.T + PIVOT, direction, up]) for c in person.eye_centres]
    )


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
