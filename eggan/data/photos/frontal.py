"""Where a video of MMI shows the face from the front: one half of a dual view, or a picture on its side.

Programs that read MMI find dual views with the frontal half on either side, and frontal videos that were
filmed with the camera turned. A detector of upright frontal faces decides once per video, on its first frame;
the cut is recorded, and one that cannot be decided is a problem, not a guess.
"""

from collections.abc import Callable, Mapping

import numpy as np

from eggan.data.photos.records import FaceProblem

WHOLE = "whole"
HALVES = ("left half", "right half")
TURNS = ("turned clockwise", "turned counterclockwise")
CUTS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    WHOLE: lambda image: image,
    HALVES[0]: lambda image: image[:, : image.shape[1] // 2],
    HALVES[1]: lambda image: image[:, image.shape[1] // 2 :],
    TURNS[0]: lambda image: np.rot90(image, -1),
    TURNS[1]: lambda image: np.rot90(image),
}


def cut(image: np.ndarray, name: str) -> np.ndarray:
    """Return the named part of a picture, uint8 (H, W, 3), or the picture turned."""
    return np.ascontiguousarray(CUTS[name](image))


def find_cut(image: np.ndarray, dual: bool, count_faces: Callable[[np.ndarray], int]) -> str:
    """Return the cut in which `count_faces` finds exactly one frontal face.

    Of a dual view it is the only such half, else `FaceProblem`. Any other picture stays whole unless a face
    shows only when it is turned by a right angle.
    """
    if not dual:
        return next((name for name in (WHOLE, *TURNS) if count_faces(cut(image, name)) == 1), WHOLE)
    found = [name for name in HALVES if count_faces(cut(image, name)) == 1]
    if len(found) != 1:
        raise FaceProblem(f"dual view: a frontal face in {len(found)} of 2 halves")
    return found[0]
