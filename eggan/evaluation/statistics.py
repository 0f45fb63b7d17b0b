"""Intervals and tests that know the design: source identities x targets x seeds.

Pairs share faces, targets and trainings, so they are not independent: a per-image bootstrap gives intervals
that are far too narrow. The crossed ("pigeonhole") bootstrap (Owen 2007, Sec. 2) resamples the levels of each
factor independently and weights a cell by the product of its levels' multiplicities. A statistic is a
function of weights, so that all resamples are a few matrix products.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Key = TypeVar("Key")
Statistic = Callable[[np.ndarray], np.ndarray]  # weights (R, N) -> (R,) or (R, A)
Levels = list[tuple[int, np.ndarray]]  # of each factor: how many levels, and which one each cell has, (N,)
CHUNK = 250  # resamples per matrix product: bounds memory at 250 x N weights


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; arrays of the statistic's shape, () or (A,)."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    resamples: int


@dataclass(frozen=True)
class Difference(Interval):
    """A paired difference (first - second) with its interval and two-sided bootstrap p-value."""

    p_value: np.ndarray

    def part(self, columns: slice) -> "Difference":
        """Return the difference of some columns of a statistic (A,)."""
        ends = (self.estimate[columns], self.low[columns], self.high[columns])
        return Difference(*ends, self.level, self.resamples, self.p_value[columns])


def weighted_mean(values: np.ndarray) -> Statistic:
    """Return the statistic "weighted mean of `values`", (N,) or (N, A); rows with NaN are left out per
    column.
    """
    values = np.asarray(values, np.float64)
    absent, filled = np.isnan(values), np.nan_to_num(values)
    if not absent.any():  # the weights are whole numbers: one sum for all columns has the same digits
        return lambda weights: _ratio(weights @ filled, weights.sum(axis=1, keepdims=values.ndim > 1))
    present = (~absent).astype(np.float64)
    return lambda weights: _ratio(weights @ filled, weights @ present)


def weighted_mse(truth: np.ndarray, reading: np.ndarray) -> Statistic:
    """Return the statistic "per-AU mean squared error" of two (N, A) matrices."""
    return weighted_mean(np.square(np.asarray(reading, np.float64) - np.asarray(truth, np.float64)))


def weighted_pcc(truth: np.ndarray, reading: np.ndarray) -> Statistic:
    """Return the statistic "per-AU Pearson correlation" of two (N, A) matrices; NaN without variance."""
    x = np.asarray(truth, np.float64) - np.mean(truth, axis=0)
    y = np.asarray(reading, np.float64) - np.mean(reading, axis=0)
    moments = np.concatenate([x, y, x * x, y * y, x * y], axis=1)

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1, keepdims=True)
        mx, my, mxx, myy, mxy = np.split(_ratio(weights @ moments, total), 5, axis=1)
        variance = (mxx - mx * mx) * (myy - my * my)
        defined = variance > 1e-18
        return np.where(defined, mxy - mx * my, np.nan) / np.sqrt(np.where(defined, variance, 1.0))

    return statistic


def mean_over_aus(statistic: Statistic) -> Statistic:
    """Return the statistic's mean over the AUs on which it is defined: (R, A) -> (R,)."""

    def averaged(weights: np.ndarray) -> np.ndarray:
        values = statistic(weights)
        present = ~np.isnan(values)
        return _ratio(np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1))

    return averaged


def stacked(statistics: Sequence[Statistic]) -> Statistic:
    """Return the columns of several statistics as one, (R, K), all on the same resamples."""
    return lambda weights: np.column_stack([statistic(weights) for statistic in statistics])


