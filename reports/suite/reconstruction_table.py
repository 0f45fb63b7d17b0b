"""Self-reconstruction: what each method makes of the sources when it is asked to leave them as they are."""

import numpy as np
import pandas as pd

from eggan.evaluation.statistics import Interval, weighted_mean
from reports.style.metric_catalogue import METRICS, SELF_RECONSTRUCTION, Metric
from reports.style.table import Entry, Evidence, Table, TableRow, mark_best_of_columns
from reports.suite.estimates import Group, interval
from reports.suite.frame import Frame
from reports.suite.method_names import method_kind
from reports.suite.sections import Section
from reports.suite.suite_tables import INTERVALS, entry, failure_notes, missing_words, section_table

OLDER = "scored before the protocol asked for it"


def self_reconstruction(frame: Frame, section: Section) -> Table | None:
    """Return a row per trained method; None where nothing was trained."""
    groups = [group for group in section.groups if method_kind(group.method) == "method"]
    if not groups:
        return None
    recorded = frame.metric_names(section.split)  # of MS-SSIM's windows those that some run names
    metrics = [
        metric
        for metric in METRICS.values()
        if metric.question == SELF_RECONSTRUCTION and (metric.column != "msssim" or metric.key in recorded)
    ]
    rows, notes = [], []
    for group in groups:
        sources = frame.reconstruction[
            frame.reconstruction["run_id"].isin(group.evidence.run_ids)
            & (frame.reconstruction["split"] == section.split)
        ]
        reasons = frame.reasons(group.evidence.run_ids, section.split)
        reasons = reasons[reasons.index.str.startswith("reconstruction/")]
        if len(sources):
            rows.append(_row(group, sources, metrics, reasons))
            continue
        words, note = _absence(group, reasons)
        rows.append(TableRow(group.title, (Entry(words=words),) * len(metrics), evidence=group.evidence))
        notes += [f"{group.title}: {note}"] if note else []
    return section_table(
        section,
        "reconstruction",
        "Self-reconstruction",
        "Each source once, asked for the AUs (or the expression) that it shows: what is lost before anything "
        f"is edited. Pixels are compared with the source itself. n: sources. {INTERVALS}",
        "Method",
        (metric.heading for metric in metrics),
        mark_best_of_columns(rows, [metric.direction for metric in metrics]),
        (*notes, *failure_notes(groups)),
    )


def _row(group: Group, sources: pd.DataFrame, metrics: list[Metric], reasons: pd.Series) -> TableRow:
    seeds, owed = sources["seed"].nunique(), group.evidence
    evidence = Evidence(len(sources) // seeds, seeds, owed.owed, owed.failures, owed.run_ids)
    entries = []
    for metric in metrics:
        why = reasons[reasons.index.str.startswith(metric.key)]
        words = f"not measured: {why.iloc[0]}" if len(why) else "not measured"
        entries.append(entry(_interval(group, sources, metric), metric.digits, words=words))
    return TableRow(group.title, tuple(entries), evidence=evidence)


def _absence(group: Group, reasons: pd.Series) -> tuple[str, str]:
    """Return the words of an empty row and their reason: a dash where a method redraws nothing."""
    if not group.evidence.seeds:
        return missing_words(group), ""
    return ("–", str(reasons.iloc[0])) if len(reasons) else ("not measured", OLDER)


def _interval(group: Group, sources: pd.DataFrame, metric: Metric) -> Interval | None:
    """Return the mean over sources with its interval; sources without a value have no weight."""
    known = sources[sources[metric.column].notna()]
    if not len(known):
        return None
    factors = {"source": known["source_identity"].to_numpy(), "seed": known["seed"].to_numpy()}
    values = metric.scale * known[metric.column].to_numpy(np.float64)
    return interval(group, weighted_mean(values), factors)
