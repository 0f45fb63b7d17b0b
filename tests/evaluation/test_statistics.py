import time

import numpy as np
import pytest
from scipy import stats

from eggan.evaluation import metrics, statistics


def crossed_sample(generator, sources=9, targets=60, seeds=3):
    """Scores with effects of source identity, target and training seed; the population mean is 0."""
    pair_source = np.arange(targets) % sources
    source = np.repeat(pair_source[None], seeds, 0).ravel()
    target = np.repeat(np.arange(targets)[None], seeds, 0).ravel()
    seed = np.repeat(np.arange(seeds), targets)
    values = (
        generator.normal(0, 1.0, sources)[source]
        + generator.normal(0, 0.5, targets)[target]
        + generator.normal(0, 0.3, seeds)[seed]
        + generator.normal(0, 0.5, len(seed))
    )
    return values, {"source": source, "target": target, "seed": seed}


def coverage(trials, factors_of, resamples=300):
    hits = 0
    for trial in range(trials):
        values, factors = crossed_sample(np.random.default_rng(trial))
        interval = statistics.crossed_bootstrap(
            statistics.weighted_mean(values),
            factors_of(factors),
            np.random.default_rng(1000 + trial),
            resamples,
        )
        hits += interval.low <= 0 <= interval.high
    return hits / trials


def test_crossed_bootstrap_covers_where_a_per_image_bootstrap_does_not():
    crossed = coverage(200, lambda factors: factors)
    per_image = coverage(200, lambda factors: {"image": np.arange(len(factors["seed"]))})
    assert per_image < 0.55
    assert 0.88 <= crossed <= 0.995


def test_one_factor_bootstrap_has_the_standard_error_of_the_mean():
    values = np.random.default_rng(0).normal(size=12)
    draws = statistics.resample(
        statistics.weighted_mean(values), {"image": np.arange(12)}, np.random.default_rng(1), 20_000
    )
    # n - 1 draws from n levels: the unbiased standard error, not the one with n in the denominator
    assert draws.std() == pytest.approx(values.std(ddof=1) / np.sqrt(12), rel=0.03)


@pytest.mark.parametrize("levels", [2, 9, 60])
def test_how_often_levels_are_drawn_is_multinomial(levels):
    """Drawn n - 1 times of n: mean (n - 1) / n, variance × (1 - 1 / n), covariance × (-1 / n)."""
    counts = statistics.crossed_weights({"level": np.arange(levels)}, 40_000, np.random.default_rng(4))
    assert (counts.sum(axis=1) == levels - 1).all()
    mean = (levels - 1) / levels
    assert counts.mean(axis=0) == pytest.approx(np.full(levels, mean), abs=0.03)
    covariance = mean * (np.eye(levels) - 1 / levels)
    assert np.cov(counts.T) == pytest.approx(covariance, abs=0.04)


def test_weights_are_products_of_level_multiplicities():
    factors = {"source": np.array(["x", "x", "y", "y"]), "seed": np.array([0, 1, 0, 1]), "only": np.zeros(4)}
    weights = statistics.crossed_weights(factors, 500, np.random.default_rng(0))
    table = weights.reshape(500, 2, 2)
    assert (table.sum(axis=(1, 2)) == 1).all()  # one source and one seed of two are drawn
    assert (np.linalg.matrix_rank(table) == 1).all()
    with pytest.raises(ValueError, match="nothing to resample"):
        statistics.crossed_weights({"seed": np.zeros(4)}, 5, np.random.default_rng(0))


def test_weighted_statistics_with_unit_weights_are_the_metrics():
    generator = np.random.default_rng(2)
    truth = generator.uniform(0, 5, (50, 17))
    reading = truth + generator.normal(0, 1, truth.shape)
    reading[:, 4] = 2.0
    ones = np.ones((1, 50))
    pcc = statistics.weighted_pcc(truth, reading)
    assert statistics.weighted_mse(truth, reading)(ones)[0] == pytest.approx(metrics.mse(truth, reading))
    assert pcc(ones)[0] == pytest.approx(metrics.pcc(truth, reading), nan_ok=True)
    assert statistics.mean_over_aus(pcc)(ones)[0] == pytest.approx(
        metrics.mean_defined(metrics.pcc(truth, reading))[0]
    )


