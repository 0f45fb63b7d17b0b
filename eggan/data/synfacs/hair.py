"""Head hair with volume: layered sheets that follow the skull and then hang, cut into strands.

A sheet is a grid over the azimuth around the head (0 = forehead, positive = the person's left) and the way
from the crown down. It keeps a distance from the person's own skull, and from where the skull is widest it
hangs straight. Several sheets, the outer ones thinner, give depth and a soft outline.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from eggan.data.synfacs.head import SKIN, HeadModel
from eggan.data.synfacs.identity import Identity
from eggan.randomness import numpy_generator

AZIMUTHS = 120
STEPS = 44
EAR_ZONE = (0.069, 0.69, 0.752, -0.085, -0.03)  # |x| above; z range; y range, template metres
CENTRE = (0.0, -0.058, 0.752)  # the middle of the skull, template metres
MAP_AZIMUTHS, MAP_POLARS = 90, 60


@dataclass(frozen=True)
class Cut:
    """A haircut: thickness in metres on top, at the sides and in front; ends relative to the eyes."""

    top: float
    side: float
    front: float
    front_end: float
    side_end: float
    back_end: float
    open_angle: float
    curl: float
    wave: float
    fade: float
    layers: int = 5


# heights are metres relative to the eyes; `open_angle` (degrees) is where front gives way to side
CUTS: dict[str, Cut] = {
    "buzz": Cut(0.004, 0.002, 0.003, 0.072, 0.018, -0.022, 66, 0.15, 0.0, 0.2, 3),
    "short": Cut(0.020, 0.007, 0.016, 0.066, 0.008, -0.022, 64, 0.1, 0.2, 0.35),
    "side part": Cut(0.026, 0.009, 0.024, 0.062, 0.006, -0.022, 62, 0.0, 0.3, 0.3),
    "textured": Cut(0.032, 0.008, 0.026, 0.060, 0.012, -0.022, 62, 0.45, 0.8, 0.5),
    "curly": Cut(0.036, 0.016, 0.026, 0.064, 0.000, -0.022, 62, 0.95, 1.0, 0.5),
    "receding": Cut(0.010, 0.008, 0.004, 0.088, 0.010, -0.022, 70, 0.1, 0.2, 0.45),
    "bald": Cut(0.0, 0.0, 0.0, 0.2, 0.2, 0.2, 60, 0.0, 0.0, 0.0, 0),
    "swept": Cut(0.028, 0.009, 0.024, 0.070, 0.008, -0.022, 66, 0.0, 0.3, 0.25),
    "fringe": Cut(0.024, 0.012, 0.016, 0.057, -0.002, -0.022, 58, 0.1, 0.4, 0.45),
    "afro": Cut(0.058, 0.052, 0.034, 0.064, -0.015, -0.06, 60, 1.0, 0.8, 0.6, 7),
    "long": Cut(0.018, 0.015, 0.014, 0.072, -0.175, -0.19, 50, 0.0, 0.4, 0.5),
    "side long": Cut(0.022, 0.018, 0.018, 0.060, -0.18, -0.19, 46, 0.05, 0.6, 0.5),
    "wavy": Cut(0.024, 0.026, 0.018, 0.068, -0.15, -0.18, 52, 0.25, 2.2, 0.5),
    "curly long": Cut(0.024, 0.034, 0.016, 0.066, -0.12, -0.15, 54, 1.0, 1.6, 0.6, 7),
    "bob": Cut(0.020, 0.020, 0.016, 0.070, -0.085, -0.10, 50, 0.0, 0.3, 0.25),
    "fringe bob": Cut(0.020, 0.020, 0.015, 0.055, -0.09, -0.10, 44, 0.0, 0.3, 0.25),
    "bun": Cut(0.009, 0.006, 0.007, 0.074, 0.004, -0.022, 64, 0.0, 0.1, 0.2),
}


@dataclass(frozen=True)
class HairMesh:
    """Hair geometry in the person's rest frame.

    `vertices` (H, 3) metres; `triangles` (S, 3) int32 and `coarse` (C, 3), larger ones of the same surface;
    `strands` (H, 3): strand coordinates u, v and coverage threshold; `tangents` (H, 3) unit, down the strand;
    `depth` (H,) 0 at the scalp, 1 outside.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    coarse: np.ndarray
    strands: np.ndarray
    tangents: np.ndarray
    depth: np.ndarray


