"""Tables 1 and 2 of the paper, and the protocol's further questions: estimates -> `Table`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd

from benchmarks.scoring.pair_columns import read_mask
from eggan.aus import AU_COUNT, AU_NAMES, AU_NUMBERS
from eggan.evaluation.statistics import Interval, kendall, spearman, weighted_mean
from eggan.progress import progress_bar
from reports.style.metric_catalogue import COST, METRICS, UNREAD, Metric
from reports.style.table import Entry, Table, TableRow, mark_best, mark_best_of_columns
from reports.suite import published
from reports.suite.estimates import (
    THIRD,
    AUMetric,
    Comparison,
    Group,
    agreement,
    column_interval,
    compare,
    interval,
    named,
    readings_of,
)
from reports.suite.frame import Frame, Progress
from reports.suite.method_names import OUR_METHOD, method_kind, method_title
from reports.suite.sections import Section

AU_HEADINGS: dict[AUMetric, str] = {"mse": "MSE ↓", "pcc": "PCC ↑"}
COLUMNS = tuple(map(str, AU_NUMBERS))
AU_LABELS = (*(f"AU{number} {AU_NAMES[number]}" for number in AU_NUMBERS), "Mean over AUs")
SIGNIFICANT = 0.05
COST_BESIDE = ("au/skill", "identity/accuracy")
INTERVALS = "Brackets: 95 % crossed bootstrap over source identities × targets × seeds."
PARAMETERS = "cost/parameters"  # the one cost that no machine changes
ELSEWHERE = "not measured: it ran on other machines than most methods"
DASH = Entry(words="–")
RANKS = {"a": "Rank by A", "b": "Rank by B", THIRD: "Rank by landmarks"}
LANDMARKS_CAPTION = (
    "The landmark reader sees where 468 points of a face are and no pixel, so what fools the others does not "
    "fool it; its means are over the AUs that geometry shows."
)


def section_table(
    section: Section,
    key: str,
    title: str,
    caption: str,
    corner: str,
    columns: Iterable[str],
    rows: Iterable[TableRow],
    notes: Iterable[str] = (),
    wide: bool = False,
) -> Table:
    """Return a table of a section, which its key and its title name."""
    parts = (tuple(columns), tuple(rows), tuple(notes))
    return Table(f"{key}-{section.key}", f"{title} ({section.where})", caption, corner, *parts, wide=wide)


def method_rows(
    groups: Sequence[Group],
    entries: Callable[[Group], Iterable[Entry]],
    directions: Sequence[str],
    heading: str = "",
) -> list[TableRow]:
    """Return a row per method under a heading, with the best trained method of each column marked."""
    rows = [TableRow(g.title, tuple(entries(g)), method_kind(g.method), heading, g.evidence) for g in groups]
    return mark_best_of_columns(rows, directions)


def metric_row(
    groups: Sequence[Group], entries: Iterable[Entry], label: str, direction: str, heading: str
) -> TableRow:
    """Return a row with a column per method, with the best trained method marked."""
    eligible = [method_kind(group.method) == "method" for group in groups]
    return TableRow(label, mark_best(list(entries), eligible, direction), group=heading)


def entry(found: Interval | None, digits: int, position: int | None = None, words: str = "") -> Entry:
    """Return one value of an interval as an entry; without one, the words that say why."""
    if found is None:
        return Entry(words=words or "not measured: no values in the runs")
    at = () if position is None else position
    value, low, high = (float(np.asarray(part)[at]) for part in (found.estimate, found.low, found.high))
    return Entry(value, low, high, digits=digits, words="" if math.isfinite(value) else "undefined")


def with_p_value(change: Entry, p: float) -> Entry:
    """Return a change with its p-value beside it, bold where it is significant."""
    return replace(change, remark=p_text(p), best=p < SIGNIFICANT) if change.measured else change


def p_text(p: float) -> str:
    """Return `p < .001` or `p = .012`."""
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def missing_words(group: Group) -> str:
    """Return what a cell without pairs shows; the reason follows in the notes."""
    return "failed" if any("failed" in reason for reason in group.evidence.failures) else "no finished run"


def failure_notes(groups: Iterable[Group]) -> tuple[str, ...]:
    """Return a line per method with unfinished seeds, with the reasons."""
    return tuple(f"{g.title}: {'; '.join(g.evidence.failures)}" for g in groups if g.evidence.failures)


def unread_notes(section: Section) -> tuple[str, ...]:
    """Return a line per method with edits that the AU instrument could not read."""
    return tuple(
        f"{group.title}: {section.readers.a} could not read {unread:,} of "
        f"{len(group.pairs):,} edits; the AUs are those of the others"
        for group in section.groups
        if len(group.pairs) and (unread := int((~read_mask(group.pairs)).sum()))
    )


def _published_row(title: str, values: Iterable[float], dashes: int = 0, heading: str = "") -> TableRow:
    return TableRow(f"{title}, published", (*map(Entry, values), *[DASH] * dashes), "published", heading)


def _direction(metric: AUMetric) -> str:
    return METRICS[f"au/{metric}"].direction


def table1(section: Section) -> Table:
    """Return the paper's Table 1: MSE and PCC per AU and mean, ours above the published rows."""
    rows: list[TableRow] = []
    for metric, heading in AU_HEADINGS.items():
        directions = [_direction(metric)] * (AU_COUNT + 1)
        rows += method_rows(section.groups, partial(_au_entries, section, metric), directions, heading)
        rows += [
            _published_row(method_title(method), published.table1(metric, method), heading=heading)
            for method in published.METHODS
        ]
    return section_table(
        section,
        "table1",
        "Table 1: right AUs",
        _table1_caption(section),
        "Method / AU",
        (*COLUMNS, "Avg"),
        rows,
        (*failure_notes(section.groups), *unread_notes(section), published.reading_note()),
        wide=True,
    )


