import numpy as np
import pytest

from eggan.evaluation import realism


def test_kid_by_hand():
    first, second = np.array([[1.0], [2.0]]), np.array([[0.0], [3.0]])
    # kernel (x y + 1)^3: within first 27, within second 1, across (1 + 64 + 1 + 343) / 4
    assert realism.kid(first, second) == pytest.approx(27 + 1 - 2 * (1 + 64 + 1 + 343) / 4)


def test_kid_is_unbiased_between_samples_of_one_distribution():
    values = []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        values.append(realism.kid(generator.normal(size=(12, 4)), generator.normal(size=(12, 4))))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(200)


def test_kid_floor_is_below_the_value_of_another_distribution():
    generator = np.random.default_rng(0)
    real, edit = generator.normal(size=(200, 8)), generator.normal(0.6, 1, size=(150, 8))
    result = realism.kid_with_floor(real, edit, np.random.default_rng(1))
    assert result.value > 10 * abs(result.floor)
    assert result == realism.kid_with_floor(real, edit, np.random.default_rng(1))


def test_features_need_two_rows():
    with pytest.raises(ValueError, match="two rows"):
        realism.kid(np.zeros((1, 4)), np.zeros((5, 4)))


def test_kid_is_the_mean_that_torch_fidelity_takes_over_subsets():
    """It averages over random subsets; the estimate over all samples is what that average tends to."""
    import torch
    from torch_fidelity.metric_kid import kid_features_to_metric

    generator = np.random.default_rng(0)
    first, second = (generator.normal(shift, 1, (300, 16)).astype(np.float32) for shift in (0, 0.4))
    options = {"kid_subsets": 200, "kid_subset_size": 150, "verbose": False, "rng_seed": 0}
    theirs = kid_features_to_metric(torch.from_numpy(first), torch.from_numpy(second), **options)
    ours = realism.kid(first, second)
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=0.05)
