"""Tables 1 and 2 of the paper, and the protocol's further questions: estimates -> `Table`."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.scoring.pair_columns import read_mask
from eggan.aus import AU_NAMES, AU_NUMBERS
from eggan.evaluation.statistics import Interval, weighted_mean
from eggan.progress import progress_bar
from reports.style.metric_catalogue import (
    COST,
    METRICS,
    OUR_METHOD,
    UNREAD,
    Metric,
    method_kind,
    method_title,
    split_title,
)
from reports.style.table import Entry, Row, Table, mark_best
from reports.suite import published
from reports.suite.estimates import (
    AUMetric,
    Comparison,
    Group,
    agreement,
    column_interval,
    compare,
    interval,
    named,
)
from reports.suite.frame import Frame, Progress
from reports.suite.method_names import MethodNames
from reports.suite.sections import Section

AU_HEADINGS = {"mse": "MSE ↓", "pcc": "PCC ↑"}
DIRECTIONS = {"mse": "min", "pcc": "max"}
COLUMNS = tuple(map(str, AU_NUMBERS))
SIGNIFICANT = 0.05
COST_BESIDE = ("au/skill", "identity/accuracy")
INTERVALS = "Brackets: 95 % crossed bootstrap over source identities × targets × seeds."


def entry(found: Interval | None, digits: int, position: int | None = None, words: str = "") -> Entry:
    """Return one value of an interval as an entry; without one, the words that say why."""
    if found is None:
        return Entry(words=words or "not measured: no values in the runs")
    parts = [
        np.asarray(part)[() if position is None else position]
        for part in (found.estimate, found.low, found.high)
    ]
    value, low, high = map(float, parts)
    return Entry(value, low, high, digits=digits, words="" if math.isfinite(value) else "undefined")


def missing_words(group: Group) -> str:
    """Return what a cell without pairs shows; the reason follows in the notes."""
    return "failed" if any("failed" in reason for reason in group.evidence.failures) else "no finished run"


def failure_notes(groups: Iterable[Group]) -> tuple[str, ...]:
    """Return a line per method with unfinished seeds, with the reasons."""
    return tuple(f"{g.title}: {'; '.join(g.evidence.failures)}" for g in groups if g.evidence.failures)


def where(section: Section) -> str:
    """Return the dataset and split of a section as titles name them."""
    return f"{section.dataset}, {split_title(section.split)}"


def table1(section: Section) -> Table:
    """Return the paper's Table 1: MSE and PCC per AU and mean, ours above the published rows."""
    rows: list[Row] = []
    for metric, heading in AU_HEADINGS.items():
        measured = [_table1_row(section, group, metric) for group in section.groups]
        rows += with_best(measured, [DIRECTIONS[metric]] * (len(COLUMNS) + 1), heading)
        rows += [_published_row(metric, method, heading) for method in published.METHODS]
    return Table(
        f"table1-{section.key}",
        f"Table 1: right AUs ({where(section)})",
        f"MSE and PCC between the 17 target AUs and those that {section.readers.a} reads from the "
        f"edits. {INTERVALS} Bold: best trained method of ours. Published rows: {published.SOURCE}; not "
        "comparable with ours.",
        "Method / AU",
        (*COLUMNS, "Avg"),
        tuple(rows),
        (*failure_notes(section.groups), *unread_notes(section), published.reading_note()),
        wide=True,
    )


def unread_notes(section: Section) -> tuple[str, ...]:
    """Return a line per method with edits that the AU instrument could not read."""
    return tuple(
        f"{group.title}: {section.readers.a} could not read {unread:,} of "
        f"{len(group.pairs):,} edits; the AUs are those of the others"
        for group in section.groups
        if len(group.pairs) and (unread := int((~read_mask(group.pairs)).sum()))
    )