def _table1_caption(section: Section) -> str:
    return (
        f"MSE and PCC between the 17 target AUs and those that {section.readers.a} reads from the "
        f"edits. {INTERVALS} Bold: best trained method of ours. Published rows: {published.SOURCE}; not "
        "comparable with ours."
    )


def _au_entries(section: Section, metric: AUMetric, group: Group) -> list[Entry]:
    """Return a method's 17 values of Table 1 and their mean."""
    found, words = section.intervals.get((group.method, metric)), missing_words(group)
    entries = [entry(found, 2, i, words) for i in range(AU_COUNT)]
    average, defined = entry(found, 3, AU_COUNT, words), sum(e.measured for e in entries)
    partial_mean = found is not None and defined < AU_COUNT
    return [*entries, replace(average, remark=f"{defined} AUs") if partial_mean else average]


def table1_averages(section: Section) -> Table:
    """Return Table 1's means with the skill over copy-source, for the terminal and the top of the page."""
    recorded = any(group.learns_from for group in section.groups)  # runs of before say nothing of it

    def entries(group: Group) -> list[Entry]:
        learns_from = [Entry(words=group.learns_from or "–")] if recorded else []
        means = [_au_entries(section, metric, group)[-1] for metric in AU_HEADINGS]
        skill = entry(section.skills.get(group.method), 3, words=missing_words(group))
        return [*learns_from, *means, skill]

    learns_from = ["Learns from"] if recorded else []
    directions = [*map(_direction, AU_HEADINGS), METRICS["au/skill"].direction]
    rows = method_rows(section.groups, entries, [*([""] if recorded else []), *directions])
    for method in published.METHODS:
        averages = [published.table1(metric, method)[-1] for metric in AU_HEADINGS]
        row = _published_row(method_title(method), averages, dashes=1)
        rows.append(replace(row, entries=(*[DASH] * recorded, *row.entries)))
    return section_table(
        section,
        "table1-means",
        "Table 1, means over 17 AUs",
        f"Skill: 1 - MSE / MSE of copy-source. {_table1_caption(section)}",
        "Method",
        (*learns_from, *AU_HEADINGS.values(), "Skill ↑"),
        rows,
        (*failure_notes(section.groups), *unread_notes(section)),
    )


