import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.special import digamma
from scipy.stats import kstest

from detectors.errors import DetectorInputError
from detectors.kl import gaussian_kl
from detectors.neighbours import _ball_kl, _whitened, knn_kl, knn_kl_test
from detectors.results import DetectorResult, TooLittleData


def test_the_ball_estimate_is_its_definition_row_by_row() -> None:
    rng = np.random.default_rng(1)
    before, now, k = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)), 4
    total = 0.0
    for i, row in enumerate(now):
        own = np.sort(np.linalg.norm(np.delete(now, i, axis=0) - row, axis=1))
        other = np.sort(np.linalg.norm(before - row, axis=1))
        radius = max(own[k - 1], other[k - 1]) * (1 + 1e-8)
        total += digamma(np.sum(own <= radius)) - digamma(np.sum(other <= radius))
    assert _ball_kl(before, now, k) == pytest.approx(total / 30 + np.log(40 / 29))


def test_nearest_neighbours_read_little_without_drift_whatever_the_scale() -> None:
    rng = np.random.default_rng(4)
    before, now = rng.normal(size=(1500, 8)) * 1e-4 + 3, rng.normal(size=(1500, 8)) * 1e-4 + 3
    assert abs(knn_kl(before, now, rng=rng, twins=2)) < 0.1


def test_an_affine_map_leaves_the_ball_estimate() -> None:
    rng = np.random.default_rng(3)
    before, now, mix = rng.normal(size=(300, 4)), rng.normal(size=(250, 4)) + 0.5, rng.normal(size=(4, 4))
    plain, mapped = (_ball_kl(*_whitened(x, y), 5) for x, y in ((before, now), (before @ mix + 7, now @ mix + 7)))
    assert mapped == pytest.approx(plain, abs=1e-6)


def test_the_space_of_the_balls_does_not_know_who_is_who() -> None:
    rows = np.random.default_rng(5).normal(size=(200, 8))
    order = np.random.default_rng(6).permutation(200)
    dealt = np.empty_like(rows)
    dealt[order] = np.concatenate(_whitened(rows[order][:180], rows[order][180:]))
    assert pdist(dealt) == pytest.approx(pdist(np.concatenate(_whitened(rows[:180], rows[180:]))))


def test_duplicates_and_constant_columns_never_give_nan() -> None:
    rng = np.random.default_rng(2)
    before = np.column_stack([rng.integers(0, 3, size=(300, 2)), np.ones(300)])
    now = np.repeat(before[:3], 40, axis=0)
    assert np.isfinite(knn_kl(before, now, rng=rng))
    found = knn_kl_test(before, now, alpha=0.05, rng=rng, neighbours=4, permutations=99)
    assert isinstance(found, DetectorResult | TooLittleData)
    half = before.astype(np.float16)
    assert np.isfinite(knn_kl(half, half + np.float16(1), rng=rng))


def test_what_cannot_be_judged_is_named() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(100, 3))
    with pytest.raises(DetectorInputError, match="at most 64 dimensions first, got 65"):
        knn_kl(np.zeros((100, 65)), np.zeros((100, 65)), rng=rng)
    with pytest.raises(DetectorInputError, match="all the same"):
        knn_kl(np.ones((50, 3)), np.ones((50, 3)), rng=rng)
    with pytest.raises(DetectorInputError, match="11 rows a side, got 10, 4, 10"):
        knn_kl(rows, rows[:10], rng=rng)
    with pytest.raises(DetectorInputError, match="3 columns, got 2"):
        knn_kl(rows, rows[:, :2], rng=rng)
    with pytest.raises(DetectorInputError, match="is nan"):
        knn_kl(rows, np.full((100, 3), np.nan), rng=rng)
    with pytest.raises(DetectorInputError, match="lies in"):
        knn_kl_test(rows, rows, alpha=1.0, rng=rng)


def test_the_neighbour_test_sees_a_change_of_shape_that_leaves_mean_and_covariance() -> None:
    rng = np.random.default_rng(5)
    before = rng.normal(size=(400, 4))
    signs = rng.choice([-1.0, 1.0], size=(400, 4))
    now = signs * np.sqrt(0.9) + rng.normal(size=(400, 4)) * np.sqrt(0.1)
    found = knn_kl_test(before, now, alpha=0.01, rng=rng, permutations=499)
    assert isinstance(found, DetectorResult)
    assert found.drift
    assert found.p_value == 1 / 500
    assert found.statistic >= found.threshold


@pytest.mark.statistical
@pytest.mark.parametrize("dimension", [8, 32])
def test_nearest_neighbours_read_nothing_without_drift_at_a_thousand_rows(dimension: int) -> None:
    rng = np.random.default_rng(dimension)
    read = [knn_kl(*rng.normal(size=(2, 1000, dimension)), rng=rng, twins=1) for _ in range(6)]
    assert abs(np.mean(read)) < 0.06


@pytest.mark.statistical
@pytest.mark.parametrize("dimension", [1, 4, 8, 16])
def test_nearest_neighbours_are_within_a_tenth_of_the_closed_form_for_gaussians(dimension: int) -> None:
    n = 10_000
    rng = np.random.default_rng(dimension)
    mean, deviations = np.zeros(dimension), np.ones(dimension)
    mean[0], deviations[: max(1, dimension // 2)] = 1.0, 0.7
    now, before = rng.normal(size=(n, dimension)) * deviations + mean, rng.normal(size=(n, dimension))
    closed = float(gaussian_kl(mean, np.diag(deviations**2), np.zeros(dimension), np.eye(dimension)))
    assert knn_kl(before, now, rng=rng, twins=2) == pytest.approx(closed, rel=0.1)


def test_scattered_new_texts_are_seen_though_current_rows_alone_lie_closer_to_the_reference() -> None:
    rng = np.random.default_rng(6)
    before, now = rng.normal(size=(2, 600, 8))
    now[:90] = rng.normal(size=(90, 8)) * 3
    found = knn_kl_test(before, now, alpha=0.01, rng=rng, permutations=499)
    assert isinstance(found, DetectorResult)
    assert found.drift


@pytest.mark.statistical
def test_without_drift_the_neighbour_tests_p_values_are_uniform() -> None:
    values = []
    for run in range(300):
        rng = np.random.default_rng([7, run])
        rows = rng.integers(0, 4, size=(130, 3)) + (run % 2) * rng.normal(size=(130, 3))  # with and without ties
        found = knn_kl_test(rows[:80], rows[80:], alpha=0.05, rng=rng, neighbours=8, permutations=99)
        assert isinstance(found, DetectorResult)
        values.append(found.p_value)
    assert kstest(np.array(values) - 0.005, "uniform").pvalue > 1e-3
