"""Alignment: what is found on renders, and that eyes land where they should."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from eggan.data.align import centre_crop, count_faces, make_aligner, the_face
from eggan.data.photos.records import FaceProblem
from eggan.data.synfacs.nuisance import Nuisance
from eggan.data.synfacs.picture import render
from eggan.data.synfacs.plan import person
from eggan.errors import UserError
from eggan.faces.framing import EYE_DISTANCE, EYE_LINE, aligned_by_eyes


def placed(image: np.ndarray, side: int, canvas: tuple[int, int], at: tuple[int, int]) -> np.ndarray:
    """Return the image, scaled to `side`, on a grey canvas (H, W) with its corner at (y, x)."""
    scaled = np.array(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
    picture = np.full((*canvas, 3), 200, np.uint8)
    picture[at[0] : at[0] + side, at[1] : at[1] + side] = scaled
    return picture


def dots(centres: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a picture with a soft red dot at the first centre (x, y), a green one at the second."""
    picture = np.zeros((*shape, 3))
    for channel, (x, y) in enumerate(centres):
        picture[int(y), int(x), channel] = 1
        picture[..., channel] = gaussian_filter(picture[..., channel], 3)
        picture[..., channel] *= 255 / picture[..., channel].max()
    return picture.astype(np.uint8)


def brightest(channel: np.ndarray) -> np.ndarray:
    weights = channel.astype(float) ** 4
    rows, columns = np.indices(channel.shape)
    return np.array([(columns + 0.5) * weights, (rows + 0.5) * weights]).sum((1, 2)) / weights.sum()


@pytest.mark.parametrize("angle", [0, 25, -140])
@pytest.mark.parametrize("distance", [40, 200])
def test_eyes_land_at_their_places_whatever_turn_and_scale(angle: float, distance: float) -> None:
    turn = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * distance / 2
    eyes = np.array([250.5, 240.5]) + np.array([-turn, turn])
    aligned = aligned_by_eyes(dots(eyes, (500, 520)), eyes, 64)
    assert aligned.shape == (64, 64, 3)
    middle = np.array([32, EYE_LINE * 64])
    half = np.array([EYE_DISTANCE * 32, 0])
    assert brightest(aligned[..., 0]) == pytest.approx(middle - half, abs=0.6)
    assert brightest(aligned[..., 1]) == pytest.approx(middle + half, abs=0.6)


def test_reduction_is_a_mean_and_does_not_alias() -> None:
    fine = np.zeros((400, 400, 3), np.uint8)
    fine[:, ::2] = 255  # stripes of one pixel: grey, once they are smaller than a pixel
    eyes = np.array([[150.0, 200.0], [250.0, 200.0]])
    inner = aligned_by_eyes(fine, eyes, 32)[8:24, 8:24]
    assert np.abs(inner.astype(float) - 127.5).max() < 20


def test_outside_of_the_photograph_its_edge_is_repeated() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    assert (aligned_by_eyes(white, np.array([[5.0, 5.0], [60.0, 5.0]]), 64) == 255).all()


def test_every_render_has_one_face_and_keeps_its_place(twin) -> None:
    prepare = make_aligner("face", 64)
    for row in range(0, len(twin.images), 5):
        image = np.array(twin.images[row])
        eyes = the_face(image).eyes / 64
        middle, across = eyes.mean(axis=0), eyes[1] - eyes[0]
        assert middle == pytest.approx([0.5, EYE_LINE], abs=0.06)
        assert np.hypot(*across) == pytest.approx(EYE_DISTANCE, abs=0.05)
        change = np.abs(prepare(image).astype(float) - image).mean()
        assert change < 20  # the framing is SynFACS's own, so alignment moves it by little


def test_a_face_anywhere_in_a_photograph_comes_out_as_the_render(twin) -> None:
    image = np.array(twin.images[1])
    small = placed(image, 200, (600, 500), (40, 250))
    large = placed(image, 380, (400, 700), (10, 200))
    prepare = make_aligner("face", 64)
    assert np.abs(prepare(small).astype(float) - prepare(large)).mean() < 4
    assert np.abs(prepare(small).astype(float) - prepare(image)).mean() < 12


