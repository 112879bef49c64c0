import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.stats import chi2_contingency, ks_2samp

from detectors.errors import DetectorInputError
from detectors.univariate import (
    anderson_darling,
    chi_square,
    ks_distance,
    pooled_bins,
    psi,
    total_variation,
    upper_excess,
)

counts = npst.arrays(np.int64, 6, elements=st.integers(0, 40))
STATISTICS = (total_variation, ks_distance, upper_excess, chi_square, anderson_darling, psi)


def values(held: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(held.size), held)


@given(counts.filter(np.any), counts.filter(np.any))
@settings(derandomize=True, max_examples=80)
def test_statistics_agree_with_scipy_on_the_raw_values(before: np.ndarray, now: np.ndarray) -> None:
    both = before.astype(float), now.astype(float)
    assert float(ks_distance(*both)) == pytest.approx(ks_2samp(values(before), values(now)).statistic, abs=1e-12)
    used = before + now > 0
    if used.sum() > 1:
        table = np.stack([before[used], now[used]])
        assert float(chi_square(*both)) == pytest.approx(chi2_contingency(table, correction=False).statistic, abs=1e-9)


def test_anderson_darling_agrees_with_a_brute_force_twin() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 8, 30), rng.integers(2, 9, 50)
    pooled = np.concatenate([first, second])
    twin = 0.0
    for value in np.unique(pooled)[:-1]:  # Scholz & Stephens 1987, eq. 6, summed over distinct values
        below, held = np.mean(pooled <= value), np.mean(pooled == value)
        gap = np.mean(first <= value) - np.mean(second <= value)
        twin += held * gap**2 / (below * (1 - below)) * 30 * 50 / 80
    found = anderson_darling(
        np.bincount(first, minlength=9).astype(float), np.bincount(second, minlength=9).astype(float)
    )
    assert float(found) == pytest.approx(twin)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_stack_is_judged_slice_by_slice_and_like_sides_are_no_drift(statistic) -> None:
    rng = np.random.default_rng(1)
    before, now = rng.integers(0, 9, (5, 4)).astype(float), rng.integers(1, 9, (5, 4)).astype(float)
    stacked = statistic(before, now)
    assert stacked.shape == (5,)
    np.testing.assert_allclose(stacked, [statistic(a, b) for a, b in zip(before, now, strict=True)])
    assert np.isfinite(stacked).all()
    assert float(statistic(now[0], now[0])) == pytest.approx(0.0, abs=1e-12)


def test_empty_bins_and_a_single_bin_are_finite() -> None:
    for statistic in STATISTICS:
        assert np.isfinite(statistic(np.array([3.0, 0.0, 0.0]), np.array([2.0, 0.0, 0.0])))
        assert np.isfinite(statistic(np.array([3.0]), np.array([2.0])))


def test_pooled_bins_hold_alike_many_keep_ties_together_and_follow_the_order() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=640)
    found = pooled_bins(values)
    assert np.bincount(found).tolist() == [20] * 32
    assert (np.diff(found[np.argsort(values)]) >= 0).all()
    order = rng.permutation(640)
    assert np.array_equal(pooled_bins(values[order]), found[order])
    tied = pooled_bins(np.repeat([3.0, 1.0, 2.0], [500, 40, 40]))
    assert [set(part) for part in np.split(tied, [500, 540])] == [{2}, {0}, {1}]
    assert pooled_bins(np.ones(9)).tolist() == [0] * 9


def test_values_that_have_no_quantiles_are_refused() -> None:
    with pytest.raises(DetectorInputError, match="got nan at 1"):
        pooled_bins([1.0, np.nan])
    with pytest.raises(DetectorInputError, match="need a value and two bins, got 0 and 32"):
        pooled_bins([])