def _table1_row(section: Section, group: Group, metric: str) -> Row:
    found = section.intervals.get((group.method, metric))
    words = missing_words(group)
    entries = [entry(found, 2, i, words) for i in range(len(AU_NUMBERS))]
    average = entry(found, 3, len(AU_NUMBERS), words)
    defined = sum(e.measured for e in entries)
    if found is not None and defined < len(AU_NUMBERS):
        average = Entry(
            average.value, average.low, average.high, digits=3, words=average.words, remark=f"{defined} AUs"
        )
    label = group.title
    return Row(label, (*entries, average), method_kind(group.method), evidence=group.evidence)


def _published_row(metric: str, method: str, heading: str) -> Row:
    rows = published.TABLE1[metric]
    values = (*rows[method], published.TABLE1_AVERAGE[metric][method])
    return Row(
        f"{method_title(method)}, published", tuple(Entry(v, digits=2) for v in values), "published", heading
    )


def with_best(rows: list[Row], directions: list[str], group: str) -> list[Row]:
    """Return the rows under a heading, with the best trained method of each column marked."""
    eligible = [row.kind == "method" for row in rows]
    columns = [
        mark_best([row.entries[i] for row in rows], eligible, direction)
        for i, direction in enumerate(directions)
    ]
    cells = zip(*columns, strict=True) if rows else []
    return [
        Row(row.label, tuple(entries), row.kind, group, row.evidence)
        for row, entries in zip(rows, cells, strict=True)
    ]


def table1_averages(section: Section) -> Table:
    """Return Table 1's means with the skill over copy-source, for the terminal and the top of the page."""
    full = table1(section)
    by_group = {(row.group, row.label): row for row in full.rows}
    labels = [row.label for row in full.rows if row.group == AU_HEADINGS["mse"]]
    methods = {group.title: group for group in section.groups}
    recorded = any(group.learns_from for group in section.groups)  # runs of before say nothing of it
    skills = [_skill_entry(section, methods[x]) if x in methods else Entry(words="–") for x in labels]
    eligible = [by_group[AU_HEADINGS["mse"], label].kind == "method" for label in labels]
    rows = []
    for label, skill in zip(labels, mark_best(skills, eligible, DIRECTIONS["pcc"]), strict=True):
        mse, pcc = (by_group[heading, label] for heading in AU_HEADINGS.values())
        learns_from = methods[label].learns_from if label in methods else ""
        values = [Entry(words=learns_from or "–")] if recorded else []
        values += [mse.entries[-1], pcc.entries[-1], skill]
        rows.append(Row(label, tuple(values), mse.kind, evidence=mse.evidence))
    return Table(
        f"table1-means-{section.key}",
        f"Table 1, means over 17 AUs ({where(section)})",
        f"Skill: 1 - MSE / MSE of copy-source. {full.caption}",
        "Method",
        (*(["Learns from"] if recorded else []), *AU_HEADINGS.values(), "Skill ↑"),
        tuple(rows),
        (*failure_notes(section.groups), *unread_notes(section)),
    )


def _skill_entry(section: Section, group: Group) -> Entry:
    return entry(section.skills.get(group.method), 3, words=missing_words(group))


def table1_by_au(section: Section) -> Table:
    """Return Table 1 turned: one row per AU, one column per method, every value with its interval."""
    shown = [group for group in section.groups if len(group.pairs)]
    rows = []
    for metric, heading in AU_HEADINGS.items():
        for position, label in enumerate([*map(_au_label, AU_NUMBERS), "Mean over AUs"]):
            entries = [entry(section.intervals[group.method, metric], 2, position) for group in shown]
            eligible = [method_kind(group.method) == "method" for group in shown]
            rows.append(Row(label, mark_best(entries, eligible, DIRECTIONS[metric]), group=heading))
    columns = tuple(f"{g.title}, n {g.evidence.pairs:,} × {g.evidence.seeds_text} seeds" for g in shown)
    return Table(
        f"table1-by-au-{section.key}",
        f"Table 1 by AU, with intervals ({where(section)})",
        f"As Table 1. {INTERVALS}",
        "AU",
        columns,
        tuple(rows),
        failure_notes(section.groups),
    )


