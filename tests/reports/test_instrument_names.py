"""Tables name the instruments that scored them, and count what these could not read."""

import dataclasses

import numpy as np
import pytest

from benchmarks.scoring.pair_columns import au_matrix
from eggan.aus import AU_COLUMNS
from reports.suite import estimates, suite_findings, suite_tables
from reports.suite.instrument_names import Readers, all_cards, readers_of
from reports.suite.sections import sections_of
from tests.reports.fakes import DATASET, make_frame
from tests.reports.test_tables import quiet, row

SHIPPED = {
    "AU estimator A": {"name": "au_a", "sha256": "aaaa"},
    "AU estimator B": {"name": "au_b", "sha256": "bbbb"},
}
OPENFACE = {"name": "openface", "title": "OpenFace 2.2.0 (0f), static", "sha256": "ffff"}


def scored_by(frame, told, dataset=DATASET):
    return dataclasses.replace(frame, cells=frame.cells.assign(instruments=told, dataset=dataset))


@pytest.fixture(scope="module")
def frame():
    """EGGAN's edits of the pairs 0, 3 and 4 of each seed were not read."""
    made = make_frame(seeds=2, failed=False)
    pairs = made.pairs.copy()
    lost = (pairs["method"] == "eggan") & pairs["pair"].isin([0, 3, 4])
    pairs.loc[lost, [f"a_{au}" for au in AU_COLUMNS]] = np.nan
    pairs[[f"b_{au}" for au in AU_COLUMNS]] = np.nan
    return dataclasses.replace(made, pairs=pairs)


@pytest.fixture(scope="module")
def section(frame):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "RESAMPLES", 100)
        return sections_of(frame, quiet)[0]


def test_unread_pairs_have_no_part_in_the_au_scores_and_are_counted(frame, section):
    read = frame.pairs[(frame.pairs["method"] == "eggan") & ~frame.pairs["pair"].isin([0, 3, 4])]
    by_hand = np.mean((read["a_au12"] - read["target_au12"]) ** 2)
    table = suite_tables.table1(section)
    assert row(table, "EGGAN", "MSE ↓").entries[suite_tables.COLUMNS.index("12")].value == pytest.approx(
        by_hand
    )
    assert any("EGGAN: estimator A could not read 6 of 80 edits" in note for note in table.notes)
    summary = suite_tables.summary(frame, section)
    shown = dict(zip(summary.columns, row(summary, "Edits not read (%) ↓").entries, strict=True))
    values = {name.split(",")[0]: entry.value for name, entry in shown.items()}
    assert values["EGGAN"] == pytest.approx(7.5)
    assert values["Copy source"] == 0
    everyone = frame.pairs[frame.pairs["method"] == "eggan"]["same"].mean()
    assert row(suite_tables.table2(frame, section), "EGGAN").entries[0].value == pytest.approx(100 * everyone)


def test_a_difference_is_over_the_pairs_that_both_were_read_of(frame, section):
    ours, other = (estimates.named(section.groups, name) for name in ("eggan", "oracle"))
    found = estimates.compare([other], ours, quiet)[other.method]["mse"]
    kept = {g.method: g.pairs[~g.pairs["pair"].isin([0, 3, 4])] for g in (ours, other)}
    errors = {name: (au_matrix(p, "a") - au_matrix(p, "target")) ** 2 for name, p in kept.items()}
    mean = {name: error[:, 8].mean() for name, error in errors.items()}
    assert found.difference.estimate[8] == pytest.approx(mean["oracle"] - mean["eggan"])


def test_all_read_means_no_row_and_no_note():
    frame = make_frame(seeds=1, failed=False)
    section = sections_of(frame, quiet)[0]
    assert not any("could not read" in note for note in suite_tables.table1(section).notes)
    assert "Edits not read (%) ↓" not in {r.label for r in suite_tables.summary(frame, section).rows}


def test_without_a_second_estimator_nothing_is_ranked_by_it(frame, section):
    table = suite_tables.estimator_agreement(section)
    assert table.rows == ()
    assert table.notes == ("not measured: these runs have no second AU estimator",)
    shown = row(suite_tables.summary(frame, section), "MSE, estimator B ↓").entries
    assert all(entry.text.startswith("not measured") for entry in shown)


def test_names_come_from_the_cards_of_the_runs():
    frame = make_frame(seeds=1)
    cards = SHIPPED | {"AU instrument: x": OPENFACE}
    told = scored_by(frame, "a ffff; verifier unknown", "rafd")
    assert readers_of(told.cells, cards, "rafd") == Readers(a=OPENFACE["title"])
    assert readers_of(scored_by(frame, "a aaaa; b bbbb").cells, cards, DATASET).a == "estimator A"
    photographs = readers_of(scored_by(frame, "a aaaa; b bbbb", "rafd").cells, cards, "rafd")
    assert photographs.a == "estimator A (learnt from renderings)"
    assert readers_of(scored_by(frame, "").cells, cards, DATASET) == Readers()


def test_several_sets_of_instruments_are_a_problem():
    frame = make_frame(seeds=1, failed=False)
    told = ["a aaaa" if method == "eggan" else "a ffff" for method in frame.cells["method"]]
    mixed = scored_by(frame, told)
    texts = {v.text: v.tone for v in suite_findings.findings(mixed, sections_of(mixed, quiet))}
    assert any(
        "scored by 2 different sets of instruments" in t and tone == "bad" for t, tone in texts.items()
    )


def test_cards_of_a_report_are_those_of_its_runs():
    assert all_cards(SHIPPED, []) == SHIPPED
    assert all_cards(SHIPPED, [{}]) == SHIPPED  # runs older than the cards beside the scores
    only = all_cards(SHIPPED, [{"a": OPENFACE}])
    assert only == {"AU instrument: OpenFace 2.2.0 (0f), static": OPENFACE}
    both = all_cards(SHIPPED, [{"a": OPENFACE}, {"a": SHIPPED["AU estimator A"]}])
    assert set(both) == {"AU estimator A", "AU instrument: OpenFace 2.2.0 (0f), static"}
