"""Estimates with intervals from the pair frame, by the crossed bootstrap over sources, targets and seeds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks.scoring.pair_columns import au_matrix, has_reading, read_mask, target_poses
from eggan.evaluation.statistics import (
    Difference,
    Interval,
    Key,
    Statistic,
    crossed_bootstraps,
    holm,
    mean_over_aus,
    paired_difference,
    stacked,
    weighted_mean,
    weighted_mse,
    weighted_pcc,
)
from eggan.machine import allowed_cores
from eggan.randomness import numpy_generator
from reports.style.table import Evidence
from reports.suite.frame import Frame, Progress
from reports.suite.method_names import COPY, PASSTHROUGH, method_rank

RESAMPLES = 1000
THIRD = "landmarks"  # the reading of runs that had a third opinion on AUs
DIFFERENCE_RESAMPLES = 4000  # the smallest p-value is 2 / 4001: small enough to survive Holm over 17 AUs
LEVEL = 0.95
TOGETHER = 4  # methods that are compared on the same resamples at once: bounds memory
AUMetric = Literal["mse", "pcc"]
AU_METRICS: tuple[AUMetric, ...] = ("mse", "pcc")
Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Group:
    """The finished pairs of one method on one dataset and split, all seeds together, and what is missing.

    `columns` keeps the means of pair columns: several tables show the same ones.
    """

    dataset: str
    split: str
    method: str
    title: str
    pairs: pd.DataFrame
    evidence: Evidence
    learns_from: str = ""  # what its runs recorded of their training people; empty for a reference
    columns: dict[tuple[str, float], Interval | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def failure(self) -> str:
        """Why there is nothing to show; empty where there is something."""
        return "" if len(self.pairs) else "; ".join(self.evidence.failures) or "no pairs of this split"


def side_by_side(estimate: Callable[[Item], Found], items: Sequence[Item]) -> Iterator[Found]:
    """Yield `estimate(item)` of each item, in their order; as many are at work as there are cores.

    Each has a generator of its own, so that their order changes no digit. The products are too narrow for
    several threads of BLAS, which would wait for each other ten times as long as they work.
    """
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(allowed_cores()) as pool:
        yield from pool.map(estimate, items)


def pair_factors(pairs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the resampled factors of a pair table: source identity, target pose, seed."""
    return {
        "source": pairs["source_identity"].to_numpy(),
        "target": target_poses(pairs),
        "seed": pairs["seed"].to_numpy(),
    }


def groups_of(frame: Frame, dataset: str, split: str) -> list[Group]:
    """Return a group per method that the suite has on this dataset, failed ones included, in table order."""
    cells = frame.cells[frame.cells["dataset"] == dataset]
    return [
        _group(frame, cells, dataset, split, method)
        for method in sorted(set(cells["method"]), key=method_rank)
    ]


def _group(frame: Frame, cells: pd.DataFrame, dataset: str, split: str, method: str) -> Group:
    mine = cells[cells["method"] == method]
    finished = mine["state"] == "finished"
    done, lost = mine[finished], mine[~finished]
    pairs = frame.pairs[frame.pairs["run_id"].isin(done["run_id"]) & (frame.pairs["split"] == split)]
    failures = tuple(
        f"seed {seed} {state}" + (f": {reason}" if reason else "")
        for seed, state, reason in zip(lost["seed"], lost["state"], lost["reason"], strict=True)
    )
    per_seed = len(pairs) // max(1, len(done))
    evidence = Evidence(per_seed, len(done), len(mine), failures, tuple(mine["run_id"]))
    learns_from = " or ".join(sorted({text for text in mine["learns_from"].fillna("") if text}))
    title = frame.names.title(method)
    return Group(dataset, split, method, title, pairs.reset_index(drop=True), evidence, learns_from)


def with_average(statistic: Statistic) -> Statistic:
    """Append the mean over the defined AUs: (R, 17) -> (R, 18), all on the same resamples."""

    def both(weights: np.ndarray) -> np.ndarray:
        values = statistic(weights)
        return np.column_stack([values, mean_over_aus(lambda _: values)(weights)])

    return both


def au_statistics(pairs: pd.DataFrame, reading: str = "a") -> dict[AUMetric, Statistic]:
    """Return MSE and PCC between targets and a reading (`a`, `b`, `source_a`), per AU, (R, 17).

    Pairs that the instrument could not read have no weight; those of the source's reading are those of `a`.
    """
    kept = read_mask(pairs, "a" if reading == "source_a" else reading)
    truth, read = au_matrix(pairs, "target")[kept], au_matrix(pairs, reading)[kept]
    found: dict[AUMetric, Statistic] = {"mse": weighted_mse(truth, read), "pcc": weighted_pcc(truth, read)}
    return found if kept.all() else {metric: _of_kept(own, kept) for metric, own in found.items()}