def _au_label(number: int) -> str:
    return f"AU{number} {AU_NAMES[number]}"


def table2(frame: Frame, section: Section) -> Table:
    """Return the paper's Table 2 with the false-accept rate and the similarity beside the accuracy."""
    rows = with_best([_table2_row(frame, g) for g in section.groups], ["max", "", "max", "max"], "")
    rows.append(_real_row(frame, section))
    gone = Entry(words="–")
    for method, value in (
        *((m, published.TABLE2_ACCURACY[m]) for m in published.METHODS),
        ("Real", published.TABLE2_REAL),
    ):
        rows.append(
            Row(f"{method_title(method)}, published", (Entry(value, digits=2), gone, gone, gone), "published")
        )
    return Table(
        f"table2-{section.key}",
        f"Table 2: same person ({where(section)})",
        f"Share of edits that {section.readers.verifier} takes for the source's identity at a threshold "
        "fixed on real pairs of other "
        "identities, with the share of real pairs of two persons that this threshold lets through. "
        f"{INTERVALS} Published rows: {published.SOURCE}; not comparable with ours.",
        "Method",
        ("Accuracy (%) ↑", "False accepts (%)", "Similarity ↑", "5th percentile ↑"),
        tuple(rows),
        failure_notes(section.groups),
    )


def _table2_row(frame: Frame, group: Group) -> Row:
    words = missing_words(group) if not len(group.pairs) else ""
    entries = (
        entry(column_interval(group, "same", 100.0), 2, words=words),
        seed_entry(frame, group, "identity/false_accept_rate", 2),
        entry(column_interval(group, "similarity"), 3, words=words),
        seed_entry(frame, group, "identity/similarity_p05", 3),
    )
    return Row(group.title, entries, method_kind(group.method), evidence=group.evidence)


def _real_row(frame: Frame, section: Section) -> Row:
    """Real pairs do not depend on the method: the value of the first method that has one."""
    names = ("identity/real_accuracy", "identity/false_accept_rate")
    found = [[seed_entry(frame, group, name, 2) for name in names] for group in section.groups]
    accuracy, accepts = next(
        (pair for pair in found if pair[0].measured), (Entry(words="not measured"), Entry(words="–"))
    )
    plain = [Entry(e.value, digits=2, words=e.words) for e in (accuracy, accepts)]
    return Row("Real pairs (upper bound)", (*plain, Entry(words="–"), Entry(words="–")), "reference")


def seed_entry(frame: Frame, group: Group, name: str, digits: int) -> Entry:
    """Return a tracked metric as mean over seeds ± standard deviation (ddof = 1), or why there is none."""
    key = name if name.startswith("cost/") else f"{group.split}/{name}"
    mine = frame.metrics[frame.metrics["run_id"].isin(group.evidence.run_ids)]
    done = mine[(mine["state"] == "finished") & (mine["metric"] == key)]
    values = done["value"].dropna().to_numpy(np.float64)
    if not len(values):
        return Entry(words=_absence(frame, group, name, key))
    spread = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Entry(float(values.mean()), spread=spread, digits=digits)


def _absence(frame: Frame, group: Group, name: str, key: str) -> str:
    if not group.evidence.seeds:
        return missing_words(group)
    told = frame.not_measured[frame.not_measured["run_id"].isin(group.evidence.run_ids)]
    exact = told[told["metric"].isin([name, key, name.split("/")[0]])]
    reason = str(exact["reason"].iloc[0]) if len(exact) else "the runs hold no value"
    return reason if reason.startswith(("not measured", "superseded")) else f"not measured: {reason}"