def test_integer_weights_equal_repeated_rows():
    generator = np.random.default_rng(4)
    truth, reading = generator.uniform(0, 5, (2, 30, 3))
    counts = generator.integers(0, 4, 30)
    repeated = metrics.pcc(np.repeat(truth, counts, 0), np.repeat(reading, counts, 0))
    assert statistics.weighted_pcc(truth, reading)(counts[None].astype(float))[0] == pytest.approx(repeated)


def test_missing_values_are_left_out_of_a_mean():
    values = np.array([1.0, np.nan, 5.0])
    assert statistics.weighted_mean(values)(np.ones((1, 3)))[0] == pytest.approx(3.0)
    assert np.isnan(statistics.weighted_mean(np.full(3, np.nan))(np.ones((1, 3)))[0])


def test_paired_difference_sees_a_small_shift_that_unpaired_intervals_hide():
    values, factors = crossed_sample(np.random.default_rng(5))
    better = values - 0.15 + np.random.default_rng(6).normal(0, 0.1, len(values))
    first, second = statistics.weighted_mean(values), statistics.weighted_mean(better)
    alone = statistics.crossed_bootstrap(first, factors, np.random.default_rng(7), 500)
    paired = statistics.paired_difference(first, second, factors, np.random.default_rng(7), 500)
    assert paired.low > 0.05
    assert paired.high < 0.25
    assert paired.p_value < 0.01
    assert alone.high - alone.low > 5 * (paired.high - paired.low)


def test_p_values_of_equal_methods_are_roughly_uniform():
    small = 0
    for trial in range(150):
        values, factors = crossed_sample(np.random.default_rng(trial))
        other, _ = crossed_sample(np.random.default_rng(10_000 + trial))
        result = statistics.paired_difference(
            statistics.weighted_mean(values),
            statistics.weighted_mean(other),
            factors,
            np.random.default_rng(trial),
            200,
        )
        small += result.p_value < 0.05
    assert small / 150 < 0.14  # nominal 0.05; nine identities keep it from being exact


def test_same_generator_same_interval():
    values, factors = crossed_sample(np.random.default_rng(5))
    mean = statistics.weighted_mean(values)
    first, again, other = (
        statistics.crossed_bootstrap(mean, factors, np.random.default_rng(seed), 100) for seed in (1, 1, 2)
    )
    assert (first.low, first.high) == (again.low, again.high)
    assert first.low != other.low


def test_statistics_are_estimated_together_as_they_are_alone():
    values, factors = crossed_sample(np.random.default_rng(5))
    columns = np.column_stack([values, np.where(np.arange(len(values)) % 7, values**2, np.nan)])
    never = np.full((len(values), 2), np.nan)
    wanted = {
        name: statistics.weighted_mean(v) for name, v in (("one", values), ("two", columns), (3, never))
    }
    together = statistics.crossed_bootstraps(wanted, factors, np.random.default_rng(1), 300)
    assert list(together) == list(wanted)
    for name, statistic in wanted.items():
        alone = statistics.crossed_bootstrap(statistic, factors, np.random.default_rng(1), 300)
        for end in ("estimate", "low", "high"):
            shape = getattr(alone, end).shape
            assert (
                getattr(together[name], end).shape == shape == statistic(np.ones((1, len(values))))[0].shape
            )
            assert np.array_equal(getattr(together[name], end), getattr(alone, end), equal_nan=True)


