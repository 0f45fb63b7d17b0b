"""The square in which networks see a face: its eyes at fixed places, as in SynFACS."""

import numpy as np

from eggan.faces.face import Face
from eggan.faces.resampling import resampled

# Where the landmark model finds the eyes of SynFACS's rendered faces, in parts of the picture's side, so that
# models and instruments see one framing: the means of 160 faces of 20 people at 128 px.
EYE_LINE = 0.423
EYE_DISTANCE = 0.297


def framing(face: Face, size: int) -> np.ndarray:
    """Return (2, 3) float64: from x, y in the photograph to those in the aligned square of `size` px."""
    return eye_framing(face.eyes, size)


def framed_eyes(size: int) -> np.ndarray:
    """Return where the eyes of an aligned face of `size` px are, (2, 2) as in `Face.eyes`."""
    half = EYE_DISTANCE * size / 2
    return np.array([[size / 2 - half, EYE_LINE * size], [size / 2 + half, EYE_LINE * size]])


def eye_framing(eyes: np.ndarray, size: int) -> np.ndarray:
    """Return the similarity (2, 3) that puts eyes (2, 2) at their places; eyes in one place: `ValueError`."""
    middle, across = eyes.mean(axis=0), eyes[1] - eyes[0]
    distance = float(np.hypot(*across))
    if distance < 1:
        raise ValueError("the eyes stand in one place")
    right = across / distance
    turn = EYE_DISTANCE * size / distance * np.array([right, [-right[1], right[0]]])
    return np.column_stack([turn, np.array([size / 2, EYE_LINE * size]) - turn @ middle])


def inverse(places: np.ndarray) -> np.ndarray:
    """Return the affine map (2, 3) that undoes another."""
    turn = np.linalg.inv(places[:, :2])
    return np.column_stack([turn, -turn @ places[:, 2]])


def aligned(photograph: np.ndarray, face: Face, size: int) -> np.ndarray:
    """Return the face as uint8 (size, size, 3): one antialiased resampling, edges repeated outside."""
    return aligned_by_eyes(photograph, face.eyes, size)


def aligned_by_eyes(photograph: np.ndarray, eyes: np.ndarray, size: int) -> np.ndarray:
    """Return what `aligned` does, of a face of which only the eyes (2, 2) are known."""
    pixels = resampled(photograph, inverse(eye_framing(eyes, size)), size)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
