import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detectors.confidence import confidence_sequence, wilson_interval
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated
from detectors.weighted import (
    hajek_mean,
    horvitz_thompson_mean,
    mean_estimate,
    mean_sequence,
    ratio_estimate,
    share_bounds,
)


def estimated(found: Estimate | NotEstimated) -> Estimate:
    assert isinstance(found, Estimate)
    return found


def test_point_estimates_are_those_worked_by_hand() -> None:
    values, chances = [1.0, 0.0, 1.0], [0.5, 0.25, 1.0]  # weights 2, 4, 1
    assert hajek_mean(values, chances) == pytest.approx(3 / 7)
    assert horvitz_thompson_mean(values, chances, population=6) == pytest.approx(3 / 6)


@given(st.integers(1, 300), st.data(), st.sampled_from([1.0, 0.2]))
def test_equal_weights_give_wilsons_interval(n: int, drawn: st.DataObject, chance: float) -> None:
    hits = drawn.draw(st.integers(0, n))
    found = estimated(
        mean_estimate("share", np.repeat([1.0, 0.0], [hits, n - hits]), inclusion_probability=np.full(n, chance))
    )
    expected = wilson_interval(hits, n)
    assert (found.value, found.low, found.high) == pytest.approx((hits / n, expected.lower, expected.upper), abs=1e-9)
    assert found.method == "wilson"


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1)), st.integers(0, 1000))
def test_a_mean_lies_within_its_interval_within_the_unit_interval(values: np.ndarray, seed: int) -> None:
    chances = np.random.default_rng(seed).uniform(0.01, 1, size=values.size)
    found = estimated(mean_estimate("mean", values, inclusion_probability=chances))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.value == pytest.approx(hajek_mean(values, chances))


def test_the_variance_of_an_unequal_share_is_the_linearised_one() -> None:
    rng = np.random.default_rng(3)
    hits, weights = (rng.random(4000) < 0.8).astype(float), 1 / rng.uniform(0.1, 1, size=4000)
    _, low, high, _ = share_bounds(
        *(np.array([x]) for x in (hits @ weights, weights.sum(), hits @ weights**2, weights @ weights, 4000)),
        alpha=0.05,
    )
    share = hits @ weights / weights.sum()
    deviation = np.sqrt(((weights * (hits - share)) ** 2).sum()) / weights.sum()
    assert (high - low)[0] == pytest.approx(2 * 1.96 * deviation, rel=0.01)


def test_a_ratio_counts_rows_as_the_unit_of_chance() -> None:
    rng = np.random.default_rng(4)
    wholes = rng.integers(1, 9, size=500).astype(float)
    parts = np.where(rng.random(500) < 0.6, wholes, 0.0)  # all things of a row fall together
    found = estimated(ratio_estimate("span_f1", parts, wholes))
    alone = wilson_interval(int(parts.sum()), int(wholes.sum()))
    assert found.value == pytest.approx(parts.sum() / wholes.sum())
    assert found.high - found.low > 1.8 * (alone.upper - alone.lower)


def test_no_row_is_not_estimated() -> None:
    assert mean_estimate("accuracy", []) == NotEstimated("accuracy", "no row to judge", 0, 1)
    assert isinstance(ratio_estimate("span_f1", [0.0], [0.0]), NotEstimated)
    assert isinstance(mean_sequence("accuracy", []), NotEstimated)


def test_a_sequence_weighs_rows_back_to_those_not_drawn() -> None:
    rng = np.random.default_rng(5)
    right = rng.random(20_000) < 0.9
    chances = np.where(right, 0.2, 0.8)
    drawn = rng.random(20_000) < chances
    found = estimated(
        mean_sequence("accuracy", right[drawn], inclusion_probability=chances[drawn], least_inclusion_probability=0.2)
    )
    assert right[drawn].mean() < 0.75
    assert found.low <= 0.9 <= found.high
    assert found.high - found.low < 0.1
    assert found.method == "betting sequence"


def test_a_sequence_of_one_probability_is_the_plain_one() -> None:
    values = np.random.default_rng(6).random(300)
    weighed = confidence_sequence(
        values, inclusion_probability=np.full(300, 0.3), least_inclusion_probability=0.3, grid=100
    )
    assert weighed.lower == pytest.approx(confidence_sequence(values, grid=100).lower)


def test_a_weighted_sequence_is_the_capital_of_its_definition() -> None:
    rng = np.random.default_rng(7)
    values, stakes, alpha, grid = (rng.random(200) < 0.8).astype(float), rng.uniform(0.2, 1, size=200), 0.1, 20
    found = confidence_sequence(
        values, alpha=alpha, grid=grid, inclusion_probability=0.1 / stakes, least_inclusion_probability=0.1
    )
    refuted = 0
    for m in np.arange(1, grid + 1) / grid:
        capital, peak, guess, mean_sum, weight, spread, squares = 1.0, 1.0, 0.25, 0.5, 1.0, 0.0, 0.0
        for t, (x, u) in enumerate(zip(values, stakes, strict=True), start=1):
            bet = min(np.sqrt(2 * np.log(2 / alpha) / (guess * t * np.log(t + 1))), 0.5 / m)
            capital *= 1 + bet * u * (x - m)
            peak = max(peak, capital)
            mean_sum, weight, squares = mean_sum + u * x, weight + u, squares + u**2
            spread += (u * (x - mean_sum / weight)) ** 2
            guess = (0.25 * squares / t + spread) / (t + 1)
        refuted += peak >= 2 / alpha
    assert found.last.lower == pytest.approx(refuted / grid)
    assert found.last.lower > 0.4


def test_bounds_that_crossed_are_not_an_interval() -> None:
    found = mean_sequence("accuracy", np.repeat([1.0, 0.0], [500, 3000]))
    assert isinstance(found, NotEstimated)
    assert "changed" in found.reason


def test_probabilities_that_cannot_be_are_named() -> None:
    with pytest.raises(DetectorInputError, match=r"must lie in \(0, 1\], got 0.0"):
        mean_estimate("accuracy", [1.0], inclusion_probability=[0.0])
    with pytest.raises(DetectorInputError, match="one per row, got 2 for 1"):
        mean_estimate("accuracy", [1.0], inclusion_probability=[0.5, 0.5])
    with pytest.raises(DetectorInputError, match=r"got 0\.1 at 0"):
        mean_sequence("a", [1.0], inclusion_probability=[0.1], least_inclusion_probability=0.2)
    with pytest.raises(DetectorInputError, match="go together"):
        mean_sequence("a", [1.0], inclusion_probability=[0.1])
    with pytest.raises(DetectorInputError, match="got 1 for 2"):
        horvitz_thompson_mean([1.0, 1.0], [0.5, 0.5], population=1)
    with pytest.raises(DetectorInputError, match="not exceed"):
        ratio_estimate("f1", [2.0], [1.0])
