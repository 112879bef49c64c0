import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from detectors.errors import DetectorInputError
from detectors.estimated_accuracy import LabelFreeEstimate, estimated_accuracy, thresholded_accuracy
from detectors.estimates import Estimate, NotEstimated


def _drawn(seed: int, n: int, *, a: float = 8.0, b: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.beta(a, b, n)
    return score, (rng.random(n) < score).astype(float)


def _value(found: LabelFreeEstimate | Estimate | NotEstimated) -> Estimate:
    estimate = found.estimate if isinstance(found, LabelFreeEstimate) else found
    assert isinstance(estimate, Estimate)
    return estimate


def test_the_value_is_the_mean_of_scikit_learns_isotonic_calibration() -> None:
    before, right = _drawn(0, 2000)
    now, _ = _drawn(1, 500, a=4.0)
    twin = IsotonicRegression(out_of_bounds="clip").fit(before, right).predict(now).mean()
    found = _value(estimated_accuracy(before, right, now))
    assert found.value == pytest.approx(twin, abs=1e-12)
    assert (found.n, found.method, found.name) == (500, "cbpe", "estimated accuracy")


def test_two_scores_by_hand() -> None:
    # 0.9 is right in 180 of 200, 0.6 in 120 of 200; the window has 30 and 70 of them: 0.3 * 0.9 + 0.7 * 0.6
    before = np.repeat([0.9, 0.6], 200)
    right = np.concatenate([np.arange(200) < 180, np.arange(200) < 120])
    found = _value(estimated_accuracy(before, right, np.repeat([0.9, 0.6], [30, 70]), tolerance=1.0))
    assert found.value == pytest.approx(0.69)
    held = np.array([180.5, 120.5]) / 201
    spread = held * (1 - held)
    variance = np.array([0.3, 0.7]) ** 2 @ spread / 200 + np.array([0.3, 0.7]) @ spread / 100
    # a beta of so small a variance is near normal: rounded outwards to hundredths
    expected = 0.69 + np.array([-1.96, 1.96]) * np.sqrt(variance)
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.012)
    assert (round(found.low * 100, 9) % 1, round(found.high * 100, 9) % 1) == (0, 0)


def test_a_pure_shift_of_scores_is_followed() -> None:
    before, right = _drawn(2, 20_000)
    now, outcome = _drawn(3, 5000, a=6.0)
    found = _value(estimated_accuracy(before, right, now))
    assert found.low <= outcome.mean() <= found.high
    assert found.high < right.mean()


def test_fewer_reference_labels_make_a_wider_interval() -> None:
    before, right = _drawn(4, 20_000)
    now, _ = _drawn(5, 2000)
    few, many = (_value(estimated_accuracy(before[:size], right[:size], now)) for size in (300, 20_000))
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_a_window_like_the_reference_is_reliable() -> None:
    found = estimated_accuracy(*_drawn(6, 3000), _drawn(7, 1000)[0])
    assert (found.reliable, found.reason) == (True, "")


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"inputs_drifted": True}, "the inputs drifted: scores may no longer mean what they meant"),
        ({"scores_drifted": True}, "the scores drifted: the estimate holds only if they still mean what they meant"),
    ],
)
def test_drift_makes_an_estimate_unreliable_and_not_another(told: dict[str, bool], reason: str) -> None:
    before, right = _drawn(8, 3000)
    now, _ = _drawn(9, 1000)
    plain, doubted = estimated_accuracy(before, right, now), estimated_accuracy(before, right, now, **told)
    assert (doubted.reliable, doubted.reason) == (False, reason)
    assert doubted.estimate == plain.estimate
    assert estimated_accuracy(before, right, now, **dict.fromkeys(told, False)).reliable


def test_scores_where_the_reference_has_none_are_unreliable() -> None:
    rng = np.random.default_rng(10)
    before = rng.uniform(0.7, 1.0, 2000)
    right = rng.random(2000) < before
    now = np.concatenate([rng.uniform(0.7, 1.0, 900), rng.uniform(0.2, 0.6, 100)])
    found = estimated_accuracy(before, right, now, tolerance=1.0)
    assert found.reason == "10% of the scores lie where the reference has hardly any"
    assert estimated_accuracy(before, right, now[:940], tolerance=1.0).reliable


