"""What a picture shows: each AU where it belongs, growing with intensity; same input, same bytes."""

from itertools import pairwise

import numpy as np
import pytest

from eggan.aus import AU_COUNT, AU_NUMBERS, au_index
from eggan.data.synfacs import Identity, Nuisance, draw_nuisance, person, render, render_group
from eggan.data.synfacs.scene import Scene
from eggan.errors import UserError

# the half of the face in which an AU shows, as rows of a 64 px picture
UPPER, LOWER, ALL = slice(0, 42), slice(30, 64), slice(0, 64)
REGIONS = {1: UPPER, 2: UPPER, 4: UPPER, 5: UPPER, 6: ALL, 7: UPPER, 9: ALL, 45: UPPER}


def one_au(number: int, intensity: float) -> np.ndarray:
    aus = np.zeros(AU_COUNT)
    aus[au_index(number)] = intensity
    return aus


def difference(someone: Identity, still: Nuisance, number: int, intensity: float) -> np.ndarray:
    neutral = render(someone, np.zeros(AU_COUNT), still, "frontal", 64).astype(float)
    return np.abs(render(someone, one_au(number, intensity), still, "frontal", 64) - neutral)


@pytest.mark.parametrize("number", AU_NUMBERS)
def test_each_au_shows_at_5_and_grows_from_0(someone: Identity, still: Nuisance, number: int) -> None:
    sizes = [difference(someone, still, number, level).mean() for level in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)]
    assert sizes[0] == 0
    assert all(later > earlier for earlier, later in pairwise(sizes))
    assert sizes[-1] > 0.4


@pytest.mark.parametrize("number", AU_NUMBERS)
def test_each_au_changes_its_own_half_of_the_face(someone: Identity, still: Nuisance, number: int) -> None:
    change = difference(someone, still, number, 5.0)
    assert change[REGIONS.get(number, LOWER)].sum() > 0.9 * change.sum()


def test_same_input_gives_the_same_bytes_and_noise_differs_between_keys(someone: Identity) -> None:
    aus = one_au(12, 3.0)
    first = render(someone, aus, draw_nuisance("a", 1), "left", 64)
    assert first.tobytes() == render(someone, aus, draw_nuisance("a", 1), "left", 64).tobytes()
    assert first.tobytes() != render(someone, aus, draw_nuisance("a", 2), "left", 64).tobytes()


def test_gaze_changes_the_eyes_only(someone: Identity, still: Nuisance) -> None:
    aus = np.zeros(AU_COUNT)
    left, right = (render(someone, aus, still, gaze, 64).astype(float) for gaze in ("left", "right"))
    rows = np.flatnonzero(np.abs(left - right).max(axis=(1, 2)) > 8)
    assert len(rows) > 0
    assert rows.min() > 18
    assert rows.max() < 36


def test_both_sizes_show_the_same_scene(someone: Identity) -> None:
    nuisance = draw_nuisance("sizes")
    small = render(someone, one_au(26, 4.0), nuisance, "frontal", 64).astype(float)
    large = render(someone, one_au(26, 4.0), nuisance, "frontal", 128).astype(float)
    halved = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - small).mean() < 3


def test_people_look_different() -> None:
    neutral, nuisance = np.zeros(AU_COUNT), Nuisance()
    people = [person(0, "test-people", index) for index in range(4)]
    pictures = [render(p, neutral, nuisance, "frontal", 64).astype(float) for p in people]
    for i in range(len(people)):
        for j in range(i):
            assert np.abs(pictures[i] - pictures[j]).mean() > 8


@pytest.mark.parametrize("index", [0, 1, 5])
def test_a_picture_of_a_group_equals_the_same_picture_alone(index: int) -> None:
    rng = np.random.default_rng(index)
    aus = rng.uniform(0, 5, (5, AU_COUNT)) * (rng.random((5, AU_COUNT)) < 0.4)
    aus[3] = 0.0
    someone, nuisance = person(3, "dense", index), draw_nuisance("group", index)
    group = render_group(someone, aus, nuisance, "left", 64)
    for picture, vector in zip(group, aus, strict=True):
        assert picture.tobytes() == render(someone, vector, nuisance, "left", 64).tobytes()
    assert render_group(someone, aus[::-1], nuisance, "left", 64)[::-1].tobytes() == group.tobytes()
    assert len({picture.tobytes() for picture in group}) == 5


def test_a_group_of_none_is_empty_and_a_scene_shows_no_more_than_it_was_made_for(
    someone: Identity, still: Nuisance
) -> None:
    assert render_group(someone, np.zeros((0, AU_COUNT)), still, "frontal", 64).shape == (0, 64, 64, 3)
    scene = Scene(someone, still, "frontal", 64)
    scene.picture(np.zeros(AU_COUNT))
    with pytest.raises(ValueError, match="fewer"):
        scene.picture(np.zeros(AU_COUNT))


@pytest.mark.parametrize(
    ("aus", "gaze", "size", "word"),
    [
        (one_au(12, 5.1), "frontal", 64, "AU12"),
        (one_au(12, -0.1), "frontal", 64, "AU12"),
        (one_au(12, float("nan")), "frontal", 64, "NaN"),
        (np.zeros(3), "frontal", 64, "17"),
        (np.zeros(17), "up", 64, "gaze"),
        (np.zeros(17), "frontal", 65, "65"),
    ],
)
def test_bad_input_is_a_one_line_user_error(
    someone: Identity, still: Nuisance, aus: np.ndarray, gaze: str, size: int, word: str
) -> None:
    with pytest.raises(UserError, match=word) as caught:
        render(someone, aus, still, gaze, size)
    assert "\n" not in str(caught.value)
