"""From the options of an edit to the AUs of its target."""

from pathlib import Path

import numpy as np
import pytest

from eggan.aus import AU_COUNT, EXPRESSIONS, au_index, expression_aus
from eggan.edit.edit_targets import Targets, au_vector, parse_aus

SHOWN = np.linspace(0.5, 2.5, AU_COUNT)
HAPPY = {6: 3.6, 12: 4.2, 25: 3.6}


def vector(aus: dict[int, float], base: float | np.ndarray = 0.0) -> np.ndarray:
    return au_vector(
        np.broadcast_to(base, AU_COUNT), {au_index(number): value for number, value in aus.items()}
    )


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"aus": ["12=4"]}, vector({12: 4})),
        ({"aus": ["12=4"], "keep": True}, vector({12: 4}, SHOWN)),
        ({"expression": "happy"}, vector(HAPPY)),
        ({"expression": "happy", "strength": 0.5}, vector({6: 1.8, 12: 2.1, 25: 1.8})),
        ({"expression": "happy", "keep": True}, vector(HAPPY, SHOWN)),
        ({"expression": "happy", "aus": ["25=0"]}, vector(HAPPY | {25: 0})),
        ({"expression": "neutral"}, vector({})),
        ({"expression": "neutral", "keep": True}, vector({})),
        ({"expression": "happy", "strength": 0.0}, vector({})),
    ],
)
def test_a_target_is_what_its_options_say(options, wanted):
    targets = Targets(**options)
    targets.check()
    assert targets.target_aus(SHOWN, None) == pytest.approx(wanted)
    assert targets.reads_source == ("keep" in options)


@pytest.mark.parametrize(("strength", "share"), [(None, 1.0), (1.0, 1.0), (0.25, 0.25), (0.0, 0.0)])
def test_another_face_is_copied_as_far_as_its_strength_goes(strength, share):
    like = SHOWN[::-1].copy()
    shown = SHOWN.copy()
    like[3] = shown[4] = np.nan
    target = Targets(like=Path("other.jpg"), strength=strength, aus=["1=5"]).target_aus(shown, like)
    wanted = SHOWN + share * (SHOWN[::-1] - SHOWN)
    wanted[3], wanted[0] = SHOWN[3], 5  # what does not show in the other face stays; what is named is that
    wanted[4] = share * like[4]  # what does not show in this face is taken for absent
    assert target == pytest.approx(wanted)


def test_what_shows_in_neither_face_stays_unknown():
    like, shown = SHOWN.copy(), SHOWN.copy()
    like[3] = shown[3] = np.nan
    assert np.isnan(Targets(like=Path("other.jpg")).target_aus(shown, like)).tolist() == [
        k == 3 for k in range(17)
    ]


def test_an_expression_has_the_aus_that_most_people_show():
    assert not expression_aus("neutral").any()
    for name in EXPRESSIONS[1:]:
        assert expression_aus(name).max() > 3
    assert expression_aus("contemptuous").tolist() == vector({14: 3.8}).astype(float).round(6).tolist()


def test_au_options_replace_only_what_they_name():
    base = np.full(AU_COUNT, 2.0, np.float32)
    replaced = au_vector(base, parse_aus(["12=4"]))
    assert replaced[au_index(12)] == 4
    assert (np.delete(replaced, au_index(12)) == 2).all()
    assert (base == 2).all()


def test_a_source_as_named_is_absent_elsewhere():
    named = Targets(source_aus=["12=3"]).named_source
    assert named[au_index(12)] == 3
    assert named.sum() == 3
    assert not Targets(neutral=True).named_source.any()
