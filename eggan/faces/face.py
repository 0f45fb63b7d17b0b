"""A face as it was found: landmarks, and what follows from them."""

from dataclasses import dataclass

import numpy as np

from eggan.faces.landmarks import eyes_of, roll_of

LEFT_CHEEK, RIGHT_CHEEK = 234, 454  # landmarks before the ears, by sides of the picture
# A face turned further is a profile: the far eye is hidden. A profile reads 50 degrees (camera.png of
# scikit-image), frontal renders less than 8.
PROFILE_YAW = 40.0


@dataclass(frozen=True)
class Face:
    """One face in a photograph.

    `landmarks` (468, 3) float32: MediaPipe's face mesh, x and y in pixels of the photograph (pixel centres at
    .5), z in the same unit, smaller towards the camera. `score`: the detector's, 0 to 1; 1 where the place
    was given. `presence`: how sure the landmark model is that a face is there, 0 to 1.
    """

    landmarks: np.ndarray
    score: float
    presence: float

    @property
    def eyes(self) -> np.ndarray:
        """Centres of both eyes (2, 2), x and y; first the one on the picture's left of an upright face."""
        return eyes_of(self.landmarks)

    @property
    def eye_distance(self) -> float:
        """Distance of the eyes in pixels."""
        return float(np.hypot(*(self.eyes[1] - self.eyes[0])))

    @property
    def roll(self) -> float:
        """Turn in the picture's plane in degrees, -180 to 180, clockwise positive."""
        return float(np.degrees(roll_of(self.eyes)))

    @property
    def yaw(self) -> float:
        """Turn of the head in degrees, -90 to 90: positive where an upright face looks to the right.

        Profiles, whose far side is guessed by the model, are those beyond `PROFILE_YAW` either way.
        """
        across = (self.landmarks[RIGHT_CHEEK] - self.landmarks[LEFT_CHEEK]).astype(float)
        return float(np.degrees(np.arctan2(across[2], np.hypot(across[0], across[1]))))

    @property
    def size(self) -> float:
        """Longer side of `box` in pixels."""
        return max(self.box[2:])

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Smallest upright box around the landmarks: left, top, width, height in pixels."""
        low, high = self.landmarks[:, :2].min(axis=0), self.landmarks[:, :2].max(axis=0)
        return (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
