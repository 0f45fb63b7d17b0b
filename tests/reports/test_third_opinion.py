"""What reports say of the landmark reader, and that frames of before it say nothing of it."""

import dataclasses

import numpy as np
import pytest

from benchmarks.scoring.pair_columns import au_matrix
from eggan.aus import AU_COLUMNS, AU_COUNT
from reports.suite import estimates, suite_tables
from reports.suite.instrument_names import all_cards, readers_of
from reports.suite.sections import sections_of
from reports.suite.suite_page import instrument_cards
from tests.reports.fakes import DATASET, make_frame
from tests.reports.test_instrument_names import SHIPPED, scored_by
from tests.reports.test_tables import quiet, row

FLAT = [f"landmarks_{column}" for column in AU_COLUMNS]
LANDMARKS = {"name": "au_landmarks", "title": "landmark reader", "sha256": "llll"}


@pytest.fixture(scope="module")
def section():
    """The landmark reader read all methods but the oracle, and never AU6."""
    made = make_frame(seeds=1, failed=False)
    pairs = made.pairs.copy()
    for column in AU_COLUMNS:
        pairs[f"landmarks_{column}"] = np.where(pairs["method"] == "oracle", np.nan, pairs[f"b_{column}"])
    pairs["landmarks_au06"] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "RESAMPLES", 100)
        return sections_of(dataclasses.replace(made, pairs=pairs), quiet)[0]


def test_the_third_opinion_has_a_column_a_rank_and_its_agreement(section):
    table = suite_tables.estimator_agreement(section)
    assert table.title.startswith("Do the estimators agree?")
    assert table.columns == (
        "Estimator A",
        "Estimator B",
        "Landmark reader",
        "Rank by A",
        "Rank by B",
        "Rank by landmarks",
    )
    shown = row(table, "EGGAN", "MSE ↓")
    pairs = estimates.named(section.groups, "eggan").pairs
    error = np.square(au_matrix(pairs, "landmarks") - au_matrix(pairs, "target"))
    kept = np.arange(AU_COUNT) != AU_COLUMNS.index("au06")
    assert shown.entries[2].value == pytest.approx(error[:, kept].mean())
    assert shown.entries[5].value == 1 + sum(
        r.entries[2].value < shown.entries[2].value
        for r in table.rows
        if r.group == "MSE ↓"
        if r.entries[2].measured
    )
    assert row(table, section.names.title("oracle"), "MSE ↓").entries[2].text == "–"
    assert any(note.startswith("MSE, Estimator B and landmarks: rank agreement over") for note in table.notes)


def test_a_frame_of_before_has_the_table_of_before():
    made = make_frame(seeds=1, failed=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "RESAMPLES", 100)
        table = suite_tables.estimator_agreement(sections_of(made, quiet)[0])
    assert table.title.startswith("Do the two estimators agree?")
    assert table.columns == ("Estimator A", "Estimator B", "Rank by A", "Rank by B")
    assert "landmark" not in table.caption
    assert len(table.notes) == 2


def test_on_photographs_it_agrees_with_the_first_where_there_is_no_second(section):
    groups = [
        dataclasses.replace(group, pairs=group.pairs.assign(**{f"b_{c}": np.nan for c in AU_COLUMNS}))
        for group in section.groups
    ]
    table = suite_tables.estimator_agreement(dataclasses.replace(section, groups=groups))
    assert table.columns == ("Estimator A", "Landmark reader", "Rank by A", "Rank by landmarks")
    assert row(table, "EGGAN", "PCC ↑").entries[1].measured


def test_a_correlation_that_is_never_defined_leaves_the_columns_of_the_error(section):
    groups = [
        dataclasses.replace(
            group,
            pairs=group.pairs.assign(**{f"b_{c}": np.nan for c in AU_COLUMNS}, **dict.fromkeys(FLAT, 1.0)),
        )
        for group in section.groups
    ]
    table = suite_tables.estimator_agreement(dataclasses.replace(section, groups=groups))
    assert {r.group for r in table.rows} == {"MSE ↓"}
    assert {len(r.entries) for r in table.rows} == {len(table.columns)} == {4}


def test_it_is_named_where_it_read_photographs():
    frame = scored_by(make_frame(seeds=1), "a llll; verifier cccc", "rafd")
    readers = readers_of(frame.cells, SHIPPED | {"Landmark reader": LANDMARKS}, "rafd")
    assert readers.a == "the landmark reader (learnt from renderings)"
    assert readers_of(scored_by(make_frame(seeds=1), "a aaaa").cells, SHIPPED, DATASET).a == "estimator A"


def test_its_card_is_shown_where_runs_recorded_it():
    shipped = SHIPPED | {"Landmark reader": LANDMARKS}
    recorded = {"a": SHIPPED["AU estimator A"], "b": SHIPPED["AU estimator B"]}
    assert "Landmark reader" not in all_cards(shipped, [recorded])
    assert "Landmark reader" in all_cards(shipped, [recorded | {"landmarks": LANDMARKS}])
    other = LANDMARKS | {"sha256": "mmmm"}
    assert "Third AU instrument: landmark reader" in all_cards(shipped, [recorded | {"landmarks": other}])


def test_the_page_says_that_its_file_was_used_where_runs_have_its_opinion():
    frame = dataclasses.replace(make_frame(seeds=1), instruments={"Landmark reader": LANDMARKS})
    read = frame.pairs.assign(**{f"landmarks_{c}": 1.0 for c in AU_COLUMNS})
    with_opinion = dataclasses.replace(frame, pairs=read)
    assert [card["used"] for card in instrument_cards(frame)] == [False]
    assert [card["used"] for card in instrument_cards(with_opinion)] == [True]
