"""Faces in photographs: large and small, turned, several, none; and what is asked of odd pictures."""

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from eggan.faces.find import Face, find_faces, landmarks_of
from eggan.faces.models import run_detector, run_landmarks
from tests.faces.pictures import TOLERANCE, background, eyes_in, renders, with_faces

ONE = (120, 90, 260)


def assert_in_tile(face: Face, tile: tuple[int, int, int]) -> None:
    assert np.abs(face.eyes - eyes_in(tile)).max() < TOLERANCE * tile[2]


def turned(photograph: np.ndarray, degrees: float) -> np.ndarray:
    """Return the photograph turned clockwise, on a larger one."""
    picture = Image.fromarray(photograph).rotate(-degrees, Image.Resampling.BICUBIC, expand=True)
    return np.array(picture)


@pytest.mark.parametrize("side", [64, 128])
def test_a_rendered_face_is_found_in_its_own_frame(side):
    for render in renders():
        picture = np.array(Image.fromarray(render).resize((side, side), Image.Resampling.LANCZOS))
        (face,) = find_faces(picture)
        assert_in_tile(face, (0, 0, side))
        assert face.presence > 0.999
        assert abs(face.yaw) < 8
        assert abs(face.roll) < 4


def test_a_face_in_a_photograph_is_described_in_the_photographs_pixels():
    (face,) = find_faces(with_faces(480, 512, [ONE]))
    assert_in_tile(face, ONE)
    assert face.landmarks.shape == (468, 3)
    assert face.landmarks.dtype == np.float32
    assert face.eye_distance == pytest.approx(np.hypot(*(face.eyes[1] - face.eyes[0])))
    left, top, width, height = face.box
    inside = (face.landmarks[:, :2] >= [left - 0.01, top - 0.01]) & (
        face.landmarks[:, :2] <= [left + width + 0.01, top + height + 0.01]
    )
    assert inside.all()


@pytest.mark.parametrize("degrees", [-45, 45, 90, -90, 135, 180])
def test_a_turned_face_is_found_with_its_turn(degrees):
    upright = with_faces(480, 512, [ONE])
    (straight,) = find_faces(upright)
    (face,) = find_faces(turned(upright, degrees))
    difference = (face.roll - straight.roll - degrees + 180) % 360 - 180
    assert abs(difference) < 4
    assert face.eye_distance == pytest.approx(straight.eye_distance, rel=0.05)


@pytest.mark.parametrize("height", [24, 40])
def test_small_faces_of_a_group_are_all_found(height):
    """Faces of so many pixels, brow to chin, in a photograph of 1000: one in forty of its side."""
    side = round(height / 0.75)
    tiles = [(90 + 300 * column, 130 + 310 * row, side) for row in range(2) for column in range(3)]
    faces = find_faces(with_faces(700, 1000, tiles))
    assert len(faces) == len(tiles)
    for tile in tiles:
        assert_in_tile(min(faces, key=lambda face: np.abs(face.eyes - eyes_in(tile)).max()), tile)


def test_several_faces_come_largest_first():
    tiles = [(30, 40, 90), (150, 120, 220), (420, 60, 60)]
    faces = find_faces(with_faces(400, 520, tiles))
    assert len(faces) == 3
    for face, tile in zip(faces, sorted(tiles, key=lambda tile: -tile[2]), strict=True):
        assert_in_tile(face, tile)


def test_no_face_gives_none():
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    for picture in (background(300, 260), noise, np.zeros((128, 128, 3), np.uint8)):
        assert find_faces(picture) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (3, 5)])
def test_odd_pictures_hold_no_face_and_do_no_harm(shape):
    assert find_faces(np.full((*shape, 3), 130, np.uint8)) == []


def test_a_large_photograph_with_a_face_is_read():
    tile = (1800, 700, 900)
    (face,) = find_faces(with_faces(3000, 4000, [tile]))
    assert_in_tile(face, tile)


def test_small_faces_on_the_seams_of_a_large_photograph_are_found_once():
    """The finest look goes by overlapping tiles, of 1024 px in 2048."""
    tiles = [(x - 22, y - 22, 44) for x in (300, 900, 1020, 1800) for y in (500, 900)]
    faces = find_faces(with_faces(1000, 2048, tiles))
    assert len(faces) == len(tiles)
    for tile in tiles:
        assert_in_tile(min(faces, key=lambda face: np.abs(face.eyes - eyes_in(tile)).max()), tile)


