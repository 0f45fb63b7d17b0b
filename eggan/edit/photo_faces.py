"""Which faces of a photograph are edited, and what they show."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eggan.aus import AU_NUMBERS
from eggan.edit.editing import Model
from eggan.errors import UserError
from eggan.faces.face import Face

LEAST_EYES, SMALL_EYES = 8, 40  # distance of the eyes in pixels
TURNED = 30  # degrees; rendered faces are turned by a few


@dataclass(frozen=True)
class ChosenFaces:
    """The faces to edit, and lines to print."""

    faces: list[Face]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def choose_faces(path: Path, pixels: np.ndarray, number: int | None, every: bool) -> ChosenFaces:
    """Find the faces of a photograph to edit, uint8 (H, W, 3): the one of a number, all, or the largest.

    A photograph without a face and a number that no face has are a `UserError`.
    """
    faces = find_faces_of(
        path, pixels, " (--framed takes its centre square for a face, as datasets frame it)"
    )
    if number is not None and not 1 <= number <= len(faces):
        raise UserError(f"--face {number}: {path} shows {_count(faces)}, numbered from the largest")
    numbered = list(enumerate(faces, 1)) if every else [(number or 1, faces[(number or 1) - 1])]
    notes = []
    if len(faces) > 1 and number is None:
        which = "all are edited" if every else "the largest is taken (--face N, --all-faces)"
        notes.append(f"{path} shows {_count(faces)}: {which}")
    return _chosen(path, pixels, numbered, notes)


def choose_face_to_copy(path: Path, pixels: np.ndarray) -> ChosenFaces:
    """Find the face of a photograph that another one is to look like: the largest, as options name no other.

    A photograph without a face is a `UserError`.
    """
    faces = find_faces_of(path, pixels, ": choose a photograph that shows one from the front")
    notes = []
    if len(faces) > 1:
        notes.append(f"{path} shows {_count(faces)}: the largest is copied (cut another one out to copy it)")
    return _chosen(path, pixels, [(1, faces[0])], notes)


def _chosen(
    path: Path, pixels: np.ndarray, numbered: list[tuple[int, Face]], notes: list[str]
) -> ChosenFaces:
    chosen = [(place, steadied(face, pixels)) for place, face in numbered]
    warnings = [f"face {place} of {path} {text}" for place, face in chosen for text in doubts(face)]
    return ChosenFaces([face for _, face in chosen], notes, warnings)


def find_faces_of(path: Path, pixels: np.ndarray, otherwise: str = "") -> list[Face]:
    """Return the faces that are large enough, largest first; a picture without one is a `UserError`.

    They are as the detector leaves them; `steadied` makes them ready for an edit or a reading. `otherwise`
    completes the line on a picture in which nothing was found: what to do about it.
    """
    from eggan.faces.find import find_faces

    found = find_faces(pixels)
    faces = [face for face in found if face.eye_distance >= LEAST_EYES]
    if found and not faces:
        largest = found[0].eye_distance
        raise UserError(
            f"{path}: the eyes of the largest face are {largest:.0f} pixels apart, too few to edit "
            f"(at least {LEAST_EYES})"
        )
    if not faces:
        raise UserError(f"no face was found in {path}{otherwise}")
    return faces


def steadied(face: Face, pixels: np.ndarray) -> Face:
    """Return a face of a photograph (H, W, 3) as it is edited and read: as its mirror image is, too.

    Landmarks of an image and of its mirror image differ, and edits depend on them: on where the eyes are, and
    more on the AUs that are read.
    """
    from eggan.evaluation.landmark_reader import load_landmark_reader
    from eggan.faces.find import seen_both_ways

    return seen_both_ways(pixels, face, load_landmark_reader().partners)


def shown_by(face: Face | None, pixels: np.ndarray, model: Model) -> np.ndarray:
    """Return the AUs (17,) that a face shows, as its landmarks tell, NaN where they do not.

    None is a face that `pixels` (H, W, 3) hold framed already: it is read by estimator a, which learnt from
    such pictures and also reads those in which no face is found.
    """
    if face is not None:
        from eggan.evaluation.landmark_reader import load_landmark_reader

        return np.asarray(load_landmark_reader().read(face.landmarks[None])[0], dtype=float)
    import torch

    from eggan.data.images import to_network_range
    from eggan.edit.photograph import framed
    from eggan.evaluation.instruments import load_au_estimator

    square = torch.from_numpy(framed(pixels, None, model.image_size).copy()).permute(2, 0, 1)[None]
    estimator = load_au_estimator("a", model.device)
    return estimator.predict(to_network_range(square).to(model.device))[0].cpu().numpy()


def unread_aus(shown: np.ndarray) -> str:
    """Return the AUs that could not be read, such as "6, 7, 17"."""
    return ", ".join(str(number) for number, value in zip(AU_NUMBERS, shown, strict=True) if np.isnan(value))


def rough_to_read(face: Face) -> bool:
    """Return whether what landmarks tell of a face is rough: it is small, or turned to the side."""
    return face.eye_distance < SMALL_EYES or abs(face.yaw) > TURNED


def doubts(face: Face) -> list[str]:
    """Return why an edit of a face may look wrong; each completes "this face ..."."""
    found = []
    if face.eye_distance < SMALL_EYES:
        found.append(
            f"is small, its eyes {face.eye_distance:.0f} pixels apart: expect a rough edit and rough readings"
        )
    if abs(face.yaw) > TURNED:
        found.append(
            f"is turned by {abs(face.yaw):.0f} degrees to the side: the methods learnt from faces that look "
            "ahead, expect a distorted edit"
        )
    return found


def _count(faces: list[Face]) -> str:
    return f"{len(faces)} faces" if len(faces) > 1 else "one face"