@njit(cache=True)
def skull_map(directions: np.ndarray, triangles: np.ndarray, azimuths: int, polars: int) -> np.ndarray:
    """Return the skull's radius over (azimuth, polar); `directions` (V, 3): grid x, grid y, radius."""
    grid = np.zeros((azimuths, polars), np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, x1, x2 = directions[a, 0], directions[b, 0], directions[c, 0]
        if max(x0, x1, x2) - min(x0, x1, x2) > azimuths / 2:
            continue  # crosses the seam at the back of the head
        y0, y1, y2 = directions[a, 1], directions[b, 1], directions[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        for i in range(max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 1, azimuths - 1) + 1):
            for j in range(max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 1, polars - 1) + 1):
                u = ((i - x0) * (y2 - y0) - (x2 - x0) * (j - y0)) / area
                v = ((x1 - x0) * (j - y0) - (i - x0) * (y1 - y0)) / area
                if u >= -1e-6 and v >= -1e-6 and u + v <= 1.000001:
                    r = (1 - u - v) * directions[a, 2] + u * directions[b, 2] + v * directions[c, 2]
                    grid[i, j] = max(grid[i, j], r)
    return grid


def measure_skull(head: HeadModel, vertices: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the skull radius over (azimuth, polar angle 0..180 degrees), ears left out, holes filled."""
    t = head.template
    ear = (np.abs(t[:, 0]) > EAR_ZONE[0]) & (t[:, 2] > EAR_ZONE[1]) & (t[:, 2] < EAR_ZONE[2])
    ear &= (t[:, 1] > EAR_ZONE[3]) & (t[:, 1] < EAR_ZONE[4])
    skin = (
        (head.region == SKIN)
        & ~ear[head.triangles].any(axis=1)
        & (t[head.triangles][:, :, 2] > 0.6).all(axis=1)
    )
    offset = vertices - centre
    radius = np.linalg.norm(offset, axis=1)
    azimuth = np.arctan2(offset[:, 0], -offset[:, 1])
    polar = np.arccos(np.clip(offset[:, 2] / np.maximum(radius, 1e-9), -1, 1))
    directions = np.stack(
        [(azimuth / (2 * np.pi) + 0.5) * (MAP_AZIMUTHS - 1), polar / np.pi * (MAP_POLARS - 1), radius], axis=1
    ).astype(np.float32)
    grid = skull_map(directions, head.triangles[skin], MAP_AZIMUTHS, MAP_POLARS)
    grid[:, :5] = np.median(grid[:, 5])  # all azimuths meet at the crown, where the map has no meaning
    for _ in range(30):  # fill ears and the seam from their neighbours
        holes = grid == 0
        if not holes.any():
            break
        rolled = np.stack(
            [np.roll(grid, 1, 0), np.roll(grid, -1, 0), np.roll(grid, 1, 1), np.roll(grid, -1, 1)]
        )
        known = (rolled > 0).sum(axis=0)
        grid = np.where(holes & (known > 0), rolled.sum(axis=0) / np.maximum(known, 1), grid).astype(
            np.float32
        )
    return grid


def skull_radius(grid: np.ndarray, azimuth: np.ndarray, polar: np.ndarray) -> np.ndarray:
    """Look the skull up at angles in radians (azimuth wraps)."""
    x = np.mod(azimuth / (2 * np.pi) + 0.5, 1.0) * (MAP_AZIMUTHS - 1)
    y = np.clip(polar / np.pi * (MAP_POLARS - 1), 0, MAP_POLARS - 1.001)
    x0, y0 = np.minimum(x.astype(int), MAP_AZIMUTHS - 2), y.astype(int)
    fx, fy = x - x0, y - y0
    low = grid[x0, y0] * (1 - fx) + grid[x0 + 1, y0] * fx
    high = grid[x0, y0 + 1] * (1 - fx) + grid[x0 + 1, y0 + 1] * fx
    return low * (1 - fy) + high * fy


def make_hair(head: HeadModel, rest: np.ndarray, eye_height: float, identity: Identity) -> HairMesh:
    """Return the person's hair mesh around the rest vertices (V, 3)."""
    cut = CUTS[identity.hair.style]
    shift = np.array([0.0, 0.0, eye_height - 0.7285])
    centre = (np.array(CENTRE) + shift).astype(np.float32)
    grid = measure_skull(head, rest, centre)
    sheets = [
        sheet(grid, centre, eye_height, cut, identity, level, layer)
        for layer, level in enumerate(levels(cut.layers))
    ]
    if identity.hair.style == "bun":
        sheets.append(bun(grid, centre, identity))
    return merge(sheets)


def levels(layers: int) -> list[float]:
    """Return where the layers lie, 0 scalp .. 1 outside: one below, the others close under the surface."""
    return [0.4, *np.linspace(0.74, 1.0, layers - 1)] if layers else []


def sheet(
    grid: np.ndarray, centre: np.ndarray, eyes: float, cut: Cut, identity: Identity, level: float, layer: int
) -> HairMesh:
    """Return one layer at `level` (0 scalp, 1 outside) of the cut."""
    hair = identity.hair
    rng = numpy_generator("synfacs", "hair", identity.paint.texture_seed, "bumps")
    azimuth = np.linspace(-np.pi, np.pi, AZIMUTHS)[:, None]
    step = np.linspace(0.0, 1.0, STEPS)[None, :]
    end = lower_end(azimuth, eyes, cut, hair.hairline, hair.length, hair.part) + ragged(rng, azimuth, cut)
    position = descend(grid, centre, azimuth, step, end, cut, hair.volume, level, hair.part)
    lumps = smooth_bumps(rng, azimuth, step, 3 + 9 * cut.curl)
    outward = position - centre
    outward /= np.linalg.norm(outward, axis=2, keepdims=True)
    thickness = (cut.top + cut.side) / 2 * hair.volume
    position = position + outward * (lumps * thickness * (0.10 + 0.22 * cut.curl) * level)[:, :, None]
    wave = 0.0035 * cut.wave * np.sin(step * 15 + 5 * azimuth + layer) * np.clip(step * 2 - 0.6, 0, 1)
    position[:, :, 0] += wave * np.cos(azimuth)
    tangent = np.gradient(position, axis=1)
    tangent /= np.linalg.norm(tangent, axis=2, keepdims=True) + 1e-9
    # strands thin out at the ends and in the outer layers; curls break the strand pattern up across
    edge = np.clip((step - (1 - 0.22 * cut.fade)) / (0.22 * cut.fade + 1e-6), 0, 1) * np.ones_like(azimuth)
    outer = max(0.0, (level - 0.7) / 0.3)
    thin = 0.03 + 0.45 * outer * (0.40 + 0.60 * cut.curl + 0.3 * cut.fade)
    threshold = np.clip(thin + edge * (0.75 - thin) * (0.4 + 0.6 * outer), 0.0, 0.93)
    u = (
        azimuth / (2 * np.pi) * 3.0
        + 0.05 * cut.wave * np.sin(step * 9)
        + 0.137 * layer
        + 0.09 * step * hair.part
    )
    v = step * (0.35 + 3.2 * cut.curl) + 0.31 * layer + 0.0 * azimuth
    strands = np.stack([u, v, threshold], axis=2)
    return grid_mesh(position, strands, tangent, 0.25 + 0.75 * outer)


def lower_end(
    azimuth: np.ndarray, eyes: float, cut: Cut, hairline: float, length: float, part: float
) -> np.ndarray:
    """Return the height (metres) where the hair ends, per azimuth (A, 1): hairline, sides, nape."""
    degrees = np.abs(np.rad2deg(azimuth))
    shifted = np.abs(np.rad2deg(azimuth) - 6 * part * (cut.front_end > 0.05))
    front = eyes + cut.front_end + hairline - 0.006 * np.cos(np.deg2rad(shifted * 4))
    side = eyes + cut.side_end * (length if cut.side_end < -0.03 else 1.0)
    back = eyes + cut.back_end * (length if cut.back_end < -0.08 else 1.0)
    to_side = smooth((degrees - cut.open_angle + 22) / 34)
    to_back = smooth((degrees - 112) / 30)
    return (front * (1 - to_side) + side * to_side) * (1 - to_back) + back * to_back


def ragged(rng: np.random.Generator, azimuth: np.ndarray, cut: Cut) -> np.ndarray:
    """Return how uneven the ends are, metres per azimuth (A, 1)."""
    waves = np.zeros(azimuth.shape)
    for k in (9, 17, 26, 37, 47):
        waves = waves + np.sin(k * azimuth + rng.uniform(0, 2 * np.pi))
    return waves * (0.0005 + 0.0010 * cut.fade)


def descend(
    grid: np.ndarray,
    centre: np.ndarray,
    azimuth: np.ndarray,
    step: np.ndarray,
    end: np.ndarray,
    cut: Cut,
    volume: float,
    level: float,
    part: float,
) -> np.ndarray:
    """Return positions (A, S, 3) from the crown down to `end`; `level` of the thickness off the skull."""
    fine = np.linspace(0.0, np.pi * 0.62, 80)[None, :]
    radius = skull_radius(grid, azimuth + 0 * fine, fine + 0 * azimuth)
    upness = np.clip(np.cos(fine), 0, 1)
    frontness = np.clip(np.cos(azimuth), 0, 1) * (1 - upness)
    thickness = cut.top * upness**1.5 + (1 - upness**1.5) * (cut.side + (cut.front - cut.side) * frontness)
    lean = 1.0 + 0.35 * part * np.sin(azimuth) * upness * (cut.top > 0.02)
    r = radius + 0.0012 + thickness * lean * volume * level
    across, height = r * np.sin(fine), r * np.cos(fine) + centre[2]
    hang = np.maximum.accumulate(across, axis=1)
    lowest = np.minimum(end, height.min(axis=1, keepdims=True) + 0.02)
    path_height = np.concatenate(
        [height, np.linspace(0, 1, 20)[None, 1:] * (lowest - height[:, -1:]) + height[:, -1:]], 1
    )
    path_across = np.concatenate([hang, np.repeat(hang[:, -1:], 19, axis=1)], axis=1)
    positions = np.empty((len(azimuth), step.shape[1], 3), np.float32)
    for i in range(len(azimuth)):
        length = np.concatenate(
            [[0.0], np.cumsum(np.hypot(np.diff(path_across[i]), np.diff(path_height[i])))]
        )
        below = np.flatnonzero(path_height[i] <= end[i, 0])
        stop = length[below[0]] if len(below) else length[-1]
        wanted = step[0] * stop
        a, z = np.interp(wanted, length, path_across[i]), np.interp(wanted, length, path_height[i])
        positions[i] = np.stack(
            [a * np.sin(azimuth[i, 0]), -a * np.cos(azimuth[i, 0]) + centre[1], z], axis=1
        )
    return positions


def bun(grid: np.ndarray, centre: np.ndarray, identity: Identity) -> HairMesh:
    """Return a knot of hair on top of the head."""
    azimuth = np.linspace(-np.pi, np.pi, 40)[:, None]
    polar = np.linspace(0.0, np.pi, 24)[None, :]
    size = 0.026 * identity.hair.volume
    unit = np.stack(
        [np.sin(polar) * np.sin(azimuth), -np.sin(polar) * np.cos(azimuth), np.cos(polar) + 0 * azimuth],
        axis=2,
    )
    middle = centre + np.array([0.0, 0.02, float(grid[:, 3].mean()) + 0.012])
    position = (middle + unit * size * (1 + 0.05 * np.sin(azimuth * 3 + polar * 5))[:, :, None]).astype(
        np.float32
    )
    tangent = np.gradient(position, axis=0)
    tangent /= np.linalg.norm(tangent, axis=2, keepdims=True) + 1e-9
    strands = np.stack(
        [
            polar / np.pi * 0.9 + 0 * azimuth,
            azimuth / (2 * np.pi) * 0.6 + 0 * polar,
            0.02 + 0 * (azimuth + polar),
        ],
        2,
    )
    return grid_mesh(position, strands, tangent, 0.7)


def grid_mesh(position: np.ndarray, strands: np.ndarray, tangent: np.ndarray, level: float) -> HairMesh:
    """Return a grid (A, S, 3) as a mesh of two triangles per cell."""
    rows, columns = position.shape[:2]
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    every_second = index[np.ix_(thinned(rows), thinned(columns))]
    flat = [np.ascontiguousarray(x.reshape(-1, 3), dtype=np.float32) for x in (position, strands, tangent)]
    depth = np.full(rows * columns, level, np.float32)
    return HairMesh(flat[0], cell_triangles(index), cell_triangles(every_second), flat[1], flat[2], depth)


def thinned(count: int) -> np.ndarray:
    """Return every second of `count` grid lines, and the last."""
    return np.unique(np.append(np.arange(0, count, 2), count - 1))


def cell_triangles(index: np.ndarray) -> np.ndarray:
    """Return two triangles per cell of a grid (A, S) of vertex numbers."""
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    return np.concatenate([np.stack([a, d, c], -1).reshape(-1, 3), np.stack([a, c, b], -1).reshape(-1, 3)])


def merge(meshes: list[HairMesh]) -> HairMesh:
    """Return several meshes as one."""
    if not meshes:
        none = np.zeros((0, 3), np.float32)
        flat = np.zeros((0, 3), np.int32)
        return HairMesh(none, flat, flat, none, none, np.zeros(0, np.float32))
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return HairMesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        triangles=renumbered([mesh.triangles for mesh in meshes], starts),
        coarse=renumbered([mesh.coarse for mesh in meshes], starts),
        strands=np.concatenate([mesh.strands for mesh in meshes]),
        tangents=np.concatenate([mesh.tangents for mesh in meshes]),
        depth=np.concatenate([mesh.depth for mesh in meshes]),
    )


def renumbered(parts: list[np.ndarray], starts: np.ndarray) -> np.ndarray:
    """Return the triangles of several meshes whose vertices follow each other from `starts` on."""
    return np.concatenate([part + np.int32(start) for part, start in zip(parts, starts, strict=True)]).astype(
        np.int32
    )


def smooth_bumps(
    rng: np.random.Generator, azimuth: np.ndarray, step: np.ndarray, detail: float
) -> np.ndarray:
    """Return a periodic bumpy field about 0 over the sheet, roughly in [-1, 1]."""
    field = np.zeros(np.broadcast_shapes(azimuth.shape, step.shape))
    for _ in range(10):
        around = int(rng.integers(1, max(2, int(detail) + 1)))
        down = rng.uniform(0.5, detail * 0.7)
        field = field + np.sin(around * azimuth + down * 2 * np.pi * step + rng.uniform(0, 2 * np.pi))
    return field / 4.0


def smooth(x: np.ndarray) -> np.ndarray:
    """Smooth step from 0 at x <= 0 to 1 at x >= 1."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)