def table1_by_au(section: Section) -> Table:
    """Return Table 1 turned: one row per AU, one column per method, every value with its interval."""
    groups = [group for group in section.groups if len(group.pairs)]
    rows = []
    for metric, heading in AU_HEADINGS.items():
        for position, label in enumerate(AU_LABELS):
            entries = (entry(section.intervals[group.method, metric], 2, position) for group in groups)
            rows.append(metric_row(groups, entries, label, _direction(metric), heading))
    columns = (f"{g.title}, n {g.evidence.pairs:,} × {g.evidence.seeds_text} seeds" for g in groups)
    title, caption = "Table 1 by AU, with intervals", f"As Table 1. {INTERVALS}"
    notes = failure_notes(section.groups)
    return section_table(section, "table1-by-au", title, caption, "AU", columns, rows, notes)


def table2(frame: Frame, section: Section) -> Table:
    """Return the paper's Table 2 with the false-accept rate and the similarity beside the accuracy."""

    def entries(group: Group) -> tuple[Entry, ...]:
        words = missing_words(group) if not len(group.pairs) else ""
        return (
            entry(column_interval(group, "same", 100.0), 2, words=words),
            seed_entry(frame, group, "identity/false_accept_rate", 2),
            entry(column_interval(group, "similarity"), 3, words=words),
            seed_entry(frame, group, "identity/similarity_p05", 3),
        )

    rows = [*method_rows(section.groups, entries, ["max", "", "max", "max"]), _real_row(frame, section)]
    titles = {method: method_title(method) for method in published.METHODS} | {"real": "Real"}
    rows += [_published_row(title, [published.table2(name)], dashes=3) for name, title in titles.items()]
    return section_table(
        section,
        "table2",
        "Table 2: same person",
        f"Share of edits that {section.readers.verifier} takes for the source's identity at a threshold "
        "fixed on real pairs of other identities, with the share of real pairs of two persons that this "
        f"threshold lets through. {INTERVALS} Published rows: {published.SOURCE}; not comparable with ours.",
        "Method",
        ("Accuracy (%) ↑", "False accepts (%)", "Similarity ↑", "5th percentile ↑"),
        rows,
        failure_notes(section.groups),
    )


def _real_row(frame: Frame, section: Section) -> TableRow:
    """Real pairs do not depend on the method: the value of the first method that has one."""
    names = ("identity/real_accuracy", "identity/false_accept_rate")
    of_methods = ([seed_entry(frame, group, name, 2) for name in names] for group in section.groups)
    first = next((pair for pair in of_methods if pair[0].measured), [Entry(words="not measured"), DASH])
    entries = (*(replace(value, spread=math.nan) for value in first), DASH, DASH)
    return TableRow("Real pairs (upper bound)", entries, "reference")


def seed_entry(frame: Frame, group: Group, key: str, digits: int) -> Entry:
    """Return a tracked metric as mean over seeds ± standard deviation (ddof = 1), or why there is none."""
    tracked = key if key.startswith("cost/") else f"{group.split}/{key}"
    runs = group.evidence.run_ids
    if key.startswith("cost/") and key != PARAMETERS:
        runs = frame.timed_runs(runs)
    values = frame.values(runs, tracked)
    if not values:
        elsewhere = frame.values(group.evidence.run_ids, tracked)
        return Entry(words=ELSEWHERE if elsewhere else _why_absent(frame, group, key))
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Entry(float(np.mean(values)), spread=spread, digits=digits)


def _why_absent(frame: Frame, group: Group, key: str) -> str:
    if not group.evidence.seeds:
        return missing_words(group)
    reasons = frame.reasons(group.evidence.run_ids, group.split)
    exact = reasons[reasons.index.isin([key, key.split("/")[0]])]
    reason = str(exact.iloc[0]) if len(exact) else "the runs hold no value"
    return reason if reason.startswith(("not measured", "superseded")) else f"not measured: {reason}"


