"""Photographs for the tests of faces: rendered faces on backgrounds, whose places are known."""

import numpy as np
from PIL import Image

from eggan.faces.framing import EYE_DISTANCE, EYE_LINE
from tests.faces.golden import RENDERS

TOLERANCE = 0.06  # of the tile's side: how far eyes of people lie from the mean place


def renders() -> np.ndarray:
    """Return two rendered faces, uint8 (2, 64, 64, 3)."""
    with np.load(RENDERS) as stored:
        return np.asarray(stored["faces"])


def background(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return soft clouds of colour."""
    small = np.random.default_rng(seed).integers(60, 200, (9, 9, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def with_faces(height: int, width: int, tiles: list[tuple[int, int, int]]) -> np.ndarray:
    """Return a photograph with rendered faces at the tiles (x, y, side); people take turns."""
    photograph, faces = background(height, width), renders()
    for number, (x, y, side) in enumerate(tiles):
        face = Image.fromarray(faces[number % len(faces)]).resize((side, side), Image.Resampling.LANCZOS)
        photograph[y : y + side, x : x + side] = np.array(face)
    return photograph


def eyes_in(tile: tuple[int, int, int]) -> np.ndarray:
    """Return where the eyes (2, 2) of the face in a tile are, to `TOLERANCE` of its side."""
    x, y, side = tile
    middle = np.array([x + side / 2, y + EYE_LINE * side])
    half = np.array([EYE_DISTANCE * side / 2, 0])
    return np.stack([middle - half, middle + half])
