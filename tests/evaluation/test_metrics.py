import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from eggan.evaluation import metrics


@pytest.fixture
def matrices():
    generator = np.random.default_rng(7)
    truth = generator.uniform(0, 5, (60, 17))
    return truth, truth * 0.7 + generator.normal(0, 0.5, truth.shape) + 0.4


def test_errors_by_hand():
    truth, reading = np.array([[0.0, 5.0], [2.0, 1.0]]), np.array([[1.0, 5.0], [2.0, 4.0]])
    assert metrics.mse(truth, reading) == pytest.approx([0.5, 4.5])
    assert metrics.mae(truth, reading) == pytest.approx([0.5, 1.5])


def test_pcc_agrees_with_scipy(matrices):
    truth, reading = matrices
    expected = [stats.pearsonr(truth[:, i], reading[:, i])[0] for i in range(17)]
    assert metrics.pcc(truth, reading) == pytest.approx(expected, abs=1e-12)


def test_pcc_is_undefined_without_variance_and_counted(matrices):
    truth, reading = matrices
    reading = reading.copy()
    reading[:, 3] = 1.25
    values = metrics.pcc(truth, reading)
    assert np.isnan(values[3])
    mean, count = metrics.mean_defined(values)
    assert count == 16
    assert mean == pytest.approx(np.delete(values, 3).mean())
    undefined, none = metrics.mean_defined(np.full(3, np.nan))
    assert np.isnan(undefined)
    assert none == 0


def test_icc31_of_two_judges_by_the_analysis_of_variance():
    # Shrout and Fleiss 1979, Table 2, the first and the last of their four judges
    ratings = np.array(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
    )
    first, last = ratings[:, :1], ratings[:, 3:]
    both = np.hstack([first, last])
    n, k, grand = 6, 2, both.mean()
    ms_rows = k * ((both.mean(1) - grand) ** 2).sum() / (n - 1)
    residual = both - both.mean(1, keepdims=True) - both.mean(0) + grand
    ms_error = (residual**2).sum() / ((n - 1) * (k - 1))
    expected = (ms_rows - ms_error) / (ms_rows + (k - 1) * ms_error)
    assert metrics.icc31(first, last)[0] == pytest.approx(expected)


def test_icc31_forgives_an_offset_but_not_a_scale():
    truth = np.linspace(0, 4, 30)[:, None]
    assert metrics.icc31(truth, truth + 1.0)[0] == pytest.approx(1.0)
    # raters x and c x: MSR - MSE over MSR + MSE is 2 c / (1 + c^2)
    assert metrics.icc31(truth, 0.5 * truth)[0] == pytest.approx(2 * 0.5 / 1.25)
    assert np.isnan(metrics.icc31(np.ones((5, 1)), np.full((5, 1), 2.0))[0])


def test_skill():
    values = metrics.skill(np.array([0.5, 2.0, 0.1]), np.array([2.0, 2.0, 0.0]))
    assert values[:2] == pytest.approx([0.75, 0.0])
    assert np.isnan(values[2])


def test_response_matrix_and_drift_by_hand():
    before = np.zeros((3, 3))
    after = np.array([[4.0, 1.0, 0.0], [2.0, 0.0, -1.0], [0.0, 3.0, 0.5]])
    probed = np.array([0, 0, 1])
    matrix = metrics.response_matrix(before, after, probed)
    assert matrix[0] == pytest.approx([3.0, 0.5, -0.5])
    assert matrix[1] == pytest.approx([0.0, 3.0, 0.5])
    assert np.isnan(matrix[2]).all()
    assert metrics.off_target_drift(before, after, probed) == pytest.approx((1 + 0 + 0 + 1 + 0 + 0.5) / 6)


