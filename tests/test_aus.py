"""AU names, order and parsing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eggan.aus import (
    AU_COLUMNS,
    AU_COUNT,
    AU_NAMES,
    AU_NUMBERS,
    EXPRESSIONS,
    au_index,
    check_au_vector,
    parse_au,
)
from eggan.errors import UserError


def test_the_paper_has_17_aus_in_ascending_order_and_8_expressions():
    assert AU_COUNT == 17
    assert list(AU_NUMBERS) == sorted(AU_NUMBERS)
    assert set(AU_NAMES) == set(AU_NUMBERS)
    assert AU_COLUMNS[0] == "au01"
    assert AU_COLUMNS[-1] == "au45"
    assert len(EXPRESSIONS) == 8
    assert EXPRESSIONS[0] == "neutral"


@pytest.mark.parametrize("number", AU_NUMBERS)
def test_index_and_number_agree(number):
    assert AU_NUMBERS[au_index(number)] == number


@given(st.sampled_from(AU_NUMBERS), st.floats(0, 5))
def test_parse_reads_what_was_written(number, value):
    position, parsed = parse_au(f"{number}={value}")
    assert AU_NUMBERS[position] == number
    assert parsed == value


def test_parse_accepts_the_usual_spelling():
    assert parse_au(" AU12 = 4 ") == (au_index(12), 4.0)
    assert parse_au("au06=2.5") == (au_index(6), 2.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3=1", "unknown AU 3: this software edits AUs 1, 2"),
        ("12=5.1", "out of range"),
        ("12=-1", "out of range"),
        ("12=nan", "out of range"),
        ("12=inf", "out of range"),
        ("12=+1", "not how much more"),
        ("12= +1", "not how much more"),
        ("12", "write NUMBER=INTENSITY"),
        ("smile=3", "write NUMBER=INTENSITY"),
        ("12=strong", "write NUMBER=INTENSITY"),
        ("", "write NUMBER=INTENSITY"),
    ],
)
def test_parse_refuses_with_a_reason(text, message):
    with pytest.raises(UserError, match=message):
        parse_au(text)


def test_a_good_vector_comes_back_as_float32():
    vector = check_au_vector([0, 5] + [2.5] * 15)
    assert vector.dtype == np.float32
    assert vector.tolist() == [0, 5] + [2.5] * 15


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0] * 16, "has 17 values, not 16"),
        ([0] * 16 + [float("nan")], "NaN"),
        ([0, 0, 5.5] + [0] * 14, "AU4 = 5.5 is out of range"),
        ([0] * 16 + [-0.1], "AU45 = -0.1 is out of range"),
    ],
)
def test_a_bad_vector_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        check_au_vector(values)
