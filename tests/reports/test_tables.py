import dataclasses

import numpy as np
import pandas as pd
import pytest

from eggan.evaluation import statistics
from reports.style import table_writers
from reports.suite import estimates, suite_findings, suite_tables
from reports.suite.estimates import named
from reports.suite.sections import sections_of
from tests.reports.fakes import make_frame


def quiet(items, total, description):
    return items


@pytest.fixture(scope="module")
def frame():
    return make_frame()


@pytest.fixture(scope="module")
def section(frame):
    return sections_of(frame, quiet)[0]


def row(table, label, group=None):
    return next(r for r in table.rows if r.label == label and (group is None or r.group == group))


def test_table1_value_is_the_mse_of_the_pairs(frame, section):
    pairs = frame.pairs[frame.pairs["method"] == "eggan"]
    by_hand = np.mean((pairs["a_au12"] - pairs["target_au12"]) ** 2)
    shown = row(suite_tables.table1(section), "EGGAN", "MSE ↓").entries[suite_tables.COLUMNS.index("12")]
    assert shown.value == pytest.approx(by_hand)
    assert shown.low <= shown.value <= shown.high
    assert shown.high > shown.low


def test_undefined_pcc_is_shown_and_the_mean_says_over_how_many(section):
    shown = row(suite_tables.table1(section), "EGGAN", "PCC ↑")
    assert shown.entries[-2].text == "undefined"
    assert shown.entries[-1].remark == "16 AUs"


def test_failed_cell_is_visible_with_its_reason(section):
    table = suite_tables.table1(section)
    assert {entry.text for entry in row(table, "StarGAN").entries} == {"failed"}
    assert row(table, "StarGAN").evidence.seeds_text == "0/1"
    assert "StarGAN: seed 0 failed: loss au became NaN at step 12" in table.notes


def test_published_rows_stand_beside_ours_and_are_labelled(section):
    text = table_writers.markdown(suite_tables.table1(section))
    assert "| EGGAN, published | 0.13 | 0.13 | 0.49 |" in text
    assert "not comparable with ours" in text


def test_table2_golden_rows(frame, section):
    table = suite_tables.table2(frame, section)
    assert [entry.text for entry in row(table, "Real pairs (upper bound)").entries] == [
        "98.75",
        "1.50",
        "–",
        "–",
    ]
    assert row(table, "Real, published").entries[0].text == "99.63"
    pairs = frame.pairs[frame.pairs["method"] == "eggan"]
    assert row(table, "EGGAN").entries[0].value == pytest.approx(100 * pairs["same"].mean())
    assert row(table, "EGGAN").entries[1].text == "1.50 ± 0.00"


def test_summary_says_why_a_metric_was_not_measured_and_leaves_nothing_blank(frame, section):
    table = suite_tables.summary(frame, section)
    assert {e.text for e in row(table, "LPIPS ↓").entries} == {"not measured: weights missing", "failed"}
    assert all(entry.text for line in table.rows for entry in line.entries)


def test_cost_stands_beside_quality_for_trained_methods_alone(frame, section):
    table = suite_tables.cost(frame, section)
    assert [line.label for line in table.rows] == ["StarGAN", "EGGAN"]
    columns = dict(zip(table.columns, row(table, "EGGAN").entries, strict=True))
    assert columns["Training time (s) ↓"].value == 60.0
    assert columns["Parameters ↓"].value == 1e6
    assert columns["Skill over copy-source ↑"].value == pytest.approx(float(section.skills["eggan"].estimate))
    assert {entry.text for entry in row(table, "StarGAN").entries} == {"failed"}


def test_a_suite_without_trained_methods_has_no_cost_table(frame, section):
    references = [group for group in section.groups if group.method in ("copy-source", "oracle")]
    assert suite_tables.cost(frame, dataclasses.replace(section, groups=references)) is None


def test_skill_and_margin_of_a_known_method(section):
    assert float(section.skills["oracle"].estimate) == pytest.approx(1.0, abs=0.01)
    names = ("copy-source", "target-passthrough", "oracle")
    groups = [named(section.groups, name) for name in names]
    copied, passed, true = (
        estimates.interval(group, estimates.margin_statistic(group, groups[1])) for group in groups
    )
    assert float(passed.estimate) == pytest.approx(0.0, abs=1e-9)
    assert float(copied.estimate) == pytest.approx(0.0, abs=0.02)
    assert float(true.low) > 0.9
    assert set(section.margins) == {"eggan"}  # the rest are not judged by it


def test_a_column_of_one_value_has_no_width(section):
    group = named(section.groups, "eggan")
    assert group.pairs["msssim"].nunique() == 1
    found = estimates.column_interval(group, "msssim", 100.0)
    for end in ("estimate", "low", "high"):
        assert float(getattr(found, end)) == pytest.approx(80.0, rel=1e-12)


