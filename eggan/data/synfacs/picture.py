"""`render`: one picture as a pure function of (identity, AUs, nuisance, gaze, size)."""

import numpy as np

from eggan.aus import GAZES, check_au_vector
from eggan.data.synfacs.identity import Identity
from eggan.data.synfacs.nuisance import Nuisance
from eggan.data.synfacs.scene import Scene
from eggan.errors import UserError

RENDERER_VERSION = "2.0.0"  # raise it with every change that alters pixels
SIZES = (64, 128, 192, 256, 512)


def render(identity: Identity, aus: np.ndarray, nuisance: Nuisance, gaze: str, size: int) -> np.ndarray:
    """Return the picture, uint8 (size, size, 3) RGB; `aus` (17,) in [0, 5], `gaze` left, frontal or right."""
    return render_group(identity, np.asarray(aus)[None], nuisance, gaze, size)[0]


def render_group(identity: Identity, aus: np.ndarray, nuisance: Nuisance, gaze: str, size: int) -> np.ndarray:
    """Return pictures that differ in their AUs alone, uint8 (n, size, size, 3); `aus` (n, 17) in [0, 5].

    They share what AUs do not change, so a group costs less than its pictures one by one, and each picture
    equals what `render` returns for it, byte for byte.
    """
    vectors = [check_au_vector(row).astype(np.float64) for row in aus]
    if size not in SIZES:
        raise UserError(f"size {size} is not offered: use one of {', '.join(map(str, SIZES))}")
    if gaze not in GAZES:
        raise UserError(f"unknown gaze {gaze!r}: use {', '.join(GAZES)}")
    pictures = np.empty((len(vectors), size, size, 3), np.uint8)
    if vectors:
        scene = Scene(identity, nuisance, gaze, size, len(vectors))
        for position, vector in enumerate(vectors):
            pictures[position] = scene.picture(vector)
    return pictures
