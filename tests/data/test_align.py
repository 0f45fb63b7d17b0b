"""Alignment: what the detector finds on renders, and that eyes land where they should."""

import importlib.util

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from eggan.data import align
from eggan.data.align import EYE_DISTANCE, EYE_LINE, align_by_eyes, centre_crop, find_eyes, make_aligner
from eggan.data.photos.records import FaceProblem
from eggan.errors import UserError


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
    aligned = align_by_eyes(dots(eyes, (500, 520)), eyes, 64)
    assert aligned.shape == (64, 64, 3)
    middle = np.array([32, EYE_LINE * 64])
    half = np.array([EYE_DISTANCE * 32, 0])
    assert brightest(aligned[..., 0]) == pytest.approx(middle - half, abs=0.6)
    assert brightest(aligned[..., 1]) == pytest.approx(middle + half, abs=0.6)


def test_reduction_is_a_mean_and_does_not_alias() -> None:
    fine = np.zeros((400, 400, 3), np.uint8)
    fine[:, ::2] = 255  # stripes of one pixel: grey, once they are smaller than a pixel
    eyes = np.array([[150.0, 200.0], [250.0, 200.0]])
    inner = align_by_eyes(fine, eyes, 32)[8:24, 8:24]
    assert np.abs(inner.astype(float) - 127.5).max() < 20


def test_outside_of_the_photograph_its_edge_is_repeated() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    assert (align_by_eyes(white, np.array([[5.0, 5.0], [60.0, 5.0]]), 64) == 255).all()


def test_eyes_in_one_place_are_a_problem() -> None:
    with pytest.raises(FaceProblem, match="one place"):
        align_by_eyes(np.zeros((10, 10, 3), np.uint8), np.full((2, 2), 5.0), 64)


def test_every_render_has_one_face_and_keeps_its_place(twin) -> None:
    prepare = make_aligner("dlib", 64)
    for row in range(0, len(twin.images), 5):
        image = np.array(twin.images[row])
        eyes = find_eyes(image) / 64
        middle, across = eyes.mean(axis=0), eyes[1] - eyes[0]
        assert middle == pytest.approx([0.5, EYE_LINE], abs=0.06)
        assert np.hypot(*across) == pytest.approx(EYE_DISTANCE, abs=0.05)
        change = np.abs(prepare(image).astype(float) - image).mean()
        assert change < 20  # the framing is SynFACS's own, so alignment moves it by little


def test_a_face_anywhere_in_a_photograph_comes_out_as_the_render(twin) -> None:
    image = np.array(twin.images[1])
    small = placed(image, 200, (600, 500), (40, 250))
    large = placed(image, 380, (400, 700), (10, 200))
    prepare = make_aligner("dlib", 64)
    assert np.abs(prepare(small).astype(float) - prepare(large)).mean() < 4
    assert np.abs(prepare(small).astype(float) - prepare(image)).mean() < 12


def test_no_face_and_several_are_kept_apart(twin) -> None:
    prepare = make_aligner("dlib", 64)
    with pytest.raises(FaceProblem, match="no face"):
        prepare(np.full((200, 200, 3), 128, np.uint8))
    two = np.concatenate([placed(np.array(twin.images[k]), 200, (220, 220), (10, 10)) for k in (0, 30)], 1)
    with pytest.raises(FaceProblem, match=r"several faces \(2\)"):
        prepare(two)


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


def test_missing_models_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    align._models.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"eggan\[align\]"):
        make_aligner("dlib", 64)
    align._models.cache_clear()