def _of_kept(statistic: Statistic, kept: np.ndarray) -> Statistic:
    return lambda weights: statistic(weights[:, kept])


def intervals(
    group: Group, statistics: Mapping[Key, Statistic], factors: dict[str, np.ndarray] | None = None
) -> dict[Key, Interval]:
    """Return the estimate and interval of each of several statistics of a group.

    `factors`: what is resampled, by default the sources, targets and seeds of the group's pairs. What is
    drawn of them depends on the dataset and split alone, not on what is estimated: methods that were asked
    for the same pairs are estimated on the same resamples, whether together or one by one.
    """
    generator = numpy_generator("report", group.dataset, group.split)
    factors = factors or pair_factors(group.pairs)
    return crossed_bootstraps(statistics, factors, generator, RESAMPLES, LEVEL)


def interval(group: Group, statistic: Statistic, factors: dict[str, np.ndarray] | None = None) -> Interval:
    """Return what `intervals` does of one statistic."""
    return intervals(group, {"": statistic}, factors)[""]


def skill_statistic(pairs: pd.DataFrame) -> Statistic:
    """Return the statistic "skill over copy-source", (R,)."""
    error = mean_over_aus(au_statistics(pairs)["mse"])
    copied = mean_over_aus(au_statistics(pairs, "source_a")["mse"])
    return lambda weights: 1 - error(weights) / copied(weights)


def column_interval(group: Group, column: str, scale: float = 1.0) -> Interval | None:
    """Return the mean of a pair column times `scale` with its interval; None where it was not measured."""
    if (column, scale) not in group.columns:
        statistic = column_statistic(group.pairs, column, scale)
        group.columns[column, scale] = statistic and interval(group, statistic)
    return group.columns[column, scale]


def column_statistic(pairs: pd.DataFrame, column: str, scale: float = 1.0) -> Statistic | None:
    """Return the statistic "mean of a pair column times `scale`", (R,); None where it was not measured."""
    values = pd.to_numeric(pairs.get(column, pd.Series(dtype=float)), errors="coerce").to_numpy(np.float64)
    return None if np.isnan(values).all() else weighted_mean(scale * values)


def margin_statistic(group: Group, passthrough: Group) -> Statistic | None:
    """Return the statistic "how far a method is above every mix of copy-source and target passthrough", (R,);
    None where passthrough has no scores on the method's pairs.

    A coin that returns the source or the reference image moves on a straight line in the plane of Table 1's
    mean MSE and Table 2's accuracy. Expression gained (0 copy, 1 passthrough) plus identity kept (1 copy, 0
    passthrough) is 1 on that line; the margin is the sum minus 1. At or below 0 a method does no better than
    the coin.
    """
    theirs = passthrough.pairs.drop_duplicates("pair").set_index("pair")
    if not len(theirs) or not len(group.pairs) or not group.pairs["pair"].isin(theirs.index).all():
        return None
    theirs = theirs.loc[group.pairs["pair"]]
    error, copied = (mean_over_aus(au_statistics(group.pairs, r)["mse"]) for r in ("a", "source_a"))
    passed = mean_over_aus(weighted_mse(au_matrix(group.pairs, "target"), au_matrix(theirs, "a")))
    kept, passed_kept = (weighted_mean(pairs["same"].to_numpy(np.float64)) for pairs in (group.pairs, theirs))

    def margin(weights: np.ndarray) -> np.ndarray:
        start, floor = copied(weights), passed_kept(weights)
        gained = (start - error(weights)) / (start - passed(weights))
        return gained + (kept(weights) - floor) / (1 - floor) - 1

    return margin


@dataclass(frozen=True)
class Comparison:
    """A paired difference other - ours per AU and for the mean (18,); `adjusted`: Holm over the 17 AUs."""

    difference: Difference
    adjusted: np.ndarray
    pairs: int
    seeds: int


