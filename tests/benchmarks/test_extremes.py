"""The best and the worst edits: chosen by rule, one per person, with what chose them."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.scoring.extremes import COUNT, RULES, extremes
from eggan.aus import AU_COLUMNS

PAIRS = 12


def pair_table(error, alike, people):
    aus = {f"target_{name}": np.zeros(PAIRS) for name in AU_COLUMNS}
    read = {f"a_{name}": np.sqrt(error) for name in AU_COLUMNS}
    return pd.DataFrame({**aus, **read, "similarity": alike, "source_identity": people})


def pictures(first):
    return np.arange(first, first + PAIRS, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 2, 2, 3), np.uint8
    )


def chosen(error, alike=None, people=None, truth=None):
    alike = np.linspace(0, 1, PAIRS) if alike is None else alike
    people = [f"p{i}" for i in range(PAIRS)] if people is None else people
    return extremes(pair_table(error, alike, people), pictures(0), pictures(100), truth, "wide")


def test_each_rule_chooses_its_pairs_and_keeps_their_values_and_pictures():
    error = np.arange(PAIRS, dtype=float)[::-1].copy()  # the last pair is the best
    found = chosen(error, truth=pictures(200))
    assert found["extreme_rule"].tolist() == list(RULES)
    best, worst = found["extreme_source"][:2, :, 0, 0, 0]
    assert best.tolist() == [11, 10, 9]
    assert worst.tolist() == [0, 1, 2]
    assert found["extreme_value"][0] == pytest.approx([0, 1, 2])
    assert found["extreme_value"][1] == pytest.approx([11, 10, 9])
    assert found["extreme_value"][2] == pytest.approx(np.linspace(0, 1, PAIRS)[[11, 10, 9]])
    assert found["extreme_value"][3] == pytest.approx(np.linspace(0, 1, PAIRS)[:3])
    assert found["extreme_edit"][0, 0, 0, 0, 0] == 111
    assert found["extreme_truth"][3, 1, 0, 0, 0] == 201
    assert found["extreme_split"].tolist() == ["wide"]


def test_a_person_is_chosen_once_by_a_rule():
    found = chosen(np.arange(PAIRS, dtype=float), people=[f"p{i // 4}" for i in range(PAIRS)])
    assert found["extreme_source"][0, :, 0, 0, 0].tolist() == [0, 4, 8]
    two = chosen(np.arange(PAIRS, dtype=float), people=[f"p{i // 6}" for i in range(PAIRS)])
    assert two["extreme_edit"].shape[:2] == (len(RULES), 2)
    assert COUNT == 3


def test_what_was_not_read_is_neither_best_nor_worst():
    error = np.arange(PAIRS, dtype=float)
    error[[0, 11]] = np.nan
    found = chosen(error)
    assert found["extreme_source"][0, :, 0, 0, 0].tolist() == [1, 2, 3]
    assert found["extreme_source"][1, :, 0, 0, 0].tolist() == [10, 9, 8]
    assert "extreme_truth" not in found
    assert chosen(np.full(PAIRS, np.nan)) == {}