def test_two_readings_of_a_great_shift_disagree() -> None:
    before, right = _drawn(11, 5000)
    now, _ = _drawn(12, 2000, a=2.0)
    found = estimated_accuracy(before, right, now)
    other = _value(thresholded_accuracy(before, right, now))
    assert not found.reliable
    assert f"{_value(found).value:.3f} by calibration, {other.value:.3f} by threshold" in found.reason


def test_an_estimate_far_from_the_references_accuracy_is_doubted() -> None:
    before = np.repeat([0.9, 0.6], 1000)
    right = np.concatenate([np.arange(1000) < 1000, np.arange(1000) < 0])  # a score that knows: both readings agree
    found = estimated_accuracy(before, right, np.repeat([0.9, 0.6], [300, 700]))
    assert found.reason == "scores shifted far: 0.300 estimated, 0.500 right in the reference"
    assert estimated_accuracy(before, right, np.repeat([0.9, 0.6], [300, 700]), tolerance=0.2).reliable


def test_every_doubt_is_told() -> None:
    before, right = _drawn(13, 2000, a=40.0)
    found = estimated_accuracy(before, right, np.full(100, 0.05), inputs_drifted=True, scores_drifted=True)
    assert found.reason.count("; ") == 4


def test_the_threshold_passes_as_many_of_the_reference_as_are_right() -> None:
    before, right = _drawn(14, 1000)
    assert _value(thresholded_accuracy(before, right, before)).value == pytest.approx(right.mean(), abs=1e-12)
    rounded = np.round(before, 1)  # ties at the threshold count by their share
    assert _value(thresholded_accuracy(rounded, right, rounded)).value == pytest.approx(right.mean(), abs=1e-12)


def test_a_threshold_by_hand() -> None:
    # 60 % are right, so the 120 greatest of 200 pass: above 0.395; of the window's ten every 0.1 that is 0.4 to 0.9
    before = np.arange(200) / 200
    found = _value(thresholded_accuracy(before, np.arange(200) >= 80, np.tile(np.arange(10) / 10, 10)))
    assert (found.value, found.n, found.method) == (pytest.approx(0.6), 100, "atc")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    m=st.integers(200, 400),
    n=st.integers(20, 200),
    a=st.floats(0.3, 20.0),
    grid=st.integers(0, 3),
)
def test_every_interval_lies_in_zero_to_one_around_its_value(seed: int, m: int, n: int, a: float, grid: int) -> None:
    before, right = _drawn(seed, m, b=5.0)
    now = np.round(_drawn(seed + 1, n, a=a)[0], grid)
    for found in (estimated_accuracy(before, right, now).estimate, thresholded_accuracy(before, right, now)):
        estimate = _value(found)
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@pytest.mark.parametrize(
    ("m", "wrong", "n", "reason", "got", "needed"),
    [
        (199, 50, 100, "too few reference scores with a label", 199, 200),
        (300, 4, 100, "too few wrong answers in the reference", 4, 5),
        (300, 296, 100, "too few right answers in the reference", 4, 5),
        (300, 50, 19, "too few scores in the window", 19, 20),
    ],
)
def test_too_little_is_said(m: int, wrong: int, n: int, reason: str, got: int, needed: int) -> None:
    before, right, now = np.linspace(0, 1, m), np.arange(m) >= wrong, np.linspace(0, 1, n)
    missing = NotEstimated("estimated accuracy", reason, got, needed)
    assert estimated_accuracy(before, right, now) == LabelFreeEstimate(missing, False, reason)
    assert thresholded_accuracy(before, right, now, name="estimated accuracy") == missing


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reference_confidences": np.full(300, 1.2)}, "reference_confidences must be finite and lie in"),
        ({"reference_correct": np.full(300, 0.3)}, "reference_correct must be 0 or 1, got 0.3 at 0"),
        ({"reference_correct": np.ones(299)}, "reference_correct must be one per confidence, got 299 for 300"),
        ({"confidences": np.array([0.5, np.nan])}, "confidences must be finite"),
        ({"alpha": 1.0}, "alpha lies in"),
    ],
)
def test_bad_input_is_named(changed: dict, message: str) -> None:
    before, right = _drawn(15, 300)
    given = {"reference_confidences": before, "reference_correct": right, "confidences": before} | changed
    for estimate in (estimated_accuracy, thresholded_accuracy):
        with pytest.raises(DetectorInputError, match=message):
            estimate(**given)
