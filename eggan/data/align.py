"""From a photograph to the square face that networks see: aligned by the eyes, then cropped (Sec. 4.1)."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from eggan.data.photos.records import FaceProblem
from eggan.errors import UserError, known_names
from eggan.faces.face import Face
from eggan.faces.find import find_faces
from eggan.faces.framing import aligned

FACE, CENTRE, NONE = "face", "centre", "none"
KINDS = (FACE, CENTRE, NONE)
FORMER_KINDS = {"dlib": FACE}  # words of older command lines and datasets
# Views from 45 degrees, as RaFD has them, read 34 to 47; what reads more shows one half of a face.
LARGEST_YAW = 48.0
LARGEST_ROLL = 45.0  # degrees, of a face that counts as upright
BYSTANDER = 1 / 3  # of the largest face's size: smaller ones stand in the background

Aligner = Callable[[np.ndarray], np.ndarray]


def current_kind(word: str) -> str:
    """Return today's word for an alignment that may have its former name."""
    return FORMER_KINDS.get(word, word)


def make_aligner(kind: str, size: int) -> Aligner:
    """Return a function from uint8 (H, W, 3) to uint8 (size, size, 3).

    "face" turns and scales the face so that its eyes stand at fixed places; an image without a face, with
    several or with a profile raises `FaceProblem`. "centre" cuts the central square. "none" takes images that
    have the right size already, byte for byte.
    """
    if kind not in KINDS:
        raise UserError(f"unknown alignment {kind!r}{known_names(kind, KINDS)}")
    if kind == FACE:
        return lambda image: aligned(image, the_face(image), size)
    return lambda image: centre_crop(image, size) if kind == CENTRE else as_is(image, size)


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


def the_face(image: np.ndarray) -> Face:
    """Return the one face of a photograph; none, several of like size or a profile: `FaceProblem`."""
    faces = _without_bystanders(image)
    if len(faces) != 1:
        raise FaceProblem(f"several faces ({len(faces)})" if faces else "no face")
    if abs(faces[0].yaw) > LARGEST_YAW:
        raise FaceProblem(f"a profile, turned by {abs(faces[0].yaw):.0f} degrees")
    return faces[0]


def count_faces(image: np.ndarray) -> int:
    """Return the number of upright frontal faces of like size."""
    return sum(
        abs(face.roll) <= LARGEST_ROLL and abs(face.yaw) <= LARGEST_YAW for face in _without_bystanders(image)
    )


def _without_bystanders(image: np.ndarray) -> list[Face]:
    faces = find_faces(image)
    return [face for face in faces if face.size >= BYSTANDER * faces[0].size]
