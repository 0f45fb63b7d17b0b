"""What each part of EGGAN or EGGAN-W does here: how every metric changes without it, on the same pairs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from benchmarks.scoring.pair_columns import read_mask
from benchmarks.suites.ablated_methods import EGGAN, UNPAIRED, VARIANTS, Ablation
from eggan.aus import AU_COLUMNS
from eggan.evaluation.statistics import Difference, Interval, Statistic, holm, mean_over_aus, stacked
from eggan.progress import progress_bar
from eggan.randomness import numpy_generator
from reports.style.metric_catalogue import METRICS, Metric
from reports.style.table import Entry, Table, TableRow
from reports.suite.estimates import (
    Group,
    au_statistics,
    column_statistic,
    difference_of,
    interval,
    match_pairs,
    named,
    side_by_side,
    skill_statistic,
)
from reports.suite.frame import Frame, Progress
from reports.suite.method_names import method_title
from reports.suite.sections import Section
from reports.suite.suite_tables import (
    entry,
    failure_notes,
    heading_in,
    missing_words,
    section_table,
    single_training_notes,
    with_p_value,
)

KEYS = ("au/mse", "au/pcc", "au/skill", "identity/accuracy", "pixels/lpips", "pixels/psnr", "pixels/msssim")
PAPERS, FURTHER = "Change without a part, as in the paper's Fig. 4", "Change without a part, beyond the paper"
OWN = "Change without a part"


@dataclass(frozen=True)
class Effects:
    """The changes that one variant makes: variant - full, an entry per metric of `Ablations.metrics`.

    `adjusted`: p-values after Holm over the variants of the section, metric by metric. `seeds`: finished
    trainings of the variant or of the full method, whichever has fewer.
    """

    difference: Difference
    adjusted: np.ndarray
    seeds: int


@dataclass(frozen=True)
class Ablations:
    """All ablations of a section.

    `of`: the method that they lack a part of, EGGAN or EGGAN-W; `full`: its group, None where it has no
    scores; `groups`: the variants', failed ones included. `unmeasured`: why a metric that the full method has
    no value of has none, by its key without the split.
    """

    of: str
    section: Section
    metrics: tuple[Metric, ...]
    full: Group | None
    groups: tuple[Group, ...]
    effects: Mapping[str, Effects]
    unmeasured: Mapping[str, str] = field(default_factory=dict)

    def position(self, key: str) -> int:
        """Return where the metric whose key starts with `key` stands, -1 where it was not measured."""
        return next((i for i, metric in enumerate(self.metrics) if metric.key.startswith(key)), -1)


def ablations_among(methods: Collection[str]) -> tuple[str, tuple[Ablation, ...]] | None:
    """Return the method whose ablations are among `methods`, and these; None where none is.

    A suite has those of one method; where somebody added another's, the method that is there itself counts.
    EGGAN-W without true edits is one of its ablations beside those of its settings.
    """
    own = [variant.of for variant in VARIANTS if variant.name in methods]
    if not own:
        return None
    of = next((method for method in own if method in methods), own[0])
    every = (UNPAIRED, *VARIANTS)
    return of, tuple(one for one in every if one.of == of and one.name in methods)


def ablations_of(frame: Frame, section: Section, progress: Progress = progress_bar) -> Ablations | None:
    """Return the ablations of a section; None where the suite has none."""
    found_here = ablations_among([group.method for group in section.groups])
    if found_here is None:
        return None
    of, parts = found_here
    names = {part.name for part in parts}
    groups = tuple(group for group in section.groups if group.method in names)
    full = named(section.groups, of)
    if full is None or not len(full.pairs):
        return Ablations(of, section, (), None, groups, {})
    metrics = _measured(frame, section, full)
    differences = side_by_side(lambda group: _difference(group, full, metrics), groups)
    steps = progress(differences, len(groups), f"differences of the ablations on {section.key}")
    found = [(group, d) for group, d in zip(groups, steps, strict=True) if d is not None]
    adjusted = _adjusted([difference.p_value for _, difference in found])
    effects = {
        group.method: Effects(difference, p, min(group.evidence.seeds, full.evidence.seeds))
        for (group, difference), p in zip(found, adjusted, strict=True)
    }
    reasons = frame.reasons(full.evidence.run_ids, section.split).to_dict()
    unmeasured = {str(key): why for key, why in reasons.items() if str(key).startswith(KEYS)}
    return Ablations(of, section, metrics, full, groups, effects, unmeasured)


def _adjusted(p_values: list[np.ndarray]) -> list[np.ndarray]:
    """Return the variants' p-values (M,) after Holm over the variants, metric by metric."""
    return list(np.array([holm(column) for column in np.array(p_values).T]).T) if p_values else []


