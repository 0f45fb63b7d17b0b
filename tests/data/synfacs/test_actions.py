"""The AU table: bounds, asymmetry whose mean is the label, jaw and lids."""

import numpy as np
import pytest

from eggan.aus import AU_COUNT, AU_NUMBERS, au_index
from eggan.data.synfacs.actions import ACTION_TABLE, BILATERAL, action_weights, left_right
from eggan.data.synfacs.head import load_head
from eggan.data.synfacs.plan import person


def test_the_label_is_the_mean_of_left_and_right() -> None:
    someone = person(1, "test-people", 0)
    aus = np.linspace(0, 5, AU_COUNT)
    left, right = left_right(aus, np.array(someone.asymmetry))
    np.testing.assert_allclose((left + right) / 2, aus, atol=1e-12)
    assert not np.allclose(left, right)


def test_every_action_exists_in_the_head_model() -> None:
    labels = load_head().action_labels
    weights = action_weights(np.full(AU_COUNT, 5.0), np.zeros(AU_COUNT), 0.1)
    assert set(weights) <= set(labels)
    assert set(ACTION_TABLE) == set(AU_NUMBERS)


def test_neutral_moves_nothing_but_the_resting_lids() -> None:
    weights = action_weights(np.zeros(AU_COUNT), np.zeros(AU_COUNT), 0.1)
    assert {name for name, value in weights.items() if value} == {"eyeBlinkLeft", "eyeBlinkRight"}


def test_only_aus_with_two_sides_are_asymmetric() -> None:
    asymmetry = np.array(person(0, "test-people", 5).asymmetry)
    for position, number in enumerate(AU_NUMBERS):
        if number not in BILATERAL:
            assert asymmetry[position] == 0


@pytest.mark.parametrize("resting", [0.0, 0.2])
def test_a_full_blink_closes_every_eye(resting: float) -> None:
    aus = np.zeros(AU_COUNT)
    aus[au_index(45)] = 5
    assert action_weights(aus, np.zeros(AU_COUNT), resting)["eyeBlinkLeft"] == pytest.approx(1.0)


def test_lips_close_over_the_jaw_only_without_au25() -> None:
    aus = np.zeros(AU_COUNT)
    aus[au_index(26)] = 5
    assert action_weights(aus, np.zeros(AU_COUNT), 0.0)["mouthClose"] > 0
    aus[au_index(25)] = 5
    assert action_weights(aus, np.zeros(AU_COUNT), 0.0)["mouthClose"] == 0
