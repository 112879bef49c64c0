"""Rates, differences and ratios."""

import numpy as np
import pytest
from scipy.stats import binom

from detectors.errors import DetectorInputError
from detectors.rates import difference_bounds, difference_p_value, rate_bounds, ratio_bounds, rows_to_show

SIZES = (8, 15, 30, 60, 100, 300, 1000, 10_000)
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)


def test_an_interval_covers_at_least_93_in_100_whatever_the_rate_and_the_number() -> None:
    """By summing the binomial; above 97 in 100 the counts are so few that no tail of a fortieth can be cut off."""
    covered = []
    for n in SIZES:
        hits = np.arange(n + 1)
        low, high = rate_bounds(hits, np.full(n + 1, n))
        covered += [float(binom.pmf(hits, n, p)[(low <= p) & (p <= high)].sum()) for p in RATES]
    assert min(covered) >= 0.93
    assert np.mean(np.array(covered) <= 0.97) > 0.6
    assert np.mean(covered) == pytest.approx(0.96, abs=0.01)


@pytest.mark.parametrize(("p", "base"), [(0.1, 0.1), (0.3, 0.5), (0.02, 0.05), (0.9, 0.85)])
def test_differences_and_ratios_cover_as_they_say(p: float, base: float) -> None:
    rng = np.random.default_rng(1)
    for n, m in ((40, 200), (300, 300)):
        hits, base_hits = rng.binomial(n, p, 4000), rng.binomial(m, base, 4000)
        low, high = difference_bounds(hits, n, base_hits, m)
        assert np.mean((low <= p - base) & (p - base <= high)) >= 0.935
        _, low, high = ratio_bounds(hits, n, base_hits, m)
        assert np.mean((low <= p / base) & (p / base <= high)) >= 0.93


def test_a_p_value_is_where_the_interval_begins_to_hold_zero() -> None:
    p = difference_p_value([56, 20], [70, 40], [48, 20], [80, 40])
    assert p[1] == 1.0
    for side, excluded in ((0.99, False), (1.01, True)):
        low, high = difference_bounds(56, 70, 48, 80, alpha=p[0] * side)
        assert bool(low > 0 or high < 0) is excluded


def test_equal_rates_are_rejected_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(2)
    for p in (0.03, 0.3):
        found = difference_p_value(rng.binomial(60, p, 3000), 60, rng.binomial(500, p, 3000), 500)
        assert np.mean(found <= 0.05) <= 0.06


@pytest.mark.parametrize("base", [0.1, 0.3, 0.5, 0.8])
def test_the_rows_said_to_be_enough_are_enough_nine_times_in_ten(base: float) -> None:
    rng = np.random.default_rng(3)
    n = rows_to_show(0.1, base_rate=base, base_n=2000, alpha=0.01)
    assert n is not None
    for gap in (-0.1, 0.1):
        if base + gap <= 0:
            continue
        hits = rng.binomial(n, base + gap, 2000)
        found = difference_p_value(hits, n, rng.binomial(2000, base, 2000), 2000)
        assert np.mean(found <= 0.01) >= 0.88


def test_too_small_a_reference_shows_nothing_whatever_the_group() -> None:
    assert rows_to_show(0.05, base_rate=0.5, base_n=100, alpha=0.05) is None


@pytest.mark.parametrize(("hits", "n"), [(3, 2), (-1, 2), (0, 0), (1, np.inf)])
def test_counts_that_cannot_be_are_refused(hits: float, n: float) -> None:
    with pytest.raises(DetectorInputError, match="0 <= hits <= n"):
        rate_bounds(hits, n)
