import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom, binomtest

from detectors.confidence import confidence_sequence, exact_interval, wilson_interval
from detectors.errors import DetectorInputError


@given(st.integers(1, 400), st.data(), st.sampled_from([0.01, 0.05, 0.2]))
def test_intervals_of_a_share_are_scipys(n: int, drawn: st.DataObject, alpha: float) -> None:
    successes = drawn.draw(st.integers(0, n))
    for method, interval in (("wilson", wilson_interval), ("exact", exact_interval)):
        found = interval(successes, n, alpha=alpha)
        expected = binomtest(successes, n).proportion_ci(1 - alpha, method=method)
        assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert 0 <= found.lower <= successes / n <= found.upper <= 1


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1)))
def test_a_sequence_only_tightens_and_stays_in_the_unit_interval(values: np.ndarray) -> None:
    found = confidence_sequence(values, grid=100)
    assert (np.diff(found.lower) >= 0).all()
    assert (np.diff(found.upper) <= 0).all()
    assert (found.lower >= 0).all()
    assert (found.upper <= 1).all()


def test_a_sequence_mirrors_when_values_do() -> None:
    values = np.random.default_rng(0).beta(2, 5, size=300)
    found, mirrored = confidence_sequence(values), confidence_sequence(1 - values)
    assert found.lower == pytest.approx(1 - mirrored.upper)


def test_a_sequence_is_the_hedged_capital_of_its_definition() -> None:
    values, alpha, grid = np.array([1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1] * 3, dtype=float), 0.1, 50
    found = confidence_sequence(values, alpha=alpha, grid=grid)
    refuted = []
    for m in np.arange(1, grid + 1) / grid:
        capital, peak, mean_sum, spread = 1.0, 1.0, 0.5, 0.25
        for t, x in enumerate(values, start=1):
            variance = spread / t
            bet = min(np.sqrt(2 * np.log(2 / alpha) / (variance * t * np.log(t + 1))), 0.5 / m)
            capital *= 1 + bet * (x - m)
            peak = max(peak, capital)
            mean_sum += x
            spread += (x - mean_sum / (t + 1)) ** 2
        refuted.append(peak >= 2 / alpha)
    assert found.last.lower == pytest.approx(sum(refuted) / grid)
    assert found.last.lower > 0.3


def test_a_look_ahead_changes_no_earlier_bound() -> None:
    values = np.random.default_rng(1).random(1500)
    whole, part = confidence_sequence(values), confidence_sequence(values[:700])
    assert whole.lower[:700] == pytest.approx(part.lower)


def test_what_cannot_be_bounded_is_named() -> None:
    with pytest.raises(DetectorInputError, match=r"got 1.5 at 1"):
        confidence_sequence([0.5, 1.5])
    with pytest.raises(DetectorInputError, match="nan"):
        confidence_sequence([np.nan])
    with pytest.raises(DetectorInputError, match="got 0, 1000"):
        confidence_sequence([])
    with pytest.raises(DetectorInputError, match="5 of 4"):
        wilson_interval(5, 4)
    with pytest.raises(DetectorInputError, match="alpha lies in"):
        exact_interval(1, 4, alpha=0)


@pytest.mark.statistical
@pytest.mark.parametrize("mean", [0.03, 0.3])
def test_a_sequence_holds_the_mean_at_every_look(mean: float) -> None:
    runs, alpha, missed, widths = 300, 0.1, 0, []
    for run in range(runs):
        values = (np.random.default_rng([8, run]).random(1000) < mean).astype(float)
        found = confidence_sequence(values, alpha=alpha, grid=200)
        missed += bool(((found.lower > mean) | (found.upper < mean)).any())
        widths.append(found.last.upper - found.last.lower)
    assert missed <= binom.isf(1e-4, runs, alpha)
    assert np.mean(widths) < 0.15  # and it is worth having