def test_linear_control_of_an_exact_and_of_a_stuck_interpolation():
    generator = np.random.default_rng(0)
    source, target = generator.uniform(0, 5, (4, 17)), generator.uniform(0, 5, (4, 17))
    alpha = np.linspace(0, 1, 6)
    exact = source[:, None] + alpha[None, :, None] * (target - source)[:, None]
    along = metrics.progress(exact, source, target)
    assert along == pytest.approx(np.tile(alpha, (4, 1)))
    assert metrics.spearman_with_alpha(along, alpha) == pytest.approx(np.ones(4))
    assert metrics.slope_with_alpha(along, alpha) == pytest.approx(np.ones(4))
    assert metrics.monotone_share(along) == pytest.approx(np.ones(4))
    stuck = metrics.progress(np.repeat(source[:, None], 6, 1), source, target)
    assert metrics.slope_with_alpha(stuck, alpha) == pytest.approx(np.zeros(4))
    assert np.isnan(metrics.spearman_with_alpha(stuck, alpha)).all()
    assert metrics.monotone_share(stuck) == pytest.approx(np.zeros(4))
    assert np.isnan(metrics.progress(exact[:1], source[:1], source[:1])).all()


def test_spearman_and_monotone_share_of_a_wavering_sequence():
    values, alpha = np.array([[0.0, 0.4, 0.3, 0.9]]), np.array([0.0, 0.2, 0.6, 1.0])
    assert metrics.spearman_with_alpha(values, alpha)[0] == pytest.approx(
        stats.spearmanr(values[0], alpha)[0]
    )
    assert metrics.monotone_share(values)[0] == pytest.approx(2 / 3)


def test_equal_error_on_constructed_cases():
    perfect = metrics.equal_error(np.array([0.8, 0.9]), np.array([0.1, 0.2]))
    assert perfect.rate == 0
    assert 0.2 < perfect.threshold < 0.8
    # one of four genuine below, one of four impostors above any threshold in (0.5, 0.6)
    swapped = metrics.equal_error(np.array([0.4, 0.7, 0.8, 0.9]), np.array([0.1, 0.2, 0.3, 0.65]))
    assert swapped.rate == pytest.approx(0.25)
    assert swapped.false_accept_rate == pytest.approx(0.25)
    assert 0.4 < swapped.threshold < 0.65
    with pytest.raises(ValueError, match="at least one"):
        metrics.equal_error(np.array([]), np.array([0.1]))


@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=6),
    st.lists(st.integers(0, 8), min_size=1, max_size=6),
)
@example([5], [4, 6])
def test_the_rates_of_the_equal_error_point_are_those_at_its_threshold(genuine, impostor):
    genuine, impostor = np.array(genuine) / 10, np.array(impostor) / 10
    found = metrics.equal_error(genuine, impostor)
    assert found.false_reject_rate == pytest.approx((genuine < found.threshold).mean())
    assert found.false_accept_rate == pytest.approx((impostor >= found.threshold).mean())
    assert found.rate == pytest.approx((found.false_accept_rate + found.false_reject_rate) / 2)
    gaps = [abs((genuine < t).mean() - (impostor >= t).mean()) for t in np.arange(-0.05, 1, 0.01)]
    assert abs(found.false_accept_rate - found.false_reject_rate) <= min(gaps) + 1e-9


def test_equal_error_of_two_gaussians():
    generator = np.random.default_rng(3)
    genuine, impostor = generator.normal(1, 1, 200_000), generator.normal(-1, 1, 200_000)
    equal = metrics.equal_error(genuine, impostor)
    assert equal.rate == pytest.approx(stats.norm.cdf(-1), abs=2e-3)
    assert equal.threshold == pytest.approx(0.0, abs=1e-2)


def test_verification_rates_are_percentages_at_a_fixed_threshold():
    similarity = np.array([0.1, 0.5, 0.7, 0.9])
    assert metrics.verification_accuracy(similarity, 0.5) == 75.0
    assert metrics.false_accept_rate(similarity, 0.8) == 25.0


def test_shapes_that_differ_are_refused(matrices):
    truth, reading = matrices
    with pytest.raises(ValueError, match="equal"):
        metrics.mse(truth, reading[:-1])
