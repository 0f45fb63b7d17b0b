"""The landmark reader: AU intensities off 468 landmarks, learnt from rendered faces; a frozen instrument.

It reads landmarks of a photograph as of a rendering, since one model finds them in both, and no pixel: what
fools the estimators a and b does not fool it. What geometry does not show it does not read.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eggan.aus import AU_COLUMNS, AU_COUNT, MAX_INTENSITY
from eggan.evaluation.instrument_weights import load_network
from eggan.evaluation.landmark_network import LANDMARKS, LandmarkRegression
from eggan.faces.find import LEAST_PRESENCE, find_faces, landmarks_of
from eggan.faces.framing import framed_eyes

NAME = "au_landmarks"


@dataclass(frozen=True)
class LandmarkReader:
    """Reads AU intensities from landmarks, or from images in which it finds them."""

    name: str
    sha256: str
    card: dict[str, Any]
    network: LandmarkRegression = field(repr=False)

    @property
    def readable(self) -> np.ndarray:
        """Which of the 17 AUs geometry shows well enough, bool (17,): the others are read as NaN."""
        return np.array([column not in self.card["unreadable"] for column in AU_COLUMNS])

    @property
    def partners(self) -> np.ndarray:
        """The landmark on the other side of a face, of each: (468,)."""
        return self.network.mirror.long().numpy()

    def read(self, landmarks: np.ndarray) -> np.ndarray:
        """Return intensities float32 (N, 17) in [0, 5] of landmarks (N, 468, 3), as `Face.landmarks`.

        NaN for AUs that are not `readable`, and for faces with a landmark that is not finite. Other shapes:
        `ValueError`.
        """
        return self.estimate(landmarks).clip(0.0, MAX_INTENSITY)

    def estimate(self, landmarks: np.ndarray) -> np.ndarray:
        """Return what `read` cuts off at 0 and 5, as it is: it shows which way a face moves beyond them."""
        points = np.asarray(landmarks, dtype=np.float32)
        if points.ndim != 3 or points.shape[1:] != (LANDMARKS, 3):
            raise ValueError(f"expected landmarks (N, {LANDMARKS}, 3), not {points.shape}")
        result = np.full((len(points), AU_COUNT), np.nan, np.float32)
        seen = np.isfinite(points).all(axis=(1, 2))
        if seen.any():
            with torch.no_grad():
                reading = self.network(torch.from_numpy(points[seen]))
            result[seen] = np.where(self.readable, reading.numpy(), np.nan)
        return result

    def predict(self, images: Tensor) -> Tensor:
        """Return intensities float32 (B, 17) of images (B, 3, H, W) in [-1, 1]; NaN where no face is found.

        The face is first looked for where aligned faces have it, then everywhere.
        """
        from eggan.data.images import to_uint8  # an edit reads landmarks alone

        pixels = to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()
        found = [landmarks_in(image) for image in pixels]
        stacked = np.stack(found) if found else np.zeros((0, LANDMARKS, 3), np.float32)
        return torch.from_numpy(self.read(stacked)).to(images.device)


def landmarks_in(image: np.ndarray) -> np.ndarray:
    """Return the landmarks (468, 3) of a face, uint8 (S, S, 3), aligned or not; NaN where there is none."""
    face = landmarks_of(image, framed_eyes(len(image)))
    if face.presence >= LEAST_PRESENCE:
        return face.landmarks
    faces = find_faces(image)
    return faces[0].landmarks if faces else np.full((LANDMARKS, 3), np.nan, np.float32)


def load_landmark_reader(folder: Path | None = None) -> LandmarkReader:
    """Load the landmark reader; weights missing or altered: `UserError`."""
    card, network = load_network(NAME, LandmarkRegression, "cpu", folder)
    return LandmarkReader(NAME, card["sha256"], card, network)
