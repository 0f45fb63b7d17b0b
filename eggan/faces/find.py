"""All faces in a photograph, small and turned ones too, largest first."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from eggan.faces.detector import detect
from eggan.faces.face import Face
from eggan.faces.landmarks import Region, read_landmarks, region_of_box, region_of_eyes, region_of_landmarks
from eggan.faces.turns import TURNS, upright

__all__ = ["Face", "find_faces", "landmarks_of", "seen_both_ways"]

# All of 160 renders and 99 of 100 photographs of 25 px are above these; things without a face reached a
# presence of 0.98 with a score of 0.82, taken for faces on their side.
LEAST_PRESENCE = 0.9
TURNED, LEAST_TURNED_SCORE = 60.0, 0.85  # degrees
# Eyes that are off by 6 % of their distance move landmarks by 1.1, 0.5, 0.2 % of it after 1, 2, 3 readings.
READINGS = 3
# A face and its mirror image, read apart, differ by 1.4 % of the eyes' distance and by 1.1 in the AU that
# differs most, the means of eight pictures; after three readings of both by 0.14 % and 0.11, after four by
# 0.09 % and 0.07.
BOTH_WAYS = 4
WORTH_ANOTHER_LOOK = 0.5
FIRST_SIDE, LARGEST_SIDE = 128, 2048  # px of the longer side that the detector looks at
LARGEST_TURNED_SIDE = 512
MOST_ENLARGED = 2.1  # more than this shows no more than is there
LARGE = 48  # px in which a face is seen so surely that one of half its size would be seen too


def find_faces(photograph: np.ndarray) -> list[Face]:
    """Return the faces of uint8 (H, W, 3) RGB, largest first; none gives an empty list.

    The photograph is searched coarse to fine, at twice the size each time, until a finer look finds no face
    that was not known, and would have found one of half the smallest one's size. Where no upright face is
    found, it is searched on its sides and upside down too.
    """
    _check(photograph)
    for turns in TURNS:
        if faces := _search(photograph, turns):
            return sorted(faces, key=lambda face: (-face.size, *face.box))
    return []


def landmarks_of(photograph: np.ndarray, eyes: np.ndarray) -> Face:
    """Return the face whose eyes (2, 2) are about known, without detection; its `presence` says if it is one.

    For the next frame of a video and for pictures that are framed already. `eyes` as in `Face.eyes`.
    """
    _check(photograph)
    return _read(photograph, region_of_eyes(np.asarray(eyes, float)), 1.0)


def seen_both_ways(photograph: np.ndarray, face: Face, partners: np.ndarray) -> Face:
    """Return a face of the photograph with landmarks that its mirror image has, too: the means of both.

    `partners` (468,): the landmark on the other side of a face, of each.
    """
    mirrored, width = photograph[:, ::-1], photograph.shape[1]
    landmarks = face.landmarks
    for _ in range(BOTH_WAYS):
        image = _mirrored(landmarks, width, partners)
        seen, _ = read_landmarks(photograph, region_of_landmarks(landmarks))
        seen_in_image, _ = read_landmarks(mirrored, region_of_landmarks(image))
        landmarks = (seen + _mirrored(seen_in_image, width, partners)) / 2
    return replace(face, landmarks=landmarks)


def _mirrored(landmarks: np.ndarray, width: int, partners: np.ndarray) -> np.ndarray:
    x, y, z = landmarks[partners].T
    return np.column_stack([width - x, y, z])


def _check(photograph: np.ndarray) -> None:
    if (
        photograph.ndim != 3
        or photograph.shape[2] != 3
        or photograph.dtype != np.uint8
        or not photograph.size
    ):
        raise ValueError(f"a photograph is uint8 (H, W, 3), not {photograph.dtype} {photograph.shape}")


def _search(photograph: np.ndarray, turns: int) -> list[Face]:
    """Return the faces that are found once the photograph is turned counterclockwise by right angles."""
    faces = list[Face]()
    for side in _sides(photograph, LARGEST_TURNED_SIDE if turns else LARGEST_SIDE):
        known = len(faces)
        for found in detect(photograph, side, turns):
            if any(_holds(face, found.centre) for face in faces):
                continue
            seen = upright(photograph, found)
            face = _read(photograph, region_of_box(seen.centre, seen.side, seen.eyes), seen.score)
            if _is_sure(face) and not any(_one(face, other) for other in faces):
                faces.append(face)
        if faces and len(faces) == known and _are_large(faces, side / max(photograph.shape)):
            break
    return faces


def _are_large(faces: list[Face], scale: float) -> bool:
    return min(face.size for face in faces) * scale >= LARGE


def _sides(photograph: np.ndarray, largest: int) -> Iterator[int]:
    """Yield the sizes at which to look: a face has 26 to 128 px in one of them."""
    side, longest = FIRST_SIDE, max(photograph.shape[:2])
    yield side
    while (side := side * 2) <= min(largest, MOST_ENLARGED * longest):
        yield side


def _read(photograph: np.ndarray, region: Region, score: float) -> Face:
    """Return the face in a region; what is read first only frames it for the next, steadier readings."""
    landmarks, presence = read_landmarks(photograph, region)
    for _ in range(READINGS - 1):
        if presence < WORTH_ANOTHER_LOOK:
            break
        landmarks, presence = read_landmarks(photograph, region_of_landmarks(landmarks))
    return Face(landmarks, score, presence)


def _is_sure(face: Face) -> bool:
    sure_of_turn = abs(face.roll) < TURNED or face.score >= LEAST_TURNED_SCORE
    return face.presence >= LEAST_PRESENCE and sure_of_turn


def _one(face: Face, other: Face) -> bool:
    """Return whether two readings are of one face: the middle of one lies in the other."""
    return _holds(face, _middle(other)) or _holds(other, _middle(face))


def _holds(face: Face, point: np.ndarray) -> bool:
    x, y, width, height = face.box
    return bool(x <= point[0] <= x + width and y <= point[1] <= y + height)


def _middle(face: Face) -> np.ndarray:
    x, y, width, height = face.box
    return np.array([x + width / 2, y + height / 2])
