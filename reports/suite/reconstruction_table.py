"""Self-reconstruction: what each method makes of the sources when it is asked to leave them as they are."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from eggan.evaluation.statistics import Interval, crossed_bootstrap, weighted_mean
from eggan.randomness import numpy_generator
from reports.style.metric_catalogue import AS_IT_IS, METRICS, Metric, method_kind
from reports.style.table import Entry, Evidence, Row, Table
from reports.suite.estimates import LEVEL, RESAMPLES, Group
from reports.suite.frame import Frame
from reports.suite.sections import Section
from reports.suite.suite_tables import INTERVALS, entry, failure_notes, missing_words, where, with_best

COLUMNS: Mapping[str, str] = {  # summary metric -> column of the cells' tables
    "accuracy": "same",
    "similarity": "similarity",
    "psnr": "psnr",
    "lpips": "lpips",
    "au_mse": "au_mse",
}
OLDER = "scored before the protocol asked for it"


def self_reconstruction(frame: Frame, section: Section) -> Table | None:
    """Return a row per trained method; None where nothing was trained."""
    groups = [group for group in section.groups if method_kind(group.method) == "method"]
    if not groups:
        return None
    sources = frame.reconstruction[frame.reconstruction["split"] == section.split]
    metrics = _shown(frame, section)
    rows, notes = [], []
    for group in groups:
        mine = sources[sources["run_id"].isin(group.evidence.run_ids)]
        row, note = _row(frame, group, mine, metrics)
        rows.append(row)
        notes += [note] if note else []
    return Table(
        f"reconstruction-{section.key}",
        f"Self-reconstruction ({where(section)})",
        "Each source once, asked for the AUs (or the expression) that it shows: what is lost before anything "
        f"is edited. Pixels are compared with the source itself. n: sources. {INTERVALS}",
        "Method",
        tuple(metric.heading for metric in metrics),
        tuple(with_best(rows, [metric.direction for metric in metrics], "")),
        (*notes, *failure_notes(groups)),
    )


def _shown(frame: Frame, section: Section) -> list[Metric]:
    """Return the metrics of the row; of MS-SSIM's windows those that some run of the section names."""
    names = pd.concat([frame.metrics["metric"], frame.not_measured["metric"]])
    known = set(names.str.removeprefix(f"{section.split}/"))
    mine = [metric for metric in METRICS if metric.question == AS_IT_IS]
    return [metric for metric in mine if "msssim" not in metric.key or metric.key in known]


def _row(frame: Frame, group: Group, sources: pd.DataFrame, metrics: list[Metric]) -> tuple[Row, str]:
    """Return a method's row, and the note that says why it has none."""
    title = group.title
    if not len(sources):
        words, note = _absence(frame, group)
        entries = tuple(Entry(words=words) for _ in metrics)
        return Row(title, entries, evidence=group.evidence), f"{title}: {note}" if note else ""
    seeds = sources["seed"].nunique()
    evidence = Evidence(
        len(sources) // seeds, seeds, group.evidence.owed, group.evidence.failures, group.evidence.run_ids
    )
    entries = tuple(
        entry(_interval(group, sources, metric), metric.digits, words=_unmeasured(frame, group, metric))
        for metric in metrics
    )
    return Row(title, entries, evidence=evidence), ""


def _absence(frame: Frame, group: Group) -> tuple[str, str]:
    """Return the words of an empty row and their reason: a dash where a method redraws nothing."""
    if not group.evidence.seeds:
        return missing_words(group), ""
    told = _reasons(frame, group)
    return ("–", str(told.iloc[0])) if len(told) else ("not measured", OLDER)


def _unmeasured(frame: Frame, group: Group, metric: Metric) -> str:
    told = _reasons(frame, group, metric.key)
    return f"not measured: {told.iloc[0]}" if len(told) else "not measured"


def _reasons(frame: Frame, group: Group, key: str = "reconstruction/") -> pd.Series:
    mine = frame.not_measured[frame.not_measured["run_id"].isin(group.evidence.run_ids)]
    return mine.loc[mine["metric"].str.startswith(f"{group.split}/{key}"), "reason"]


def _interval(group: Group, sources: pd.DataFrame, metric: Metric) -> Interval | None:
    """Return the mean over sources with its interval; sources without a value have no weight."""
    name = metric.key.partition("/")[2]
    values = sources[COLUMNS.get(name, "msssim")].to_numpy(np.float64)
    known = ~np.isnan(values)
    if not known.any():
        return None
    factors = {
        "source": sources["source_identity"].to_numpy()[known],
        "seed": sources["seed"].to_numpy()[known],
    }
    generator = numpy_generator("report", metric.key, group.dataset, group.split, group.method)
    return crossed_bootstrap(
        weighted_mean(metric.scale * values[known]), factors, generator, RESAMPLES, LEVEL
    )
