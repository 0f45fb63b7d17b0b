"""A z-buffer rasteriser: which triangle each sample of the picture sees, and where in it.

Single-threaded on purpose: builds run one process per core, and one order of operations gives one result.
The buffers are written in place, so that pictures which share a part of the scene draw that part once.
"""

import numpy as np
from numba import njit

LAYER_NONE = -1.0
TILE = 8  # samples: the side of the squares whose farthest depth rejects hidden triangles early
# Fused and reordered operations differ between machines, never between two runs of one compiled function.
FAST = {"nsz", "arcp", "contract", "afn"}


@njit(cache=True, fastmath=FAST, forceinline=True)
def strand_coverage(strands: np.ndarray, u: float, v: float) -> float:
    """Look the strand texture (uint8, periodic, sides powers of two) up, bilinear in u: density in [0, 1]."""
    height, width = strands.shape
    x = u * width
    column = int(np.floor(x))
    row = int(np.floor(v * height)) & (height - 1)
    a = float(strands[row, column & (width - 1)])
    b = float(strands[row, (column + 1) & (width - 1)])
    return (a + (b - a) * (x - column)) * (1.0 / 255.0)


@njit(cache=True)
def farthest_depths(depth: np.ndarray) -> np.ndarray:
    """Return the largest depth of every TILE x TILE square; `depth` (S, S) with S a multiple of TILE."""
    count = depth.shape[0] // TILE
    far = np.zeros((count, count), np.float32)
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            value = depth[row, column]
            if value > far[row // TILE, column // TILE]:
                far[row // TILE, column // TILE] = value
    return far


@njit(cache=True, fastmath=FAST)
def rasterise(
    points: np.ndarray,
    triangles: np.ndarray,
    chosen: np.ndarray,
    masks: np.ndarray,
    strands: np.ndarray,
    masked: bool,
    both_sides: bool,
    far: np.ndarray,
    index: np.ndarray,
    weight0: np.ndarray,
    weight1: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Draw the triangles `chosen` (n,) into the buffers: triangle, weight0, weight1 and depth, each (S, S).

    `points` (V, 3) float32: sample x, sample y, depth (smaller is nearer). Where `masked`, `masks` (V, 3)
    float32 holds strand coordinates u, v and the coverage threshold: such a triangle hides only samples whose
    strand density reaches the threshold. Unless `both_sides`, triangles that face away are skipped.
    `far` (S / TILE, S / TILE) bounds the depth that the buffers held before; an `index` of size 0 asks for
    the depth alone.
    """
    size = depth.shape[0]
    depth_only = index.shape[0] == 0
    for n in range(chosen.shape[0]):
        t = chosen[n]
        i0, i1, i2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, z0 = float(points[i0, 0]), float(points[i0, 1]), float(points[i0, 2])
        x1, y1, z1 = float(points[i1, 0]), float(points[i1, 1]), float(points[i1, 2])
        x2, y2, z2 = float(points[i2, 0]), float(points[i2, 1]), float(points[i2, 2])
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9 or (area > 0 and not both_sides):
            continue
        left = max(int(np.ceil(min(x0, x1, x2) - 0.5)), 0)
        right = min(int(np.floor(max(x0, x1, x2) - 0.5)), size - 1)
        top = max(int(np.ceil(min(y0, y1, y2) - 0.5)), 0)
        bottom = min(int(np.floor(max(y0, y1, y2) - 0.5)), size - 1)
        if left > right or top > bottom:
            continue
        if hidden(far, min(z0, z1, z2), left, right, top, bottom):
            continue
        inverse = 1.0 / area
        # barycentric weights 1 and 2 change by a constant from one column or row to the next
        b1x, b1y = (y2 - y0) * inverse, -(x2 - x0) * inverse
        b2x, b2y = -(y1 - y0) * inverse, (x1 - x0) * inverse
        b1_row = (left + 0.5 - x0) * b1x + (top + 0.5 - y0) * b1y
        b2_row = (left + 0.5 - x0) * b2x + (top + 0.5 - y0) * b2y
        b0x, b0y = -b1x - b2x, -b1y - b2y
        b0_row = 1.0 - b1_row - b2_row
        steps0, steps1, steps2 = reciprocal(b0x), reciprocal(b1x), reciprocal(b2x)
        z1 -= z0
        z2 -= z0
        u0 = v0 = limit0 = u1 = v1 = limit1 = u2 = v2 = limit2 = 0.0
        if masked:
            u0, v0, limit0 = float(masks[i0, 0]), float(masks[i0, 1]), float(masks[i0, 2])
            u1, v1, limit1 = masks[i1, 0] - u0, masks[i1, 1] - v0, masks[i1, 2] - limit0
            u2, v2, limit2 = masks[i2, 0] - u0, masks[i2, 1] - v0, masks[i2, 2] - limit0
        for row in range(top, bottom + 1):
            first, last = crossing(b0_row, steps0, 0, right - left)
            first, last = crossing(b1_row, steps1, first, last)
            first, last = crossing(b2_row, steps2, first, last)
            b1, b2 = b1_row + first * b1x, b2_row + first * b2x
            for column in range(left + first, left + last + 1):
                z = np.float32(z0 + b1 * z1 + b2 * z2)
                if z < depth[row, column] and (
                    not masked
                    or strand_coverage(strands, u0 + b1 * u1 + b2 * u2, v0 + b1 * v1 + b2 * v2)
                    >= limit0 + b1 * limit1 + b2 * limit2
                ):
                    depth[row, column] = z
                    if not depth_only:
                        index[row, column] = t
                        weight0[row, column] = 1.0 - b1 - b2
                        weight1[row, column] = b1
                b1 += b1x
                b2 += b2x
            b0_row += b0y
            b1_row += b1y
            b2_row += b2y


@njit(cache=True, forceinline=True)
def reciprocal(slope: float) -> float:
    """Return 1 / slope, finite for any slope."""
    return 1.0 / slope if abs(slope) > 1e-12 else 1e12


@njit(cache=True, forceinline=True)
def crossing(start: float, steps: float, first: int, last: int) -> tuple[int, int]:
    """Return the part of the steps `first`..`last` along a row where `start + step / steps` is not negative.

    A hair's breadth below zero counts as inside: two triangles may share a sample, none falls between them.
    """
    where = -(start + 1e-9) * steps
    if steps > 0:
        return (max(first, int(np.ceil(where))) if where < last + 1 else last + 1), last
    return first, (min(last, int(np.floor(where))) if where > first - 1 else first - 1)


@njit(cache=True, forceinline=True)
def hidden(far: np.ndarray, nearest: float, left: int, right: int, top: int, bottom: int) -> bool:
    """Tell whether everything that the buffers hold in a rectangle of samples is nearer than `nearest`."""
    for i in range(top // TILE, bottom // TILE + 1):
        for j in range(left // TILE, right // TILE + 1):
            if nearest < far[i, j]:
                return False
    return True


@njit(cache=True)
def add_normals(vertices: np.ndarray, triangles: np.ndarray, chosen: np.ndarray, normals: np.ndarray) -> None:
    """Add each chosen triangle's normal, as long as twice its area, to `normals` (V, 3) of its corners."""
    for n in range(chosen.shape[0]):
        t = chosen[n]
        i0, i1, i2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax = vertices[i1, 0] - vertices[i0, 0]
        ay = vertices[i1, 1] - vertices[i0, 1]
        az = vertices[i1, 2] - vertices[i0, 2]
        bx = vertices[i2, 0] - vertices[i0, 0]
        by = vertices[i2, 1] - vertices[i0, 1]
        bz = vertices[i2, 2] - vertices[i0, 2]
        nx = ay * bz - az * by
        ny = az * bx - ax * bz
        nz = ax * by - ay * bx
        for i in (i0, i1, i2):
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz


@njit(cache=True)
def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return smooth unit normals (V, 3) float32, weighted by triangle area."""
    normals = np.zeros(vertices.shape, np.float32)
    add_normals(vertices, triangles, np.arange(triangles.shape[0]), normals)
    for i in range(vertices.shape[0]):
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-20
        normals[i] /= length
    return normals
