"""Burn arithmetic by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gamma, norm

from alerts.burn import Burn, increase, lower_bound, seconds_to_fire


def test_a_reset_counter_counts_on_from_zero() -> None:
    # 10 → 20, a restart, 0 → 5: a rise of 10 + 5, sampled from end to end
    samples = [(0.0, 10.0), (60.0, 20.0), (120.0, 0.0), (180.0, 5.0)]
    assert increase(samples, start=0, end=180) == 15


def test_a_rise_is_stretched_to_the_windows_ends_and_never_to_below_zero() -> None:
    # samples at 60 and 120 of [0, 180]: half a step each side would be 2 steps of rise; the counter was 0 at 60 already
    assert increase([(60.0, 0.0), (120.0, 6.0)], start=0, end=180) == 12
    assert increase([(60.0, 100.0), (120.0, 106.0)], start=0, end=180) == 18


def test_one_sample_has_no_increase() -> None:
    assert increase([(60.0, 5.0)], start=0, end=180) is None
    assert increase([(500.0, 5.0), (560.0, 6.0)], start=0, end=180) is None


def test_a_window_without_events_has_no_ratio() -> None:
    burn = Burn(0, 0, 0.001)
    assert (burn.error_ratio, burn.burn_rate, burn.budget_remaining) == (None, None, None)


def test_spending_the_budget_exactly_is_a_burn_rate_of_one() -> None:
    burn = Burn(1, 1000, 0.001)
    assert burn.burn_rate == pytest.approx(1)
    assert burn.budget_remaining == pytest.approx(0)
    assert Burn(3, 1000, 0.001).budget_remaining == pytest.approx(-2)


@given(st.integers(1, 10**7), st.floats(0.95, 0.999))
def test_the_lower_bound_never_exceeds_poissons_exact_one(bad: int, confidence: float) -> None:
    exact = gamma.ppf(1 - confidence, bad)
    assert lower_bound(bad, 1, z=float(norm.ppf(confidence))) <= exact * (1 + 1e-4)


def test_the_lower_bound_comes_near_the_exact_one() -> None:
    for bad in (5, 10, 100):
        assert lower_bound(bad, 1, z=2.326348) == pytest.approx(gamma.ppf(0.01, bad), rel=0.03)


def test_one_failure_in_ten_is_no_evidence_of_fast_burn() -> None:
    assert lower_bound(1, 10, z=2.326) < 14.4 * 0.001
    assert lower_bound(0, 10, z=2.326) == lower_bound(0, 0, z=2.326) == 0


def test_errors_below_the_factor_never_fire() -> None:
    assert seconds_to_fire(0.0143, error_budget=0.001, factor=14.4, long_seconds=3600) is None
    assert seconds_to_fire(0.144, error_budget=0.001, factor=14.4, long_seconds=3600) == pytest.approx(360)
