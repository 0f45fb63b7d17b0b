"""Which way up a face is: detections in pictures turned by right angles.

The detector finds faces on their side and upside down as well, with a lower score, and then takes forehead
for chin. Among the four right angles the right one scored highest for each of 80 rendered faces at two sizes.
"""

from dataclasses import replace

import numpy as np

from eggan.faces.detector import Detection, detect
from eggan.faces.resampling import resampled

CLOSE_SIDE = 128
AROUND = 2.0  # boxes that a closer look shows
SURE = 0.92  # no face turned the wrong way scored more than 0.91
TURNS = (0, 1, 3, 2)  # quarters, as of `np.rot90`


def upright(photograph: np.ndarray, found: Detection) -> Detection:
    """Return the detection that a closer look finds at the same place, whichever way up it scores most."""
    if found.score >= SURE:
        return found
    step = AROUND * found.side / CLOSE_SIDE
    corner = found.centre - AROUND * found.side / 2
    places = np.column_stack([step * np.eye(2), corner])
    close = np.rint(resampled(photograph, places, CLOSE_SIDE, quick=True))
    seen = [
        replace(
            face, centre=face.centre * step + corner, side=face.side * step, eyes=face.eyes * step + corner
        )
        for turns in TURNS
        for face in detect(close.astype(np.uint8), CLOSE_SIDE, turns)
    ]
    same = [face for face in seen if np.abs(face.centre - found.centre).max() < found.side / 2]
    return max([found, *same], key=lambda face: face.score)
