"""BlazeFace, short range: boxes and eyes of faces that are 1/5 to all of a 128 px picture (Bazarevsky 2019).

The network is convolutional, so one run on a picture of 128 k px searches it for faces k times smaller.
Its anchors stand on two grids: 2 per cell of 8 px, 6 per cell of 16 px, all of one size.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from eggan.faces.models import run_detector

GRIDS = ((8, 2), (16, 6))  # px per cell, anchors per cell
BLOCK = 16  # the picture's sides are multiples of it
LEAST_SCORE = 0.5  # the model's own threshold, as is the overlap of boxes that mean one face
SAME_FACE = 0.3
LOGIT_LIMIT = 100.0
TILE, OVERLAP = 1024, 128


@dataclass(frozen=True)
class Detection:
    """A face in pixels of the photograph: centre (2,), side of its box, both eyes (2, 2), left one first.

    Left is the picture's left where the face is upright.
    """

    centre: np.ndarray
    side: float
    eyes: np.ndarray
    score: float


def detect(photograph: np.ndarray, side: int, turns: int = 0) -> list[Detection]:
    """Return the faces seen when the longer side of uint8 (H, W, 3) is `side` px, best first.

    `turns`: quarters, as of `np.rot90`, by which the picture is turned before it is looked at.
    """
    upright, scale = _scaled(photograph, side)
    picture = np.ascontiguousarray(np.rot90(upright, turns))
    parts = [_seen(picture, x, y) for y in _starts(len(picture)) for x in _starts(len(picture[0]))]
    values, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(-scores, kind="stable")
    faces = []
    for face, score in _merged(values[order], scores[order]):
        centre, *eyes = _turned_back(face[[0, 2, 3]], upright.shape, turns) / scale
        faces.append(Detection(centre, float(face[1].max()) / scale, np.array(eyes), score))
    return faces


def _turned_back(points: np.ndarray, shape: tuple[int, ...], turns: int) -> np.ndarray:
    """Return where points (N, 2) of `np.rot90(picture, turns)` are in the picture of `shape` (H, W, 3)."""
    (x, y), (height, width) = points.T, shape[:2]
    return np.column_stack([(x, y), (width - y, x), (width - x, height - y), (y, height - x)][turns])


def _starts(length: int) -> range:
    """Return where tiles begin that overlap by the largest face: memory grows with the tile alone."""
    return range(0, max(1, length - OVERLAP), TILE - OVERLAP)


def _seen(picture: np.ndarray, x: int, y: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what a tile's anchors saw: (N, 8, 2) centre, size and six points in the picture, and scores."""
    tile = picture[y : y + TILE, x : x + TILE]
    values, logits = run_detector(tile)
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(float), -LOGIT_LIMIT, LOGIT_LIMIT)))
    kept = np.flatnonzero(scores >= LEAST_SCORE)
    places = _anchors(*tile.shape[:2])[kept] + (x, y)
    faces = values[kept].astype(float).reshape(-1, 8, 2)
    faces[:, [0, 2, 3, 4, 5, 6, 7]] += places[:, None]  # all but the size are relative to the anchor
    return faces, scores[kept]


def _scaled(photograph: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """Return the picture as the model takes it, black beyond its edges, and result px per photograph px."""
    height, width = photograph.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(photograph).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    padded = np.full((*(-(-length // BLOCK) * BLOCK for length in size[::-1]), 3), -1, np.float32)
    padded[: size[1], : size[0]] = np.asarray(picture, np.float32) / 127.5 - 1
    return padded, scale


def _anchors(height: int, width: int) -> np.ndarray:
    """Return the centres (A, 2) of all anchors as x, y in the order of the model's output."""
    grids = []
    for cell, count in GRIDS:
        y, x = np.mgrid[: height // cell, : width // cell]
        grids.append((np.stack([x, y], -1).reshape(-1, 2) + 0.5).repeat(count, 0) * cell)
    return np.concatenate(grids)


def _merged(values: np.ndarray, scores: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Return one row (8, 2) per face, the mean of those that overlap its best one, weighted by score."""
    faces = []
    while len(values):
        same = _overlaps(values[:, :2], values[0, :2]) > SAME_FACE
        same[0] = True
        weights = scores[same] / scores[same].sum()
        faces.append((np.tensordot(weights, values[same], 1), float(scores[0])))
        values, scores = values[~same], scores[~same]
    return faces


def _overlaps(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return intersection over union of boxes (N, 2, 2), each centre and size, with one."""
    low = np.maximum(boxes[:, 0] - boxes[:, 1] / 2, box[0] - box[1] / 2)
    high = np.minimum(boxes[:, 0] + boxes[:, 1] / 2, box[0] + box[1] / 2)
    shared = np.maximum(high - low, 0).prod(axis=1)
    union = boxes[:, 1].prod(axis=1) + box[1].prod() - shared
    return np.asarray(shared / np.maximum(union, 1e-9))