def cost(frame: Frame, section: Section) -> Table | None:
    """Return what each trained method costs beside what it reaches; None where nothing was trained."""
    shown = [group for group in section.groups if method_kind(group.method) == "method"]
    metrics = [m for m in METRICS if m.key in COST_BESIDE or m.question == COST]
    rows = []
    for group in shown:
        entries = tuple(_summary_entry(frame, section, group, metric) for metric in metrics)
        rows.append(Row(group.title, entries, evidence=group.evidence))
    if not rows:
        return None
    return Table(
        f"cost-{section.key}",
        f"Cost beside quality ({where(section)})",
        "A suite gives every method the same images and the same number of them. Times are wall-clock on the "
        f"runs' machine, named below. {INTERVALS} ±: standard deviation over seeds (ddof = 1).",
        "Method",
        tuple(metric.heading for metric in metrics),
        tuple(with_best(rows, [metric.direction for metric in metrics], "")),
        failure_notes(shown),
    )


def summary(frame: Frame, section: Section) -> Table:
    """Return every metric of the protocol, one row each, one column per method."""
    told = pd.concat([frame.metrics["metric"], frame.not_measured["metric"]])
    names = set(told.str.removeprefix(f"{section.split}/"))
    unread = any(len(g.pairs) and not read_mask(g.pairs).all() for g in section.groups)
    metrics = [m for m in METRICS if (not m.recorded_only or m.key in names) and (m.key != UNREAD or unread)]
    rows = []
    for metric in metrics:
        entries = [_summary_entry(frame, section, group, metric) for group in section.groups]
        eligible = [method_kind(group.method) == "method" for group in section.groups]
        rows.append(
            Row(
                heading_in(metric, section),
                mark_best(entries, eligible, metric.direction),
                group=metric.question,
            )
        )
    columns = tuple(
        f"{g.title}, n {g.evidence.pairs:,} × {g.evidence.seeds_text} seeds, "
        f"{len(g.evidence.failures)} failed"
        for g in section.groups
    )
    return Table(
        f"summary-{section.key}",
        f"All questions of the protocol ({where(section)})",
        f"{INTERVALS} ±: standard deviation over seeds (ddof = 1), where a metric has no pairs. Each row is "
        "defined "
        "below.",
        "Metric",
        columns,
        tuple(rows),
        failure_notes(section.groups),
    )


def heading_in(metric: Metric, section: Section) -> str:
    """Return a metric's heading with the section's own instruments in it."""
    named_a = metric.heading.replace("estimator A", section.readers.a)
    return named_a.replace("estimator B", section.readers.b)


def _summary_entry(frame: Frame, section: Section, group: Group, metric: Metric) -> Entry:
    if not len(group.pairs) and not metric.key.startswith("cost/"):
        return Entry(words=missing_words(group))
    found = _bootstrapped(section, group, metric)
    return (
        seed_entry(frame, group, metric.key, metric.digits) if found is None else entry(found, metric.digits)
    )


def _bootstrapped(section: Section, group: Group, metric: Metric) -> Interval | None:
    if metric.key == "au/skill":
        return section.skills.get(group.method)
    if metric.key == UNREAD:
        unread = 100.0 * ~read_mask(group.pairs)
        return interval(group, weighted_mean(unread), metric.key)
    if metric.pair_column:
        return column_interval(group, metric.pair_column, metric.scale)
    head, _, name = metric.key.partition("/")
    found = section.intervals.get((group.method, name if head == "au" else f"{name}-b"))
    if found is None or head not in ("au", "au_b"):
        return None
    return Interval(found.estimate[-1], found.low[-1], found.high[-1], found.level, found.resamples)


