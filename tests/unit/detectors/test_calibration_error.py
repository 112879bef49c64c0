import numpy as np
import pytest

from detectors.calibration_error import calibration_error
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated


def outcomes(gap: float, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    confidences = rng.uniform(0.5, 1.0, size=n)
    return confidences, rng.random(n) < confidences - gap


def estimated(found: Estimate | NotEstimated) -> Estimate:
    assert isinstance(found, Estimate)
    return found


def test_a_gap_of_one_bin_is_the_mean_confidence_less_the_accuracy() -> None:
    confidences, right = outcomes(0.2, 5000)
    found = estimated(calibration_error(confidences, right, bins=1))
    assert found.value == pytest.approx(confidences.mean() - right.mean(), abs=1e-6)
    half = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 5000)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=1e-4)


def test_a_calibrated_model_shows_no_error_where_the_plain_error_does() -> None:
    confidences, right = outcomes(0.0, 600, seed=2)
    found = estimated(calibration_error(confidences, right))
    edges = np.quantile(confidences, np.arange(1, 15) / 15)
    place = np.searchsorted(edges, confidences)
    plain = np.abs(np.bincount(place, weights=right - confidences)).sum() / 600
    assert plain > 0.03
    assert found.value < plain / 2
    assert found.low == 0


def test_rows_drawn_unequally_are_weighted_back() -> None:
    rng = np.random.default_rng(3)
    confidences = rng.uniform(0.5, 1.0, size=60_000)
    right = rng.random(60_000) < confidences - 0.1
    chances = np.where(right, 0.1, 0.5)
    drawn = rng.random(60_000) < chances
    found = estimated(calibration_error(confidences[drawn], right[drawn], inclusion_probability=chances[drawn]))
    assert found.low <= 0.1 <= found.high
    assert estimated(calibration_error(confidences[drawn], right[drawn])).low > 0.2


def test_few_rows_are_not_estimated_and_ties_share_a_bin() -> None:
    few = calibration_error([0.9] * 20, [1] * 20)
    assert isinstance(few, NotEstimated)
    assert (few.got, few.needed) == (20, 30)
    tied = estimated(calibration_error([0.9] * 100, [1] * 50 + [0] * 50))
    assert tied.value == pytest.approx(0.4, abs=1e-3)


def test_outcomes_that_cannot_be_are_named() -> None:
    with pytest.raises(DetectorInputError, match="0 or 1 per confidence, got 1 for 2"):
        calibration_error([0.5, 0.5], [1])
    with pytest.raises(DetectorInputError, match=r"got 1\.5 at 0"):
        calibration_error([1.5], [1])
    with pytest.raises(DetectorInputError, match="bins is at least 1"):
        calibration_error([0.5], [1], bins=0)
