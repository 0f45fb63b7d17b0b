"""The aligned square: where points land, and that rendered faces keep their place."""

import numpy as np
import pytest

from eggan.faces.find import find_faces
from eggan.faces.framing import (
    EYE_DISTANCE,
    EYE_LINE,
    aligned,
    aligned_by_eyes,
    eye_framing,
    framing,
    inverse,
)
from eggan.faces.resampling import resampled
from tests.faces.pictures import renders, with_faces


def applied(places: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ places[:, :2].T + places[:, 2]


def test_framing_puts_the_eyes_at_their_places():
    (face,) = find_faces(with_faces(400, 500, [(150, 60, 240)]))
    expected = 128 * np.array([[(1 - EYE_DISTANCE) / 2, EYE_LINE], [(1 + EYE_DISTANCE) / 2, EYE_LINE]])
    places = framing(face, 128)
    assert places.dtype == np.float64
    assert applied(places, face.eyes) == pytest.approx(expected)
    assert applied(inverse(places), expected) == pytest.approx(face.eyes)


def test_an_aligned_face_is_found_with_its_eyes_in_place():
    photograph = with_faces(400, 500, [(150, 60, 240)])
    square = aligned(photograph, find_faces(photograph)[0], 128)
    assert square.shape == (128, 128, 3)
    (face,) = find_faces(square)
    expected = 128 * np.array([[(1 - EYE_DISTANCE) / 2, EYE_LINE], [(1 + EYE_DISTANCE) / 2, EYE_LINE]])
    assert face.eyes == pytest.approx(expected, abs=1)


def test_the_framing_of_a_render_is_about_the_identity():
    for render in renders():
        places = framing(find_faces(render)[0], 64)
        corners = np.array([[0, 0], [64, 0], [0, 64], [64, 64]])
        assert np.abs(applied(places, corners) - corners).max() < 5


def test_whole_pixels_stay_as_they_are():
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    shifted = resampled(picture, np.array([[1.0, 0, 7], [0, 1, 5]]), 30)
    assert shifted == pytest.approx(picture[5:35, 7:37], abs=1e-3)


def test_reduction_is_a_mean():
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    halved = resampled(picture, np.array([[3.0, 0, 0], [0, 3, 0]]), 20)
    assert halved == pytest.approx(picture.reshape(20, 3, 20, 3, 3).mean(axis=(1, 3)), abs=0.6)  # rounded


def test_outside_of_the_photograph_its_edge_is_repeated():
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    outside = resampled(picture, np.array([[1.0, 0, -20], [0, 1, -30]]), 10)
    assert outside == pytest.approx(np.broadcast_to(picture[0, 0], (10, 10, 3)), abs=1e-3)


def test_eyes_in_one_place_cannot_be_framed():
    with pytest.raises(ValueError, match="one place"):
        eye_framing(np.full((2, 2), 5.0), 64)
    with pytest.raises(ValueError, match="one place"):
        aligned_by_eyes(np.zeros((9, 9, 3), np.uint8), np.full((2, 2), 5.0), 64)