def test_no_face_and_several_are_kept_apart(twin) -> None:
    prepare = make_aligner("face", 64)
    with pytest.raises(FaceProblem, match="no face"):
        prepare(np.full((200, 200, 3), 128, np.uint8))
    two = np.concatenate([placed(np.array(twin.images[k]), 200, (220, 220), (10, 10)) for k in (0, 30)], 1)
    with pytest.raises(FaceProblem, match=r"several faces \(2\)"):
        prepare(two)


def neutral(someone: int, **nuisance: float) -> np.ndarray:
    """Return a neutral face at 128 px; `nuisance` turns the head."""
    return render(
        person(0, "photos", someone), np.zeros(17, np.float32), Nuisance(**nuisance), "frontal", 128
    )


def test_rendered_faces_are_framed_as_they_are_on_average() -> None:
    eyes = np.stack([the_face(neutral(someone)).eyes for someone in range(8)]) / 128
    middle, across = eyes.mean(axis=(0, 1)), (eyes[:, 1] - eyes[:, 0]).mean(axis=0)
    assert middle == pytest.approx([0.5, EYE_LINE], abs=0.012)
    assert across == pytest.approx([EYE_DISTANCE, 0], abs=0.012)


@pytest.mark.parametrize("yaw", [-45, -20, 20, 45])
def test_a_turned_head_reads_as_turned(yaw: float) -> None:
    face = the_face(neutral(4, yaw=yaw, scale=0.8))
    assert face.yaw == pytest.approx(yaw, abs=8)


@pytest.mark.parametrize("yaw", [-60, 60, 75, 90])
def test_a_profile_is_a_problem(yaw: float) -> None:
    with pytest.raises(FaceProblem, match=r"a profile, turned by \d\d degrees|no face"):
        the_face(neutral(4, yaw=yaw, scale=0.8))


def test_a_bystander_does_not_make_a_photograph_one_of_several_faces(twin) -> None:
    faces = [np.array(twin.images[row]) for row in (1, 30)]
    photograph = placed(faces[0], 300, (400, 520), (50, 20))
    photograph[60:130, 400:470] = placed(faces[1], 70, (70, 70), (0, 0))
    assert the_face(photograph).box[0] < 300
    photograph[60:180, 390:510] = placed(faces[1], 120, (120, 120), (0, 0))
    with pytest.raises(FaceProblem, match=r"several faces \(2\)"):
        the_face(photograph)


def test_only_upright_faces_are_counted(twin) -> None:
    upright = placed(np.array(twin.images[1]), 200, (300, 260), (30, 20))
    assert [count_faces(np.ascontiguousarray(np.rot90(upright, turns))) for turns in range(4)] == [1, 0, 0, 0]
    assert count_faces(placed(neutral(4, yaw=60, scale=0.8), 200, (300, 260), (30, 20))) == 0


def test_a_photograph_on_its_side_is_turned_upright(twin) -> None:
    upright = placed(np.array(twin.images[1]), 200, (300, 260), (30, 20))
    prepare = make_aligner("face", 64)
    for turns in (1, 2, 3):
        turned = prepare(np.ascontiguousarray(np.rot90(upright, turns)))
        assert np.abs(turned.astype(float) - prepare(upright)).mean() < 8


def test_centre_crop_keeps_the_pixels_of_a_square_that_fits() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    assert (centre_crop(image, 64) == image[16:80]).all()
    assert centre_crop(image, 32).shape == (32, 32, 3)


def test_none_takes_the_right_size_only() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert (make_aligner("none", 64)(image) == image).all()
    with pytest.raises(FaceProblem, match="96 x 64 pixels, not 64 x 64"):
        make_aligner("none", 64)(np.zeros((64, 96, 3), np.uint8))


def test_an_unknown_kind_is_a_user_error() -> None:
    with pytest.raises(UserError, match="unknown alignment"):
        make_aligner("mtcnn", 64)