def cost(frame: Frame, section: Section) -> Table | None:
    """Return what each trained method costs beside what it reaches; None where nothing was trained."""
    groups = [group for group in section.groups if method_kind(group.method) == "method"]
    metrics = [m for m in METRICS.values() if m.key in COST_BESIDE or m.question == COST]
    if not groups:
        return None

    def entries(group: Group) -> list[Entry]:
        return [metric_entry(frame, section, group, metric) for metric in metrics]

    on = "on the runs' machine, named below" if frame.machines == 1 else f"of runs on {frame.timed_on} alone"
    return section_table(
        section,
        "cost",
        "Cost beside quality",
        f"A suite gives every method the same images and the same number of them. Times are wall-clock {on}; "
        f"runs beside each other share it. {INTERVALS} ±: standard deviation over seeds (ddof = 1).",
        "Method",
        (metric.heading for metric in metrics),
        method_rows(groups, entries, [metric.direction for metric in metrics]),
        failure_notes(groups),
    )


def summary(frame: Frame, section: Section) -> Table:
    """Return every metric of the protocol, one row each, one column per method."""
    groups, recorded = section.groups, frame.metric_names(section.split)
    unread = any(len(g.pairs) and not read_mask(g.pairs).all() for g in groups)
    rows = []
    for metric in METRICS.values():
        if unread if metric.key == UNREAD else not metric.recorded_only or metric.key in recorded:
            entries = (metric_entry(frame, section, group, metric) for group in groups)
            label = heading_in(metric, section)
            rows.append(metric_row(groups, entries, label, metric.direction, metric.question))
    columns = (
        f"{g.title}, n {g.evidence.pairs:,} × {g.evidence.seeds_text} seeds, "
        f"{len(g.evidence.failures)} failed"
        for g in groups
    )
    return section_table(
        section,
        "summary",
        "All questions of the protocol",
        f"{INTERVALS} ±: standard deviation over seeds (ddof = 1), where a metric has no pairs. Each row is "
        "defined below.",
        "Metric",
        columns,
        rows,
        failure_notes(groups),
    )


def heading_in(metric: Metric, section: Section) -> str:
    """Return a metric's heading with the name of the instrument that read this section."""
    named_a = metric.heading.replace("estimator A", section.readers.a)
    return named_a.replace("estimator B", section.readers.b)


def metric_entry(frame: Frame, section: Section, group: Group, metric: Metric) -> Entry:
    """Return a metric of a method: with its interval, or where it has no pairs with its spread over seeds."""
    if not len(group.pairs) and not metric.key.startswith("cost/"):
        return Entry(words=missing_words(group))
    found = _interval_of(section, group, metric)
    return entry(found, metric.digits) if found else seed_entry(frame, group, metric.key, metric.digits)


def _interval_of(section: Section, group: Group, metric: Metric) -> Interval | None:
    if metric.key == "au/skill":
        return section.skills.get(group.method)
    if metric.key == UNREAD:
        return interval(group, weighted_mean(100.0 * ~read_mask(group.pairs)))
    if metric.pair_column:
        return column_interval(group, metric.pair_column, metric.scale)
    reading, _, name = metric.key.partition("/")
    suffix = {"au": "", "au_b": "-b"}.get(reading)
    found = None if suffix is None else section.intervals.get((group.method, f"{name}{suffix}"))
    return found and replace(found, estimate=found.estimate[-1], low=found.low[-1], high=found.high[-1])


def differences(section: Section, progress: Progress = progress_bar) -> Table | None:
    """Return other - EGGAN per AU with Holm-adjusted p-values; None without EGGAN or another method."""
    ours = named(section.groups, OUR_METHOD)
    others = [g for g in section.groups if g.method != OUR_METHOD and len(g.pairs)]
    if ours is None or not len(ours.pairs) or not others:
        return None
    found = compare(others, ours, progress)
    compared = [found.get(other.method, {}) for other in others]
    trained_once = [g.title for g in others if method_kind(g.method) == "method" and g.evidence.seeds == 1]
    rows = [
        TableRow(label, tuple(_difference_entry(own.get(metric), i) for own in compared), group=heading)
        for metric, heading in AU_HEADINGS.items()
        for i, label in enumerate(AU_LABELS)
    ]
    return section_table(
        section,
        "differences",
        "Paired differences from EGGAN",
        "Same pairs, same resamples. A positive MSE difference or a negative PCC difference is in EGGAN's "
        "favour. p: two-sided bootstrap; per AU adjusted with Holm's method over the 17 AUs, mean "
        f"unadjusted. {INTERVALS}",
        "AU",
        [_difference_heading(group, own) for group, own in zip(others, compared, strict=True)],
        rows,
        single_training_notes(trained_once, "EGGAN"),
    )


