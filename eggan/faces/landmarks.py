"""468 landmarks of one face (MediaPipe face mesh): which square is looked at, and what is read there."""

from dataclasses import dataclass

import numpy as np

from eggan.faces.models import run_landmarks
from eggan.faces.resampling import resampled

SIDE = 192
ENLARGED = 1.5  # the square is this much larger than the face's box
# The same square in distances of the eyes, the mean of 160 rendered faces: side, and centre below the eyes.
EYE_DISTANCES, BELOW_EYES = 4.0, 0.49
# Landmarks at the corners of the eyes: the eye on the picture's left, outer and inner, and the other one.
LEFT_EYE, RIGHT_EYE = (33, 133), (263, 362)


@dataclass(frozen=True)
class Region:
    """A square of the photograph: centre x, y and side in pixels, turned by `roll` radians."""

    x: float
    y: float
    side: float
    roll: float

    def places(self) -> np.ndarray:
        """Return (2, 3): from pixels of the model's picture to those of the photograph."""
        step = self.side / SIDE
        turn = step * np.array(
            [[np.cos(self.roll), -np.sin(self.roll)], [np.sin(self.roll), np.cos(self.roll)]]
        )
        return np.column_stack([turn, np.array([self.x, self.y]) - turn @ np.full(2, SIDE / 2)])


def region_of_box(centre: np.ndarray, side: float, eyes: np.ndarray) -> Region:
    """Return the square around a detected box, turned as the eyes (2, 2) are."""
    return Region(float(centre[0]), float(centre[1]), ENLARGED * side, roll_of(eyes))


def region_of_eyes(eyes: np.ndarray) -> Region:
    """Return the square around a face of which only the eyes (2, 2) are known."""
    roll, distance = roll_of(eyes), float(np.hypot(*(eyes[1] - eyes[0])))
    x, y = eyes.mean(axis=0) + BELOW_EYES * distance * np.array([-np.sin(roll), np.cos(roll)])
    return Region(float(x), float(y), EYE_DISTANCES * distance, roll)


def region_of_landmarks(landmarks: np.ndarray) -> Region:
    """Return the square around landmarks (468, 3) of the same face."""
    roll = roll_of(eyes_of(landmarks))
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    upright = landmarks[:, :2].astype(float) @ turn
    low, high = upright.min(axis=0), upright.max(axis=0)
    x, y = turn @ ((low + high) / 2)
    return Region(float(x), float(y), ENLARGED * float((high - low).max()), roll)


def read_landmarks(photograph: np.ndarray, region: Region) -> tuple[np.ndarray, float]:
    """Return landmarks (468, 3) float32 in pixels of uint8 (H, W, 3), and a face's presence in [0, 1]."""
    places = region.places()
    points, logit = run_landmarks(resampled(photograph, places, SIDE, quick=True) / np.float32(255))
    flat = points[:, :2].astype(float) @ places[:, :2].T + places[:, 2]
    depth = points[:, 2:].astype(float) * region.side / SIDE
    return np.hstack([flat, depth]).astype(np.float32), float(1 / (1 + np.exp(-logit)))


def eyes_of(landmarks: np.ndarray) -> np.ndarray:
    """Return both eyes' centres (2, 2), x and y, the mean of each eye's corners."""
    return np.stack([landmarks[list(eye), :2].astype(float).mean(axis=0) for eye in (LEFT_EYE, RIGHT_EYE)])


def roll_of(eyes: np.ndarray) -> float:
    """Return the turn in the picture's plane, radians, clockwise positive, of eyes (2, 2)."""
    x, y = eyes[1] - eyes[0]
    return float(np.arctan2(y, x))