@pytest.mark.parametrize("seed", range(3))
def test_intervals_of_a_mean_are_those_of_its_standard_error(seed):
    """Analytic: by factor, the variance of its levels; so many of them that quantiles are normal."""
    generator = np.random.default_rng(seed)
    sources, targets = 40, 50
    source, target = (part.ravel() for part in np.indices((sources, targets)))
    by_source, by_target = generator.normal(size=sources), generator.normal(size=targets)
    interval = statistics.crossed_bootstrap(
        statistics.weighted_mean(by_source[source] + by_target[target]),
        {"source": source, "target": target},
        generator,
        8000,
    )
    error = np.sqrt(by_source.var(ddof=1) / sources + by_target.var(ddof=1) / targets)
    assert float(interval.high - interval.estimate) == pytest.approx(1.96 * error, rel=0.08)
    assert float(interval.estimate - interval.low) == pytest.approx(1.96 * error, rel=0.08)


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1, then made monotone
    adjusted = statistics.holm(np.array([0.03, 0.01, 0.5, 0.02]))
    assert adjusted == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert statistics.holm(np.array([0.4, np.nan, 0.6])) == pytest.approx([0.8, np.nan, 0.8], nan_ok=True)


def test_the_full_protocol_takes_seconds():
    generator = np.random.default_rng(0)
    pairs, seeds = 1392, 3
    source = np.tile(np.arange(pairs) % 9, seeds)
    target, seed = np.tile(np.arange(pairs), seeds), np.repeat(np.arange(seeds), pairs)
    truth = generator.uniform(0, 5, (pairs * seeds, 17))
    reading = truth + generator.normal(size=truth.shape)
    started = time.perf_counter()
    interval = statistics.crossed_bootstrap(
        statistics.weighted_pcc(truth, reading),
        {"source": source, "target": target, "seed": seed},
        generator,
        1000,
    )
    assert time.perf_counter() - started < 10
    assert interval.low.shape == (17,)
    assert (interval.low <= interval.estimate).all()
    assert (interval.estimate <= interval.high).all()


@pytest.mark.parametrize("seed", range(20))
def test_ranks_and_their_correlations_are_those_of_scipy(seed):
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 4, (3, generator.integers(2, 9))).astype(float)
    values[:2, :2] = (0, 5), (5, 1)  # both vary
    first, second = values[:2]
    assert np.array_equal(statistics.average_ranks(values), stats.rankdata(values, axis=1))
    assert statistics.spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert statistics.kendall(first, second) == pytest.approx(stats.kendalltau(first, second).statistic)
    constant = np.ones_like(first)
    assert np.isnan([statistics.spearman(first, constant), statistics.kendall(constant, second)]).all()


@pytest.mark.parametrize("missing", [False, True])
def test_a_bootstrap_gives_the_digits_of_its_definition(missing):
    """Weights per resample from the keyed draws, the weighted mean of each, percentiles over them."""
    generator = np.random.default_rng(3)
    values, factors = crossed_sample(generator)
    values = np.column_stack([values, values**2])
    if missing:
        values[::7, 1] = np.nan
    found = statistics.crossed_bootstrap(
        statistics.weighted_mean(values), factors, np.random.default_rng(8), 500
    )
    draws, keyed = [], np.random.default_rng(8)
    for _ in range(500 // statistics.CHUNK):
        drawn = {}
        for name, labels in factors.items():
            levels = len(np.unique(labels))
            draws_of_resample = keyed.integers(levels, size=(levels - 1, statistics.CHUNK)).T
            counts = [np.bincount(one, minlength=levels) for one in draws_of_resample]
            drawn[name] = np.array(counts)[:, labels]
        weights = drawn["source"] * drawn["target"] * drawn["seed"]
        present = ~np.isnan(values)
        draws.append((weights @ np.where(present, values, 0)) / (weights @ present))
    low, high = np.nanquantile(np.concatenate(draws), [0.025, 0.975], axis=0)
    assert found.low == pytest.approx(low, rel=1e-12)
    assert found.high == pytest.approx(high, rel=1e-12)
    assert found.estimate == pytest.approx(np.nanmean(values, axis=0), rel=1e-12)
