"""AU, control and identity metrics: matrices in, numbers out.

AU matrices are float (N, 17) in [0, 5]. Per-AU metrics return float64 (17,). Nothing here reads a file, draws
a random number or knows what produced the readings.
"""

from typing import NamedTuple

import numpy as np

from eggan.evaluation.statistics import average_ranks

CONSTANT = 1e-9  # a spread below this is rounding, not variance


def mse(truth: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """Per-AU mean squared error over the rows (paper, Sec. 4.2, Table 1), in squared intensity units."""
    truth, reading = _same_shape(truth, reading)
    return np.square(reading - truth).mean(axis=0)


def mae(truth: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """Per-AU mean absolute error over the rows, in intensity units."""
    truth, reading = _same_shape(truth, reading)
    return np.abs(reading - truth).mean(axis=0)


def pcc(truth: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """Per-AU Pearson correlation over the rows (Table 1); NaN where truth or reading does not vary."""
    truth, reading = _same_shape(truth, reading)
    x, y = truth - truth.mean(axis=0), reading - reading.mean(axis=0)
    spread_x, spread_y = np.sqrt(np.square(x).mean(axis=0)), np.sqrt(np.square(y).mean(axis=0))
    defined = (spread_x > CONSTANT) & (spread_y > CONSTANT)
    product = np.where(defined, spread_x * spread_y, np.nan)
    return np.clip((x * y).mean(axis=0) / product, -1.0, 1.0)


def icc31(truth: np.ndarray, reading: np.ndarray) -> np.ndarray:
    """Per-AU intra-class correlation ICC(3,1) of two raters (Shrout and Fleiss 1979); NaN without variance.

    Two-way mixed effects, consistency, single measurement: a constant offset between the raters costs
    nothing.
    """
    truth, reading = _same_shape(truth, reading)
    n, raters = len(truth), 2
    if n < 2:
        return np.full(truth.shape[1], np.nan)
    row_mean, grand = (truth + reading) / 2, (truth + reading).mean(axis=0) / 2
    between = raters * np.square(row_mean - grand).sum(axis=0) / (n - 1)
    residual_truth = truth - row_mean - truth.mean(axis=0) + grand
    residual_reading = reading - row_mean - reading.mean(axis=0) + grand
    error = (np.square(residual_truth) + np.square(residual_reading)).sum(axis=0) / ((n - 1) * (raters - 1))
    total = between + (raters - 1) * error
    return np.where(total > CONSTANT**2, between - error, np.nan) / np.where(total > CONSTANT**2, total, 1.0)


def skill(error: np.ndarray, copy_error: np.ndarray) -> np.ndarray:
    """Return 1 - error / copy_error (MSE of a method and of copy-source): 1 perfect, 0 as good as no edit.

    NaN where copy-source makes no error, since there is nothing to gain.
    """
    error, copy_error = np.asarray(error, np.float64), np.asarray(copy_error, np.float64)
    possible = copy_error > CONSTANT
    return np.where(possible, 1.0 - error / np.where(possible, copy_error, 1.0), np.nan)


def mean_defined(values: np.ndarray) -> tuple[float, int]:
    """Return the mean over the values that are not NaN and their count; (NaN, 0) when there is none."""
    defined = np.asarray(values, np.float64)
    defined = defined[~np.isnan(defined)]
    return (float(defined.mean()), len(defined)) if len(defined) else (float("nan"), 0)


def response_matrix(before: np.ndarray, after: np.ndarray, probed: np.ndarray) -> np.ndarray:
    """Return the mean change of readings per single-AU probe (A, A): row = probed, column = read AU.

    `before` and `after` are readings (N, A) of the same faces at the probe's low and high intensity; `probed`
    (N,) holds the position of the moved AU. A row without probes is NaN.
    """
    before, after = _same_shape(before, after)
    count = before.shape[1]
    change, probed = after - before, np.asarray(probed)
    matrix = np.full((count, count), np.nan)
    for position in range(count):
        rows = change[probed == position]
        if len(rows):
            matrix[position] = rows.mean(axis=0)
    return matrix


def off_target_drift(before: np.ndarray, after: np.ndarray, probed: np.ndarray) -> float:
    """Return the mean absolute change of the readings of all AUs but the probed one, in intensity units.

    Arguments as `response_matrix`. The mean is over probes and the A - 1 other AUs, without those that were
    not read (NaN); NaN where none was.
    """
    before, after = _same_shape(before, after)
    other = np.ones(before.shape, dtype=bool)
    other[np.arange(len(before)), np.asarray(probed)] = False
    return mean_defined(np.abs(after - before)[other])[0]


def progress(readings: np.ndarray, source_aus: np.ndarray, target_aus: np.ndarray) -> np.ndarray:
    """Return how far each frame has gone from u_i to u_t along Eq. 8: float (S, K), 0 at u_i and 1 at u_t.

    `readings` (S, K, A) of S interpolation sequences with K frames; `source_aus`, `target_aus` (S, A). It is
    the projection of (reading - u_i) on (u_t - u_i); NaN for a sequence whose ends are equal. AUs that no
    frame has a reading of (NaN) are left out of it.
    """
    source, target = np.asarray(source_aus, np.float64), np.asarray(target_aus, np.float64)
    readings = np.asarray(readings, np.float64)
    direction, read = target - source, ~np.isnan(readings).all(axis=(0, 1))
    if not read.all():
        readings, source, direction = readings[..., read], source[:, read], direction[:, read]
    length = np.square(direction).sum(axis=1)[:, None]
    along = np.einsum("ska,sa->sk", readings - source[:, None], direction)
    return np.where(length > CONSTANT, along, np.nan) / np.where(length > CONSTANT, length, 1.0)


def spearman_with_alpha(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of each sequence (S, K) with alpha (K,): float (S,), NaN when
    constant.
    """
    values = np.asarray(values, np.float64)
    ranks = average_ranks(values)
    against = np.broadcast_to(average_ranks(alpha), ranks.shape)
    result = pcc(against.T, ranks.T)
    return np.where(np.isnan(values).any(axis=1), np.nan, result)


def slope_with_alpha(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return the least-squares slope of each sequence (S, K) over alpha (K,): (S,); 1 is exact control."""
    centred = np.asarray(alpha, np.float64) - np.mean(alpha)
    return np.asarray(values, np.float64) @ centred / np.square(centred).sum()


def monotone_share(values: np.ndarray) -> np.ndarray:
    """Return the share of steps at which each sequence (S, K) strictly rises: float (S,) in [0, 1], NaN on
    NaN.
    """
    steps = np.diff(np.asarray(values, np.float64), axis=1)
    return np.where(np.isnan(steps).any(axis=1), np.nan, (steps > 0).mean(axis=1))


class EqualError(NamedTuple):
    """Equal-error point of a verifier that accepts similarity >= threshold; rates in [0, 1]."""

    threshold: float
    rate: float
    false_accept_rate: float
    false_reject_rate: float


def equal_error(genuine: np.ndarray, impostor: np.ndarray) -> EqualError:
    """Return the threshold at which false accepts and false rejects are as equal as the samples allow.

    `genuine`, `impostor`: similarities of pairs of one person and of two. Between two equally good thresholds
    the middle is taken. The rates are those at the returned threshold; `rate` is their mean.
    """
    genuine, impostor = np.sort(np.asarray(genuine, np.float64)), np.sort(np.asarray(impostor, np.float64))
    if not len(genuine) or not len(impostor):
        raise ValueError("an equal-error rate needs at least one genuine and one impostor pair")
    edges = np.unique(np.concatenate([genuine, impostor]))
    candidates = np.concatenate([[edges[0] - 1e-6], (edges[:-1] + edges[1:]) / 2, [edges[-1] + 1e-6]])
    accepts, rejects = _error_rates(genuine, impostor, candidates)
    gap = np.abs(rejects - accepts)
    best = np.flatnonzero(np.isclose(gap, gap.min(), rtol=0, atol=1e-12))
    threshold = (candidates[best[0]] + candidates[best[-1]]) / 2
    accept, reject = map(float, _error_rates(genuine, impostor, threshold))
    return EqualError(float(threshold), (accept + reject) / 2, accept, reject)


def _error_rates(
    genuine: np.ndarray, impostor: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the false-accept and false-reject rates at each threshold; similarities are sorted upwards."""
    accepts = 1.0 - np.searchsorted(impostor, thresholds, side="left") / len(impostor)
    return accepts, np.searchsorted(genuine, thresholds, side="left") / len(genuine)


def verification_accuracy(similarity: np.ndarray, threshold: float) -> float:
    """Return the percentage of pairs of one person that are accepted at a fixed threshold (Table 2)."""
    return float(100.0 * (np.asarray(similarity) >= threshold).mean())


def false_accept_rate(impostor: np.ndarray, threshold: float) -> float:
    """Return the percentage of pairs of two persons that are accepted at a fixed threshold."""
    return verification_accuracy(impostor, threshold)


def _same_shape(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"expected two equal (N, A) matrices, not {first.shape} and {second.shape}")
    return first, second
