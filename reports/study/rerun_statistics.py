"""Statistics of re-runs: scores on fresh seeds with intervals, selection bias, and rankings by budget."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from eggan.evaluation.statistics import (
    Difference,
    Interval,
    Statistic,
    crossed_bootstrap,
    kendall,
    paired_difference,
    spearman,
    weighted_mean,
)
from eggan.randomness import numpy_generator
from studies.study_config import ACCURACY, ERROR, StudyConfig

RESAMPLES = 2000


def statistic(pairs: pd.DataFrame, metric: str) -> Statistic:
    """Return AU MSE, AU skill or identity accuracy (percent) as a function of weights."""
    if metric == ACCURACY:
        return weighted_mean(100 * pairs["same"].to_numpy(np.float64))
    error = weighted_mean(pairs["error"].to_numpy(np.float64))
    if metric == ERROR:
        return error
    copied = weighted_mean(pairs["copied"].to_numpy(np.float64))
    return lambda weights: 1 - error(weights) / copied(weights)


def of_trial(pairs: pd.DataFrame, trial: int, images: int) -> pd.DataFrame:
    """Return the pairs of one trial's re-runs on one budget, in a fixed order."""
    mine = pairs[(pairs["trial"] == trial) & (pairs["images"] == images)]
    return mine.sort_values(["seed", "pair"]).reset_index(drop=True)


def estimate(pairs: pd.DataFrame, metric: str, *key: str | int) -> Interval:
    """Return a score over all seeds with its 95 % crossed bootstrap interval; `key` seeds the resampling."""
    generator = numpy_generator("fresh", metric, *key)
    return crossed_bootstrap(statistic(pairs, metric), _factors(pairs), generator, RESAMPLES)


def compare(first: pd.DataFrame, second: pd.DataFrame, metric: str, *key: str | int) -> Difference | None:
    """Return first - second on the pairs and seeds that both have; None where they share none."""
    both = first.merge(second, on=["seed", "pair"], suffixes=("", "_other"))
    if not len(both):
        return None
    columns = ["error", "copied", "same"]
    other = both[[f"{name}_other" for name in columns]].set_axis(columns, axis=1)
    generator = numpy_generator("fresh difference", metric, *key)
    one, two = statistic(both, metric), statistic(other, metric)
    return paired_difference(one, two, _factors(both), generator, RESAMPLES)


def _factors(pairs: pd.DataFrame) -> dict[str, np.ndarray]:
    target = pairs["target_row"].astype(str)  # all that re-runs of earlier versions say of it
    if "target_pose" in pairs:
        target = pairs["target_pose"].fillna(target)
    return {
        "source": pairs["source_identity"].to_numpy(),
        "target": target.to_numpy(),
        "seed": pairs["seed"].to_numpy(),
    }


def fresh_trials(study: StudyConfig, reruns: pd.DataFrame) -> pd.DataFrame:
    """Return the finished re-runs on the study's own budget with seeds that no trial was trained with."""
    own = (reruns["images"] == study.images) & ~reruns["seed"].isin(study.seeds)
    return reruns[own & (reruns["state"] == "finished")]


@dataclass(frozen=True)
class RankCheck:
    """Trials ranked by one score in the study and again on another budget (means over `seeds`)."""

    metric: str
    images: int
    seeds: tuple[int, ...]
    trials: tuple[int, ...]
    small: tuple[float, ...]
    large: tuple[float, ...]

    def ranks(self, values: Sequence[float]) -> list[int]:
        """Return the ranks, 1 for the best; equal values share the better one."""
        signs = 1 if self.metric == ERROR else -1
        return [1 + sum(signs * other < signs * value for other in values) for value in values]

    @property
    def spearman(self) -> float:
        """Spearman's rank correlation; NaN below two trials or without variance."""
        return spearman(np.asarray(self.small), np.asarray(self.large))

    @property
    def kendall(self) -> float:
        """Kendall's tau-b; NaN below two trials or without variance."""
        return kendall(np.asarray(self.small), np.asarray(self.large))

    @property
    def agrees(self) -> bool:
        """Whether both budgets give the same order."""
        return self.ranks(self.small) == self.ranks(self.large)


def rank_checks(study: StudyConfig, frame: pd.DataFrame, reruns: pd.DataFrame) -> list[RankCheck]:
    """Return a check per other budget and score, where at least two trials were re-run with equal seeds."""
    metrics = study.headline
    other = reruns[(reruns["images"] != study.images) & (reruns["state"] == "finished")]
    checks = []
    for images, rows in other.groupby("images"):
        seeds, trials = _common(rows)
        if len(trials) < 2:
            continue
        rows = rows[rows["seed"].isin(seeds) & rows["trial"].isin(trials)]
        large, small = rows.groupby("trial"), frame.set_index("number").loc[list(trials)]
        for metric in metrics:
            means = tuple(float(large[metric].mean()[trial]) for trial in trials)
            known = tuple(float(value) for value in small[metric])
            checks.append(RankCheck(metric, int(str(images)), seeds, trials, known, means))
    return checks


def _common(rows: pd.DataFrame) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the seeds that most trials have, and the trials that have all of these seeds."""
    seeds_of = {int(str(trial)): frozenset(group["seed"]) for trial, group in rows.groupby("trial")}
    choices = {seeds: sum(seeds <= mine for mine in seeds_of.values()) for seeds in seeds_of.values()}
    seeds = max(choices, key=lambda chosen: (choices[chosen], len(chosen), sorted(chosen)))
    trials = tuple(sorted(trial for trial, mine in seeds_of.items() if seeds <= mine))
    return tuple(sorted(int(seed) for seed in seeds)), trials