def _measured(frame: Frame, section: Section, full: Group) -> tuple[Metric, ...]:
    """Return the metrics of `KEYS` that the runs of this section hold."""
    tracked = set(frame.metrics["metric"].str.removeprefix(f"{section.split}/"))
    windows = [m for m in METRICS.values() if not m.recorded_only or m.key in tracked]
    chosen = [m for key in KEYS for m in windows if m.key.startswith(key)]
    return tuple(m for m in chosen if metric_statistic(full.pairs, m) is not None)


def metric_statistic(pairs: pd.DataFrame, metric: Metric) -> Statistic | None:
    """Return a metric of a pair table as a statistic, (R,), in the metric's unit; None where not measured."""
    if metric.pair_column:
        return column_statistic(pairs, metric.pair_column, metric.scale)
    if metric.key == "au/skill":
        return skill_statistic(pairs)
    return mean_over_aus(au_statistics(pairs)["mse" if metric.key == "au/mse" else "pcc"])


def _metrics_of(pairs: pd.DataFrame, metrics: tuple[Metric, ...]) -> Statistic:
    """Return the metrics side by side, (R, M), all on the same resamples; NaN for one without values."""
    parts = [metric_statistic(pairs, metric) for metric in metrics]
    undefined: Statistic = lambda weights: np.full(len(weights), np.nan)  # noqa: E731
    return stacked([part or undefined for part in parts])


def _difference(variant: Group, full: Group, metrics: tuple[Metric, ...]) -> Difference | None:
    """Return variant - full; a variant with one seed is compared with every seed of the full one."""
    first, second = match_pairs(variant.pairs, full.pairs)
    if not len(first):
        return None
    first, second = _read_in_both(first, second)
    generator = numpy_generator("report", "ablation", full.dataset, full.split, variant.method)
    statistics = [_metrics_of(pairs, metrics) for pairs in (first, second)]
    return difference_of(first, second, statistics, generator)[0]


def _read_in_both(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Blank the AU readings of matched pairs that the instrument could not read in one of the two tables."""
    both = read_mask(first) & read_mask(second)
    columns = [f"a_{column}" for column in AU_COLUMNS]
    one, two = (pairs.assign(**{c: pairs[c].where(both) for c in columns}) for pairs in (first, second))
    return one, two


def ablation_table(found: Ablations) -> Table:
    """Return the change of each metric without each part, the full method's own values above."""
    in_paper, full = {variant.name: variant.in_paper for variant in VARIANTS}, method_title(found.of)
    rows = [_full_row(found.full, found.metrics)] if found.full else []
    for group in found.groups:
        heading = OWN if found.of != EGGAN else PAPERS if in_paper[group.method] else FURTHER
        rows.append(TableRow(group.title, _changes(found, group), group=heading, evidence=group.evidence))
    return section_table(
        found.section,
        "ablations",
        f"{full} without its parts",
        f"Change of each metric when a part is left out: variant − {full} on the same pairs and the same "
        f"resamples; a change in the direction of the column's arrow means that {full} is better without the "
        "part. Brackets: 95 % crossed bootstrap over source identities × targets × seeds. p: two-sided "
        "bootstrap, adjusted with Holm's method over the variants of a column; bold: p < .05.",
        "Without",
        (heading_in(metric, found.section) for metric in found.metrics),
        rows,
        (*_notes(found), *failure_notes(found.groups)),
    )


def _full_row(full: Group, metrics: tuple[Metric, ...]) -> TableRow:
    values = interval(full, _metrics_of(full.pairs, metrics))
    return TableRow(f"{full.title}, all parts (values)", _entries(values, metrics), evidence=full.evidence)


def _entries(values: Interval, metrics: tuple[Metric, ...]) -> tuple[Entry, ...]:
    return tuple(entry(values, metric.digits, i) for i, metric in enumerate(metrics))


def _changes(found: Ablations, group: Group) -> tuple[Entry, ...]:
    effects = found.effects.get(group.method)
    if effects is None:
        words = "not measured: no common pairs" if len(group.pairs) else missing_words(group)
        return (Entry(words=words),) * len(found.metrics)
    plain = _entries(effects.difference, found.metrics)
    return tuple(with_p_value(e, float(p)) for e, p in zip(plain, effects.adjusted, strict=True))


def _notes(found: Ablations) -> list[str]:
    """Return what to know of variants with one training, and why a metric has no column."""
    single = [method_title(method) for method, effects in found.effects.items() if effects.seeds == 1]
    unmeasured = [
        f"{METRICS[key].title if key in METRICS else key}: {reason}"
        for key, reason in found.unmeasured.items()
        if found.position(key) < 0
    ]
    return [*single_training_notes(single, method_title(found.of)), *unmeasured]