def crossed_weights(
    factors: Mapping[str, np.ndarray], resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Return resampling weights (R, N): the product over the factors of each level's multiplicity.

    `factors`: name -> level of each cell, (N,). From a factor with n levels, n - 1 are drawn (Rao and Wu
    1988, Sec. 2): n draws would understate the variance of a mean over few levels (9 identities, 3 seeds) by
    (n - 1) / n. A factor with one level is a constant.
    """
    return _weights(_levels(factors), resamples, generator)


def _levels(factors: Mapping[str, np.ndarray]) -> Levels:
    """Return the factors that have something to resample; none at all is a `ValueError`."""
    found = []
    for name, labels in factors.items():
        levels, codes = np.unique(np.asarray(labels), return_inverse=True)
        if not len(levels):
            raise ValueError(f"factor {name!r} has no cells")
        if len(levels) > 1:
            found.append((len(levels), codes))
    if not found:
        raise ValueError("every factor has a single level: there is nothing to resample")
    return found


def _weights(levels: Levels, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Return the product over the factors of each level's multiplicity, (R, N), in memory by cell."""
    product: np.ndarray | None = None
    for count, codes in levels:
        # By level first: whole rows are copied, not single numbers
        multiplicity = _multiplicities(count, resamples, generator)[codes]
        if product is None:
            product = multiplicity
        else:
            product *= multiplicity  # in place: these arrays are what a bootstrap's time goes into
    return np.asarray(product).T


def _multiplicities(count: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Return how often each of `count` levels is among `count - 1` drawn ones, float64 (count, R).

    They are multinomial; NumPy's own multinomial goes from level to level, which takes ten times as long.
    """
    drawn = generator.integers(count, size=(count - 1, resamples))
    drawn *= resamples
    drawn += np.arange(resamples)
    counts = np.bincount(drawn.ravel(), minlength=count * resamples)
    return counts.reshape(count, resamples).astype(np.float64)


def resample(
    statistic: Statistic, factors: Mapping[str, np.ndarray], generator: np.random.Generator, resamples: int
) -> np.ndarray:
    """Return the statistic on `resamples` crossed resamples: (R,) or (R, A); NaN where it is undefined."""
    levels = _levels(factors)
    sizes = [min(CHUNK, resamples - start) for start in range(0, resamples, CHUNK)]
    return np.concatenate([statistic(_weights(levels, size, generator)) for size in sizes])


def crossed_bootstrap(
    statistic: Statistic,
    factors: Mapping[str, np.ndarray],
    generator: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Return the estimate on all cells and its percentile interval under the crossed bootstrap.

    `factors`: such as {"source": (N,), "target": (N,), "seed": (N,)}. Resamples on which the statistic is not
    defined (no cell, no variance) are left out.
    """
    return crossed_bootstraps({"": statistic}, factors, generator, resamples, level)[""]


def crossed_bootstraps(
    statistics: Mapping[Key, Statistic],
    factors: Mapping[str, np.ndarray],
    generator: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[Key, Interval]:
    """Return what `crossed_bootstrap` does of each of several statistics, from the same resamples."""
    estimates = {name: _on_all(statistic, factors) for name, statistic in statistics.items()}
    draws = resample(stacked(list(statistics.values())), factors, generator, resamples)
    ends = np.cumsum([estimate.size for estimate in estimates.values()])[:-1]
    lows, highs = (np.split(end, ends) for end in _percentiles(draws, level))
    return {
        name: Interval(estimate, low.reshape(estimate.shape), high.reshape(estimate.shape), level, resamples)
        for (name, estimate), low, high in zip(estimates.items(), lows, highs, strict=True)
    }


def paired_difference(
    first: Statistic,
    second: Statistic,
    factors: Mapping[str, np.ndarray],
    generator: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
) -> Difference:
    """Return first - second on the same cells, with both evaluated on the same resamples.

    The p-value is twice the smaller share of resampled differences on either side of zero, with one added to
    numerator and denominator, so that it is never 0.
    """

    def difference(weights: np.ndarray) -> np.ndarray:
        return first(weights) - second(weights)

    draws = resample(difference, factors, generator, resamples)
    low, high = _percentiles(draws, level)
    estimate = _on_all(difference, factors)
    return Difference(estimate, low, high, level, resamples, _two_sided(draws))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return Holm-adjusted p-values (Holm 1979) in the given order; NaN stays NaN and does not count."""
    p_values = np.asarray(p_values, np.float64)
    adjusted = np.full(p_values.shape, np.nan)
    defined = np.flatnonzero(~np.isnan(p_values))
    order = defined[np.argsort(p_values[defined], kind="stable")]
    factor = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factor * p_values[order]))
    return adjusted


def _on_all(statistic: Statistic, factors: Mapping[str, np.ndarray]) -> np.ndarray:
    cells = len(next(iter(factors.values())))
    return statistic(np.ones((1, cells)))[0]


def _percentiles(draws: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the interval of draws (R,) or (R, K); NaN for what no resample defines."""
    columns, ends = draws.reshape(len(draws), -1), [(1 - level) / 2, (1 + level) / 2]
    gaps = np.isnan(columns)
    found = np.full((2, columns.shape[1]), np.nan)
    whole, broken = ~gaps.any(axis=0), gaps.any(axis=0) & ~gaps.all(axis=0)
    found[:, whole] = np.quantile(columns[:, whole], ends, axis=0)
    if broken.any():  # goes column by column
        found[:, broken] = np.nanquantile(columns[:, broken], ends, axis=0)
    low, high = found.reshape(2, *draws.shape[1:])
    return low, high


def _two_sided(draws: np.ndarray) -> np.ndarray:
    count = (~np.isnan(draws)).sum(axis=0)
    below = ((draws <= 0).sum(axis=0) + 1) / (count + 1)
    above = ((draws >= 0).sum(axis=0) + 1) / (count + 1)
    return np.where(count > 0, np.minimum(1.0, 2 * np.minimum(below, above)), np.nan)


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of values along the last axis, from 1; equal values share the mean of theirs.

    values: (..., K), numbers without NaN. Returns float64 of the same shape.
    """
    values = np.asarray(values)
    below = (values[..., None, :] < values[..., :, None]).sum(axis=-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(axis=-1)
    return below + (equal + 1) / 2


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation of two lists of K numbers; NaN where either does not vary."""
    x, y = (average_ranks(values) for values in (first, second))
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / spread if spread else math.nan


def kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Return Kendall's tau-b (Kendall 1945) of two lists of K numbers; NaN where either does not vary."""
    x, y = (np.sign(np.subtract.outer(values, values)) for values in map(np.asarray, (first, second)))
    spread = float(np.sqrt(np.abs(x).sum() * np.abs(y).sum()))
    return float((x * y).sum()) / spread if spread else math.nan


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.where(denominator > 0, numerator, np.nan) / np.where(denominator > 0, denominator, 1.0)
