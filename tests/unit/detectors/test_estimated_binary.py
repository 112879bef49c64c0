import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from detectors.errors import DetectorInputError
from detectors.estimated_binary import _area_of, _f1_of, estimated_f1, estimated_roc_auc
from detectors.estimates import Estimate, NotEstimated

BOTH = (estimated_f1, estimated_roc_auc)


def _drawn(seed: int, n: int, *, a: float = 0.6, b: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.beta(a, b, n)
    return score, (rng.random(n) < score).astype(float)


def test_certain_chances_give_scikit_learns_own_measures() -> None:
    score, label = _drawn(0, 500)
    score = np.round(score, 1)  # ties
    predicted = (score > 0.5).astype(float)
    assert _f1_of(predicted)(label)[0] == pytest.approx(f1_score(label, predicted), abs=1e-12)
    assert _area_of(score)(label)[0] == pytest.approx(roc_auc_score(label, score), abs=1e-12)


def test_the_expected_area_is_the_sum_over_all_pairs() -> None:
    rng = np.random.default_rng(1)
    score, chance = np.round(rng.random(40), 1), rng.random(40)
    pairs = np.outer(chance, 1 - chance)
    won = (score[:, None] > score) + 0.5 * (score[:, None] == score)
    assert _area_of(score)(chance)[0] == pytest.approx((pairs * won).sum() / (chance.sum() * (1 - chance).sum()))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), grid=st.integers(1, 6))
def test_gradients_are_those_of_small_steps(seed: int, grid: int) -> None:
    rng = np.random.default_rng(seed)
    score, chance = np.round(rng.random(30), grid), rng.uniform(0.1, 0.9, 30)
    for measure in (_f1_of((score > 0.5).astype(float)), _area_of(score)):
        value, gradient = measure(chance)
        step = np.eye(30) * 1e-6
        moved = np.array([measure(chance + one)[0] - value for one in step]) / 1e-6
        np.testing.assert_allclose(gradient, moved, atol=1e-5)


@pytest.mark.parametrize(("estimate", "truth"), [(estimated_f1, f1_score), (estimated_roc_auc, roc_auc_score)])
def test_the_interval_holds_what_labels_show_after_a_shift_of_scores(estimate: object, truth: object) -> None:
    before, label = _drawn(2, 20_000)
    now, later = _drawn(3, 4000, a=0.8)
    found = estimate(before, label, before > 0.5, now, now > 0.5)  # type: ignore[operator]
    assert isinstance(found.estimate, Estimate)
    shown = truth(later, now > 0.5 if truth is f1_score else now)  # type: ignore[operator]
    assert found.estimate.low <= shown <= found.estimate.high
    assert found.estimate.high - found.estimate.low < 0.06
    assert (found.reliable, found.estimate.method) == (True, "cbpe")


@pytest.mark.parametrize("estimate", BOTH)
def test_a_drift_makes_it_unreliable(estimate: object) -> None:
    before, label = _drawn(4, 2000)
    now, _ = _drawn(5, 500)
    found = estimate(before, label, before > 0.5, now, now > 0.5, inputs_drifted=True)  # type: ignore[operator]
    assert (found.reliable, found.reason) == (False, "the inputs drifted: scores may no longer mean what they meant")


@pytest.mark.parametrize("estimate", BOTH)
def test_a_window_without_a_positive_answer_has_a_value(estimate: object) -> None:
    before, label = np.repeat([0.0, 1.0], 200), np.repeat([0.0, 1.0], 200)
    found = estimate(before, label, label, np.zeros(50), np.zeros(50))  # type: ignore[operator]
    assert isinstance(found.estimate, Estimate)
    assert 0 <= found.estimate.low <= found.estimate.value <= found.estimate.high <= 1


@pytest.mark.parametrize("estimate", BOTH)
def test_too_few_of_a_kind_are_said(estimate: object) -> None:
    score = np.linspace(0, 1, 300)
    found = estimate(score, score > 0.99, score > 0.5, score, score > 0.5, name="x")  # type: ignore[operator]
    assert found.estimate == NotEstimated("x", "too few positive answers in the reference", 3, 5)
    assert (found.reliable, found.reason) == (False, "too few positive answers in the reference")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reference_labels": np.ones(299)}, "reference_labels must be one per score, got 299 for 300"),
        ({"reference_predictions": np.full(300, 2)}, "reference_predictions must be 0 or 1, got 2.0 at 0"),
        ({"predictions": np.ones(1)}, "predictions must be one per score, got 1 for 300"),
        ({"scores": np.full(300, -1.0)}, "scores must be finite and lie in"),
        ({"alpha": 2.0}, "alpha lies in"),
    ],
)
@pytest.mark.parametrize("estimate", BOTH)
def test_bad_input_is_named(estimate: object, changed: dict, message: str) -> None:
    score, label = _drawn(6, 300)
    given = {
        "reference_scores": score,
        "reference_labels": label,
        "reference_predictions": score > 0.5,
        "scores": score,
        "predictions": score > 0.5,
    } | changed
    with pytest.raises(DetectorInputError, match=message):
        estimate(**given)  # type: ignore[operator]