def test_a_mirrored_face_is_the_mirrored_reading():
    photograph = with_faces(400, 512, [ONE])
    (face,), (mirrored,) = find_faces(photograph), find_faces(np.ascontiguousarray(photograph[:, ::-1]))
    expected = (np.array([512, 0]) - face.eyes * [1, -1])[::-1]
    assert np.abs(mirrored.eyes - expected).max() < 0.01 * ONE[2]
    assert mirrored.yaw == pytest.approx(-face.yaw, abs=4)


def test_a_grey_photograph_is_read_as_a_coloured_one():
    coloured = with_faces(400, 512, [ONE])
    grey = np.array(Image.fromarray(coloured).convert("L").convert("RGB"))
    (face,), (expected,) = find_faces(grey), find_faces(coloured)
    assert np.abs(face.eyes - expected.eyes).max() < 0.02 * ONE[2]


def test_the_same_photograph_gives_the_same_bytes():
    photograph = with_faces(300, 400, [(100, 30, 200)])
    (one,), (other,) = find_faces(photograph), find_faces(photograph.copy())
    assert one.landmarks.tobytes() == other.landmarks.tobytes()
    assert (one.score, one.presence) == (other.score, other.presence)


def test_known_eyes_spare_the_detection():
    photograph = with_faces(480, 512, [ONE])
    (found,) = find_faces(photograph)
    face = landmarks_of(photograph, eyes_in(ONE))
    assert face.score == 1
    assert np.abs(face.landmarks - found.landmarks)[:, :2].mean() < 0.01 * ONE[2]
    assert landmarks_of(background(200, 200), np.array([[80.0, 80.0], [120.0, 80.0]])).presence < 0.5


def test_landmarks_hardly_depend_on_where_the_search_began():
    """Eyes that are off by 6 % of their distance move landmarks by a tenth of that."""
    photograph, random = with_faces(480, 512, [ONE]), np.random.default_rng(0)
    (found,) = find_faces(photograph)
    starts = [found.eyes + random.normal(0, 0.06 * found.eye_distance, (2, 2)) for _ in range(8)]
    landmarks = np.stack([landmarks_of(photograph, eyes).landmarks for eyes in starts])
    assert landmarks.std(axis=0).mean() < 0.006 * found.eye_distance


@pytest.mark.parametrize(
    "wrong", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_photograph_is_refused(wrong):
    with pytest.raises(ValueError, match="uint8"):
        find_faces(wrong)


def test_loading_the_models_takes_less_than_a_third_of_a_second():
    """From nothing to the first face, of which importing numpy and Pillow is no part."""
    code = (
        "import time, sys, numpy as np\nfrom PIL import Image\n"
        "started = time.process_time()\n"
        "from eggan.faces.find import find_faces\n"
        "find_faces(np.zeros((128, 128, 3), np.uint8))\n"
        "print(time.process_time() - started, *({'torch', 'scipy', 'numba'} & set(sys.modules)))"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(2)]
    seconds, *imported = min(run.stdout for run in runs).split()
    assert float(seconds) < 0.3
    assert imported == []


def test_a_portrait_costs_little_beside_its_networks(monkeypatch):
    """Five runs of the networks, about 25 ms of CPU, and half as much for all else."""
    inside = []

    def timed(run: Callable) -> Callable:
        def call(picture: np.ndarray) -> tuple:
            started = time.process_time()
            result = run(picture)
            inside.append((len(picture), time.process_time() - started))
            return result

        return call

    monkeypatch.setattr("eggan.faces.detector.run_detector", timed(run_detector))
    monkeypatch.setattr("eggan.faces.landmarks.run_landmarks", timed(run_landmarks))
    photograph = with_faces(512, 512, [ONE])
    find_faces(photograph)
    shares = []
    for _ in range(5):
        inside.clear()
        started = time.process_time()
        find_faces(photograph)
        seconds = time.process_time() - started
        assert [side for side, _ in inside] == [128, 192, 192, 192, 256]
        shares.append(seconds / sum(spent for _, spent in inside))
    assert min(shares) < 2
