"""A z-buffer rasteriser: which triangle each sample of the picture sees, and where in it.

Single-threaded on purpose: builds run one process per core, and one order of operations gives one result.
"""

import numpy as np
from numba import njit

LAYER_NONE = -1.0


@njit(cache=True)
def strand_coverage(strands: np.ndarray, u: float, v: float) -> float:
    """Look the strand texture up (periodic, bilinear in u): density in [0, 1]."""
    height, width = strands.shape
    x = u * width
    y = v * height
    x0 = int(np.floor(x))
    fx = x - x0
    row = int(np.floor(y)) % height
    a = strands[row, x0 % width]
    b = strands[row, (x0 + 1) % width]
    return a + (b - a) * fx


@njit(cache=True)
def rasterise(
    points: np.ndarray, triangles: np.ndarray, masks: np.ndarray, strands: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (triangle, weight0, weight1, depth) buffers, each (size, size), of the nearest surface.

    `points` (V, 3) float32: sample x, sample y, depth (smaller is nearer). `masks` (V, 3) float32: strand
    coordinates u, v and the coverage threshold; a triangle whose threshold is `LAYER_NONE` is opaque, others
    hide only samples whose strand density exceeds the threshold. Triangle -1 is background.
    """
    index = np.full((size, size), -1, np.int32)
    weight0 = np.zeros((size, size), np.float32)
    weight1 = np.zeros((size, size), np.float32)
    depth = np.full((size, size), 1e9, np.float32)
    for t in range(triangles.shape[0]):
        i0, i1, i2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = points[i0, 0], points[i0, 1]
        x1, y1 = points[i1, 0], points[i1, 1]
        x2, y2 = points[i2, 0], points[i2, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        left = max(int(np.ceil(min(x0, x1, x2) - 0.5)), 0)
        right = min(int(np.floor(max(x0, x1, x2) - 0.5)), size - 1)
        top = max(int(np.ceil(min(y0, y1, y2) - 0.5)), 0)
        bottom = min(int(np.floor(max(y0, y1, y2) - 0.5)), size - 1)
        masked = masks[i0, 2] != LAYER_NONE
        inverse = 1.0 / area
        for row in range(top, bottom + 1):
            py = row + 0.5
            for column in range(left, right + 1):
                px = column + 0.5
                b1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) * inverse
                if b1 < 0.0:
                    continue
                b2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) * inverse
                b0 = 1.0 - b1 - b2
                if b2 < 0.0 or b0 < 0.0:
                    continue
                z = b0 * points[i0, 2] + b1 * points[i1, 2] + b2 * points[i2, 2]
                if z >= depth[row, column]:
                    continue
                if masked:
                    u = b0 * masks[i0, 0] + b1 * masks[i1, 0] + b2 * masks[i2, 0]
                    v = b0 * masks[i0, 1] + b1 * masks[i1, 1] + b2 * masks[i2, 1]
                    threshold = b0 * masks[i0, 2] + b1 * masks[i1, 2] + b2 * masks[i2, 2]
                    if strand_coverage(strands, u, v) < threshold:
                        continue
                depth[row, column] = z
                index[row, column] = t
                weight0[row, column] = b0
                weight1[row, column] = b1
    return index, weight0, weight1, depth


@njit(cache=True)
def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return smooth unit normals (V, 3) float32, weighted by triangle area."""
    normals = np.zeros(vertices.shape, np.float32)
    for t in range(triangles.shape[0]):
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
    for i in range(vertices.shape[0]):
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-20
        normals[i] /= length
    return normals