def test_what_is_estimated_together_is_what_it_is_alone(section):
    group = named(section.groups, "eggan")
    assert ("similarity", 1.0) in group.columns
    for together, statistic in (
        (
            section.intervals["eggan", "pcc"],
            estimates.with_average(estimates.au_statistics(group.pairs)["pcc"]),
        ),
        (section.skills["eggan"], estimates.skill_statistic(group.pairs)),
        (group.columns["similarity", 1.0], estimates.column_statistic(group.pairs, "similarity")),
    ):
        alone = estimates.interval(group, statistic)
        assert np.array_equal(together.low, alone.low, equal_nan=True)
        assert np.array_equal(together.high, alone.high, equal_nan=True)


def mixture(frame, share):
    """EGGAN's pairs become a coin between copy-source and passthrough."""
    pairs = frame.pairs.copy()
    copied = pairs[pairs["method"] == "copy-source"].set_index("pair")
    passed = pairs[pairs["method"] == "target-passthrough"].set_index("pair")
    columns = [c for c in pairs.columns if c.startswith("a_au")] + ["similarity", "same"]
    for index in pairs.index[pairs["method"] == "eggan"]:
        pair = pairs.loc[index, "pair"]
        chosen = passed if np.random.default_rng(pair).uniform() < share else copied
        for column in columns:
            pairs.loc[index, column] = chosen.loc[pair, column]
    return pairs


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_coin_between_the_trivial_answers_has_learnt_nothing(frame, share):
    faked = dataclasses.replace(frame, pairs=mixture(frame, share))
    stated = suite_findings.findings(faked, sections_of(faked, quiet))
    on_eggan = next(v for v in stated if v.text.startswith("EGGAN on"))
    assert on_eggan.tone != "good"
    assert "learnt" in on_eggan.text


def test_findings_name_what_the_evidence_lacks(frame, section):
    texts = [finding.text for finding in suite_findings.findings(frame, [section])]
    assert any(text.startswith("EGGAN on") and " edits: " in text for text in texts)
    assert any("wide test split" in text for text in texts)
    assert any("1 of 8 cells did not finish" in text for text in texts)
    thin = suite_findings.findings(make_frame(seeds=1), [section])
    assert any(finding.text.startswith("Preliminary: 1 finished") for finding in thin)


def test_one_training_that_edits_holds_no_claim(frame):
    for seeds, tone in ((1, "open"), (2, "open"), (3, "good")):
        some = make_frame(seeds=seeds)
        stated = suite_findings.findings(some, sections_of(some, quiet))
        (found,) = [v for v in stated if v.text.startswith("EGGAN on")]
        assert (found.tone, "no claim yet" in found.text) == (tone, tone == "open")


@pytest.mark.parametrize(
    ("further", "expected"),
    [
        ({"ganimation": 1}, "Preliminary: 1 finished training seed(s) of GANimation, where"),
        (
            {"ganimation": 1, "eggan-w": 2, "eggan-w-wide": 2, "eggan-w-unpaired": 4},
            "Preliminary: 1 finished training seed(s) of GANimation; 2 of EGGAN-W, EGGAN-W (wide), where",
        ),
        ({"eggan-w": 4, "eggan-w-wide": 5}, "3 seeds of EGGAN; 4 of EGGAN-W carry claims; a"),
    ],
)
def test_findings_name_all_methods_with_too_few_seeds(frame, section, further, expected):
    like = frame.cells[frame.cells["run_id"] == "eggan-s0"]
    new = [
        like.assign(method=method, run_id=f"{method}-{i}")
        for method, seeds in further.items()
        for i in range(seeds)
    ]
    cells = pd.concat([frame.cells, *new], ignore_index=True)
    stated = suite_findings.findings(dataclasses.replace(frame, cells=cells), [section])
    assert any(finding.text.startswith(expected) for finding in stated), [f.text for f in stated]


def test_times_of_several_machines_are_not_averaged(frame, section):
    """One seed of three ran elsewhere: what it took there says nothing of the others."""
    elsewhere = frame.cells["run_id"] == "eggan-s1"
    cells = frame.cells.assign(machine=frame.cells["machine"].mask(elsewhere, "another"))
    metrics = frame.metrics.copy()
    for name in ("cost/train_seconds", "cost/parameters"):
        metrics.loc[(metrics["run_id"] == "eggan-s1") & (metrics["metric"] == name), "value"] *= 100
    apart = dataclasses.replace(frame, cells=cells, metrics=metrics)
    group = estimates.named(section.groups, "eggan")
    here = suite_tables.seed_entry(apart, group, "cost/train_seconds", 0)
    assert (here.value, here.spread) == (60, 0)
    assert suite_tables.seed_entry(apart, group, "cost/parameters", 0).value == pytest.approx(34e6)
    assert "2 cores, cpu alone" in suite_tables.cost(apart, section).caption
    most = _with_others_on("another", apart)
    assert suite_tables.seed_entry(most, group, "cost/train_seconds", 0).value == 6000
    none = dataclasses.replace(most, cells=most.cells[~most.cells["run_id"].eq("eggan-s1")])
    assert "other machines" in suite_tables.seed_entry(none, group, "cost/train_seconds", 0).words


