"""What of a picture the AUs change: everything else is drawn once for all pictures that share it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eggan.data.synfacs.actions import ACTION_TABLE, action_row
from eggan.data.synfacs.head import LASH, HeadModel, load_head
from eggan.data.synfacs.raster import vertex_normals
from eggan.data.synfacs.wrinkles import MAP_BOTTOM, MAP_LEFT, MAP_STEP, au_maps

BEHIND = 0.2  # normals that point back this far belong to surfaces that never show the frontal map's creases


@dataclass(frozen=True)
class Moving:
    """The part of the head that AUs move, turn or wrinkle.

    `vertices` (M,) move, by `shapes` (A, M, 3) metres per unit of the `actions` (A,). `turning` (N,) are the
    vertices whose normal may change, `around` the triangles that decide their normals. `faces` are the opaque
    triangles and `lashes` the masked ones to draw for every picture, `still` the others; `flags` (T,) marks
    those that move.
    """

    actions: tuple[str, ...]
    vertices: np.ndarray
    shapes: np.ndarray
    turning: np.ndarray
    around: np.ndarray
    faces: np.ndarray
    lashes: np.ndarray
    still: np.ndarray
    flags: np.ndarray


@lru_cache(maxsize=1)
def moving_part() -> Moving:
    """Return the moving part of the head model."""
    head = load_head()
    actions = used_actions(head)
    shapes = head.actions.metres(np.array([head.action_labels.index(name) for name in actions]))
    moved = (shapes != 0).any(axis=(0, 2))
    turned = touched(head, moved[head.triangles].any(axis=1))
    around = turned[head.triangles].any(axis=1)
    lash = head.region == LASH
    flags = around | lash | wrinkled(head)
    return Moving(
        actions=actions,
        vertices=np.flatnonzero(moved),
        shapes=np.ascontiguousarray(shapes[:, moved], np.float32),
        turning=np.flatnonzero(turned),
        around=np.flatnonzero(around),
        faces=np.flatnonzero(flags & ~lash),
        lashes=np.flatnonzero(lash),
        still=np.flatnonzero(~flags),
        flags=flags,
    )


def used_actions(head: HeadModel) -> tuple[str, ...]:
    """Return the facial actions that any AU uses, in the head model's order."""
    names = {"mouthClose"}
    for actions in ACTION_TABLE.values():
        for name, _ in actions:
            names |= {name[:-1] + side for side in ("Left", "Right")} if name.endswith("*") else {name}
    return tuple(label for label in head.action_labels if label in names)


def touched(head: HeadModel, triangles: np.ndarray) -> np.ndarray:
    """Return a mask (V,) of the corners of the triangles of a mask (T,)."""
    mask = np.zeros(len(head.template), bool)
    mask[np.unique(head.triangles[triangles])] = True
    return mask


def wrinkled(head: HeadModel) -> np.ndarray:
    """Return a mask (T,) of the triangles in front whose box on the frontal map meets a crease of any AU."""
    crease = np.any([field != 0 for field in au_maps().values()], axis=0)
    inside = np.pad(crease.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    corners = head.template[head.triangles]
    rows, columns = crease.shape
    # two cells of margin: the shader looks one cell further to find the slope
    low_u, high_u = cells(corners[:, :, 0], MAP_LEFT, columns)
    low_v, high_v = cells(corners[:, :, 2], MAP_BOTTOM, rows)
    found = inside[high_v, high_u] - inside[low_v, high_u] - inside[high_v, low_u] + inside[low_v, low_u]
    behind = (vertex_normals(head.template, head.triangles)[:, 1] > BEHIND)[head.triangles].all(axis=1)
    return (found > 0) & ~behind


def cells(values: np.ndarray, origin: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first cell and one past the last that triangles (T, 3) cover on one axis, with a margin."""
    place = (values - origin) / MAP_STEP
    low = np.clip(np.floor(place.min(axis=1)) - 2, 0, count - 1).astype(int)
    high = np.clip(np.ceil(place.max(axis=1)) + 3, 1, count).astype(int)
    return low, high


def action_strengths(moving: Moving, weights: dict[str, float]) -> np.ndarray:
    """Return the weights of `moving.actions` (A,), float32."""
    return action_row(weights, moving.actions)
