"""A real portrait: the places of its eyes, turned, mirrored, small, grey and several times in one picture."""

import numpy as np
import pytest
from PIL import Image

from eggan.edit import EXAMPLE_PHOTOGRAPH
from eggan.faces.find import find_faces
from eggan.faces.framing import EYE_DISTANCE, EYE_LINE, aligned
from tests.faces.pictures import background

# Centres between the corners of each eye, as one sees them in the picture enlarged; both to 1.5 px.
EYES = np.array([[203.6, 102.2], [247.0, 104.5]])
DISTANCE = float(np.hypot(*(EYES[1] - EYES[0])))


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    with Image.open(EXAMPLE_PHOTOGRAPH) as picture:
        return np.array(picture.convert("RGB"))


def test_eyes_are_where_one_sees_them(portrait):
    (face,) = find_faces(portrait)
    assert np.abs(face.eyes - EYES).max() < 1.5
    assert face.presence > 0.999
    assert abs(face.yaw) < 5
    left, top, width, height = face.box
    assert (left, left + width, top, top + height) == pytest.approx((179, 272, 70, 177), abs=4)


def test_the_aligned_portrait_is_framed_as_rendered_faces_are(portrait):
    square = aligned(portrait, find_faces(portrait)[0], 128)
    (face,) = find_faces(square)
    half = EYE_DISTANCE / 2
    expected = 128 * np.array([[0.5 - half, EYE_LINE], [0.5 + half, EYE_LINE]])
    assert face.eyes == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("degrees", [-120, -90, -60, -30, 30, 60, 90, 150, 180])
def test_the_turned_portrait_is_aligned_to_the_same_square(portrait, degrees):
    turned = np.array(Image.fromarray(portrait).rotate(-degrees, Image.Resampling.BICUBIC, expand=True))
    (face,), (upright,) = find_faces(turned), find_faces(portrait)
    assert abs((face.roll - upright.roll - degrees + 180) % 360 - 180) < 3
    difference = aligned(turned, face, 64).astype(float) - aligned(portrait, upright, 64)
    assert np.abs(difference[8:56, 8:56]).mean() < 9


def test_the_mirrored_portrait_has_mirrored_eyes(portrait):
    (face,) = find_faces(np.ascontiguousarray(portrait[:, ::-1]))
    expected = (np.array([portrait.shape[1], 0]) - EYES * [1, -1])[::-1]
    assert np.abs(face.eyes - expected).max() < 1.5


def test_the_grey_portrait_has_the_same_eyes(portrait):
    grey = np.array(Image.fromarray(portrait).convert("L").convert("RGB"))
    assert np.abs(find_faces(grey)[0].eyes - EYES).max() < 1.5


def test_portraits_with_small_faces_are_all_found(portrait):
    """Faces of 24 pixels, brow to chin, in a photograph of 1000: some are seen at half the size already."""
    scale = 24 / 90
    side = round(512 * scale)
    small = np.array(Image.fromarray(portrait).resize((side, side), Image.Resampling.LANCZOS))
    photograph, corners = background(700, 1000), [(90, 130), (600, 70), (330, 460)]
    for x, y in corners:
        photograph[y : y + side, x : x + side] = small
    faces = find_faces(photograph)
    assert len(faces) == len(corners)
    for corner in corners:
        expected = EYES * scale + corner
        assert min(np.abs(face.eyes - expected).max() for face in faces) < 0.06 * DISTANCE * scale + 0.3