def _with_others_on(machine, frame):
    """Return the frame with cells of two further methods that were trained on `machine`."""
    new = {"run_id": ["stargan-new", "ganimation-new"], "method": ["stargan", "ganimation"]}
    cells = frame.cells[frame.cells["run_id"].isin(["eggan-s0", "eggan-s2"])].assign(machine=machine, **new)
    curves = frame.curves.iloc[:2].assign(run_id=new["run_id"])
    return dataclasses.replace(
        frame, cells=pd.concat([frame.cells, cells]), curves=pd.concat([frame.curves, curves])
    )


def test_differences_are_paired_and_holm_is_no_smaller_than_the_raw_p(section):
    ours = estimates.named(section.groups, "eggan")
    other = estimates.named(section.groups, "copy-source")
    found = estimates.compare([other], ours, quiet)[other.method]["mse"]
    gap = section.intervals["copy-source", "mse"].estimate - section.intervals["eggan", "mse"].estimate
    assert found.difference.estimate == pytest.approx(gap)
    assert (found.adjusted >= found.difference.p_value[:17] - 1e-12).all()
    assert found.difference.low[-1] > 0


def test_differences_say_on_what_they_are_and_which_method_was_trained_once(frame):
    """A method with two of our three seeds is compared on these two, one with one seed with all three."""
    parts = {"ganimation": ["eggan-s0"], "eggan-w": ["eggan-s0", "eggan-s1"]}
    pairs, cells = [frame.pairs], [frame.cells]
    for method, runs in parts.items():
        for run in runs:
            new = {"method": method, "run_id": f"{method}-{run}"}
            pairs.append(frame.pairs[frame.pairs["run_id"] == run].assign(**new))
            cells.append(frame.cells[frame.cells["run_id"] == run].assign(**new))
    both = dataclasses.replace(frame, pairs=pd.concat(pairs), cells=pd.concat(cells))
    (section,) = sections_of(both, quiet)
    table = suite_tables.differences(section, quiet)
    heads = {head.partition(" − ")[0]: head.partition(", ")[2] for head in table.columns}
    count = len(frame.pairs[frame.pairs["run_id"] == "eggan-s0"])
    assert heads["GANimation"] == heads["Copy source"] == f"n {count:,} × 3 seeds"
    assert heads["EGGAN-W"] == f"n {count:,} × 2 seeds"
    assert [note.partition(". ")[0] for note in table.notes] == ["One training: GANimation"]


def test_resamples_are_drawn_once_a_method_and_once_for_methods_that_are_compared(frame, monkeypatch):
    drawn, resample = [], statistics.resample
    monkeypatch.setattr(statistics, "resample", lambda *given: drawn.append(given[3]) or resample(*given))
    (section,) = sections_of(frame, quiet)
    scored = [group for group in section.groups if len(group.pairs)]
    assert drawn == [estimates.RESAMPLES] * len(scored)
    suite_tables.summary(frame, section)
    suite_tables.table2(frame, section)
    suite_tables.differences(section, quiet)
    assert drawn[len(scored) :] == [estimates.DIFFERENCE_RESAMPLES]


def test_methods_are_compared_as_each_is_alone(frame):
    """Whether they have our pairs, some of them, or none at all."""
    some = (frame.pairs["method"] == "mean-au") & (frame.pairs["pair"] % 3 == 0)
    none = frame.pairs["method"] == "oracle"
    section = sections_of(dataclasses.replace(frame, pairs=frame.pairs[~some & ~none]), quiet)[0]
    ours = named(section.groups, "eggan")
    others = [group for group in section.groups if group is not ours]
    together = estimates.compare(others, ours, quiet)
    assert set(together) == {"copy-source", "target-passthrough", "mean-au"}
    assert together["mean-au"]["mse"].pairs < together["copy-source"]["mse"].pairs
    for other in others:
        alone = estimates.compare([other], ours, quiet).get(other.method, {})
        for metric, found in together.get(other.method, {}).items():
            for end in ("estimate", "low", "high", "p_value"):
                one, two = (getattr(c.difference, end) for c in (found, alone[metric]))
                assert one == pytest.approx(two, rel=1e-9, nan_ok=True)


def test_rank_agreement_is_printed(section):
    assert "Spearman" in suite_tables.estimator_agreement(section).notes[0]


def test_same_frame_gives_the_same_text(frame, section):
    again = sections_of(frame, quiet)[0]
    assert table_writers.csv_text(suite_tables.table1(section)) == table_writers.csv_text(
        suite_tables.table1(again)
    )