def differences(section: Section, progress: Progress = progress_bar) -> Table | None:
    """Return other - EGGAN per AU with Holm-adjusted p-values; None without EGGAN or another method."""
    ours = named(section.groups, OUR_METHOD)
    others = [g for g in section.groups if g.method != OUR_METHOD and len(g.pairs)]
    if ours is None or not len(ours.pairs) or not others:
        return None
    metrics: tuple[AUMetric, ...] = ("mse", "pcc")
    asked = [(metric, other) for metric in metrics for other in others]
    shown = progress(asked, len(asked), f"paired differences on {section.key}")
    found = [compare(other, ours, metric) for metric, other in shown]
    rows: list[Row] = []
    for number, metric in enumerate(metrics):
        rows += _difference_rows(found[number * len(others) :][: len(others)], AU_HEADINGS[metric])
    columns = tuple(f"{g.title} − EGGAN" for g in others)
    return Table(
        f"differences-{section.key}",
        f"Paired differences from EGGAN ({where(section)})",
        "Same pairs, same resamples. A positive MSE difference or a negative PCC difference is in EGGAN's "
        "favour. "
        "p: two-sided bootstrap; per AU adjusted with Holm's method over the 17 AUs, mean unadjusted. "
        f"{INTERVALS}",
        "AU",
        columns,
        tuple(rows),
    )


def _difference_rows(found: list[Comparison | None], heading: str) -> list[Row]:
    labels = [*map(_au_label, AU_NUMBERS), "Mean over AUs"]
    return [
        Row(label, tuple(_difference_entry(c, i) for c in found), group=heading)
        for i, label in enumerate(labels)
    ]


def _difference_entry(comparison: Comparison | None, position: int) -> Entry:
    if comparison is None:
        return Entry(words="not measured: no common pairs")
    found = comparison.difference
    plain = entry(found, 2, position)
    p = float(comparison.adjusted[position] if position < len(AU_NUMBERS) else found.p_value[position])
    if not plain.measured:
        return plain
    return Entry(plain.value, plain.low, plain.high, digits=2, remark=p_text(p), best=p < SIGNIFICANT)


def p_text(p: float) -> str:
    """Return `p < .001` or `p = .012`."""
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def estimator_agreement(section: Section) -> Table:
    """Return the methods' order by both estimators with Spearman's and Kendall's rank correlation."""
    rows, notes = [], []
    metric: AUMetric
    for metric in ("mse", "pcc"):
        frame = agreement(section.groups, metric).dropna()
        if not len(frame):
            notes = ["not measured: these runs have no second AU estimator"]
            break
        frame = frame.assign(rank_a=_ranks(frame["a"], metric), rank_b=_ranks(frame["b"], metric))
        rows += [_agreement_row(line, AU_HEADINGS[metric], section.names) for line in frame.itertuples()]
        notes.append(f"{AU_HEADINGS[metric][:3]}: {_rank_correlation(frame)}")
    return Table(
        f"agreement-{section.key}",
        f"Do the two estimators agree? ({where(section)})",
        "Means over AUs by both frozen estimators, and the rank that each gives a method. A method that one "
        "of them "
        "ranks much better than the other has fooled one of them.",
        "Method",
        (
            section.readers.first,
            section.readers.b[:1].upper() + section.readers.b[1:],
            "Rank by A",
            "Rank by B",
        ),
        tuple(rows),
        tuple(notes),
    )


def _ranks(values: pd.Series, metric: str) -> pd.Series:
    return values.round(6).rank(ascending=metric == "mse", method="min").astype(int)


def _agreement_row(line: object, heading: str, names: MethodNames) -> Row:
    entries = tuple(
        Entry(float(getattr(line, name)), digits=d)
        for name, d in (("a", 3), ("b", 3), ("rank_a", 0), ("rank_b", 0))
    )
    method = str(getattr(line, "method", ""))
    return Row(names.title(method), entries, method_kind(method), heading)


def _rank_correlation(frame: pd.DataFrame) -> str:
    if len(frame) < 3 or frame["a"].nunique() < 2 or frame["b"].nunique() < 2:
        return f"rank agreement not measured: {len(frame)} methods are too few"
    spearman = stats.spearmanr(frame["a"], frame["b"]).statistic
    kendall = stats.kendalltau(frame["a"], frame["b"]).statistic
    return f"rank agreement over {len(frame)} methods: Spearman {spearman:.2f}, Kendall {kendall:.2f}"