def _difference_heading(group: Group, compared: Mapping[AUMetric, Comparison]) -> str:
    """Return whose difference it is and on what: seeds that only one of both has are left out."""
    own = compared.get("mse")
    return f"{group.title} − EGGAN" + (f", n {own.pairs:,} × {own.seeds} seeds" if own else "")


def single_training_notes(titles: Sequence[str], of: str) -> list[str]:
    """Return what to know of differences from `of` of methods, by their titles, that were trained once."""
    if not titles:
        return []
    return [
        f"One training: {', '.join(titles)}. It is compared with every finished seed of {of}; the interval "
        "does not span the chance of that training and is too narrow for a claim."
    ]


def _difference_entry(comparison: Comparison | None, position: int) -> Entry:
    if comparison is None:
        return Entry(words="not measured: no common pairs")
    p_values = (*comparison.adjusted, comparison.difference.p_value[AU_COUNT])
    return with_p_value(entry(comparison.difference, 2, position), float(p_values[position]))


def estimator_agreement(section: Section) -> Table:
    """Return the methods' order by both estimators, and by the landmark reader where it read the edits, with
    Spearman's and Kendall's rank correlation.
    """
    rows, notes, read = [], [], readings_of(section.groups)
    every = agreement(section.groups, read)
    for metric, heading in AU_HEADINGS.items():
        means = every[metric].dropna(subset=read[:2])
        if len(read) < 2 or not len(means):  # one reading agrees with itself
            notes = ["not measured: these runs have no second AU estimator"]
            break
        ranks = means.round(6).rank(ascending=_direction(metric) == "min", method="min")
        for method in means.index:
            entries = [_known(v, 3) for v in means.loc[method]] + [_known(r, 0) for r in ranks.loc[method]]
            rows.append(TableRow(section.names.title(method), tuple(entries), method_kind(method), heading))
        notes += [
            f"{_pair_of(section, metric, one, other)}: {_rank_correlation(means, one, other)}"
            for one, other in combinations(read, 2)
        ]
    shown = read if len(read) > 1 else ["a", "b"]
    return section_table(
        section,
        "agreement",
        "Do the estimators agree?" if THIRD in read else "Do the two estimators agree?",
        "Means over AUs by both frozen estimators, and the rank that each gives a method. A method that one "
        "of them ranks much better than the other has fooled one of them."
        + (f" {LANDMARKS_CAPTION}" if THIRD in read else ""),
        "Method",
        (
            *(_reader_names(section)[reading] for reading in shown),
            *(RANKS[reading] for reading in shown),
        ),
        rows,
        notes,
    )


def _reader_names(section: Section) -> dict[str, str]:
    second = section.readers.b
    return {"a": section.readers.first, "b": second[:1].upper() + second[1:], THIRD: "Landmark reader"}


def _pair_of(section: Section, metric: AUMetric, one: str, other: str) -> str:
    """Return what a note compares: of the two estimators the metric alone, of the third whom with."""
    if THIRD not in (one, other):
        return metric.upper()
    return f"{metric.upper()}, {_reader_names(section)[one]} and landmarks"


def _known(value: float, digits: int) -> Entry:
    return DASH if math.isnan(value) else Entry(value, digits=digits)


def _rank_correlation(table: pd.DataFrame, one: str, other: str) -> str:
    means = table[[one, other]].dropna()
    if len(means) < 3 or (means.nunique() < 2).any():
        return f"rank agreement not measured: {len(means)} methods are too few"
    first, second = (means[reading].to_numpy() for reading in (one, other))
    ranked = f"Spearman {spearman(first, second):.2f}, Kendall {kendall(first, second):.2f}"
    return f"rank agreement over {len(means)} methods: {ranked}"