def compare(
    others: Sequence[Group], ours: Group, progress: Progress
) -> dict[str, dict[AUMetric, Comparison]]:
    """Return `other` - `ours` on their common pairs by method and metric; nothing where they have none.

    Seeds are matched by number; a side with one seed (a reference) is compared with every seed of the other.
    Methods that have the same pairs and seeds are compared together, since their resamples are the same.
    """
    alike: dict[bytes, list[tuple[Group, pd.DataFrame, pd.DataFrame]]] = {}
    for other in others:
        first, second = match_pairs(other.pairs, ours.pairs)
        both = read_mask(first) & read_mask(second)
        first, second = first[both], second[both]
        if len(first):
            design = np.stack([second["pair"], first["seed"], second["seed"]]).tobytes()
            alike.setdefault(design, []).append((other, first, second))
    batches = [
        own[start : start + TOGETHER] for own in alike.values() for start in range(0, len(own), TOGETHER)
    ]
    compared = side_by_side(_compare_alike, batches)
    steps = progress(compared, len(batches), f"paired differences on {ours.dataset}-{ours.split}")
    return {method: found for each in steps for method, found in each.items()}


def _compare_alike(
    matched: Sequence[tuple[Group, pd.DataFrame, pd.DataFrame]],
) -> dict[str, dict[AUMetric, Comparison]]:
    """Return the comparisons of methods with tables of our pairs that are the same, and in the same order."""
    (group, first, second), count = matched[0], len(matched)
    ours = _both_metrics(second)
    others = stacked([_both_metrics(pairs) for _, pairs, _ in matched])
    generator = numpy_generator("report", "difference", group.dataset, group.split)
    both = (others, lambda weights: np.tile(ours(weights), count))
    difference, factors = difference_of(first, second, both, generator)
    seeds = len(np.unique(factors["seed"]))
    parts = iter([difference.part(slice(start, start + 18)) for start in range(0, 36 * count, 18)])
    return {
        other.method: {
            metric: Comparison(own, holm(own.p_value[:17]), len(first) // seeds, seeds)
            for metric, own in zip(AU_METRICS, parts, strict=False)
        }
        for other, _, _ in matched
    }


def _both_metrics(pairs: pd.DataFrame) -> Statistic:
    """Return MSE and PCC with their means, (R, 36)."""
    return stacked([with_average(statistic) for statistic in au_statistics(pairs).values()])


def difference_of(
    first: pd.DataFrame, second: pd.DataFrame, statistics: Sequence[Statistic], generator: np.random.Generator
) -> tuple[Difference, dict[str, np.ndarray]]:
    """Return the paired difference of two statistics of two matched pair tables, and the resampled factors.

    Seeds are resampled where either table has several.
    """
    factors = pair_factors(first if first["seed"].nunique() > 1 else second)
    one, two = statistics
    return paired_difference(one, two, factors, generator, DIFFERENCE_RESAMPLES, LEVEL), factors


def match_pairs(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of two pair tables in matching order: by (pair, seed), by pair if one has one seed."""
    if not len(first) or not len(second):
        return first.iloc[:0], second.iloc[:0]
    single = first["seed"].nunique() == 1 or second["seed"].nunique() == 1
    keys = ["pair"] if single else ["pair", "seed"]
    left = first[keys].assign(left=np.arange(len(first)))
    right = second[keys].assign(right=np.arange(len(second)))
    both = left.merge(right, on=keys).sort_values(["right", "left"])
    one, two = first.iloc[both["left"]], second.iloc[both["right"]]
    return one.reset_index(drop=True), two.reset_index(drop=True)


def readings_of(groups: list[Group]) -> list[str]:
    """Return which instruments read edits of any of these methods, of `a`, `b` and `landmarks`."""
    return [reading for reading in ("a", "b", THIRD) if any(has_reading(g.pairs, reading) for g in groups)]


def agreement(groups: list[Group], readings: list[str]) -> dict[AUMetric, pd.DataFrame]:
    """Return the mean MSE and PCC by each reading, by method, for methods that have pairs; NaN where an
    instrument did not read a method's edits.
    """
    scored = {group.method: group.pairs for group in groups if len(group.pairs)}
    means = [[_means(pairs, reading) for reading in readings] for pairs in scored.values()]
    return {
        metric: pd.DataFrame([[own[metric] for own in row] for row in means], list(scored), readings)
        for metric in AU_METRICS
    }


def _means(pairs: pd.DataFrame, reading: str) -> dict[AUMetric, float]:
    if not has_reading(pairs, reading):
        return dict.fromkeys(AU_METRICS, float("nan"))
    once = np.ones((1, len(pairs)))
    statistics = au_statistics(pairs, reading).items()
    return {metric: float(mean_over_aus(statistic)(once)[0]) for metric, statistic in statistics}


def named(groups: list[Group], method: str) -> Group | None:
    """Return the group of a method, None where the suite has none."""
    return next((group for group in groups if group.method == method), None)


def trivial(groups: list[Group]) -> tuple[Group | None, Group | None]:
    """Return the groups of copy-source and target passthrough."""
    return named(groups, COPY), named(groups, PASSTHROUGH)
