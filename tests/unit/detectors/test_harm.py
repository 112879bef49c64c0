import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from detectors.confidence import confidence_sequence, exact_interval
from detectors.errors import DetectorInputError
from detectors.harm import Evidence, Grade, grade_by_labels, grade_by_scores


def _scored(rng: np.random.Generator, n: int, low: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    scores = rng.uniform(low, 1, size=n)
    return scores, (rng.random(n) < scores).astype(float)


def test_without_a_label_the_grade_is_unknown() -> None:
    found = grade_by_labels([], baseline_errors=10, baseline_n=100, tolerance=0.02)
    assert (found.grade, found.n, found.evidence) == (Grade.UNKNOWN, 0, Evidence.LABELS)
    assert found.lower < 0 < found.upper


def test_a_fall_is_harmful_a_standstill_is_benign_and_few_labels_are_unknown() -> None:
    rng = np.random.default_rng(0)
    worse, same = rng.random(800) < 0.3, rng.random(4000) < 0.1
    assert grade_by_labels(worse, baseline_errors=500, baseline_n=5000, tolerance=0.05).grade is Grade.HARMFUL
    assert grade_by_labels(same, baseline_errors=500, baseline_n=5000, tolerance=0.05).grade is Grade.BENIGN
    assert grade_by_labels(worse[:10], baseline_errors=500, baseline_n=5000, tolerance=0.05).grade is Grade.UNKNOWN


def test_the_interval_is_the_two_halves_put_together() -> None:
    losses = np.array([0.0, 1.0] * 100)
    found = grade_by_labels(losses, baseline_errors=20, baseline_n=200, tolerance=0.1, alpha=0.1)
    current, baseline = confidence_sequence(losses, alpha=0.05).last, exact_interval(20, 200, alpha=0.05)
    assert found.lower == pytest.approx(current.lower - baseline.upper)
    assert found.upper == pytest.approx(current.upper - baseline.lower)
    assert found.error_rise == pytest.approx(0.4)


def test_a_certain_fall_by_scores_is_harmful_and_the_same_scores_are_not() -> None:
    rng = np.random.default_rng(1)
    scores, correct = _scored(rng, 5000, low=0.6)
    falling = np.concatenate([scores[:1000], rng.uniform(0.6, 0.65, size=2000)])
    assert grade_by_scores(scores, correct, falling, tolerance=0.05).grade is Grade.HARMFUL
    same = grade_by_scores(scores, correct, rng.uniform(0.6, 1, size=5000), tolerance=0.1)
    assert same.grade is Grade.BENIGN
    tight = grade_by_scores(scores, correct, rng.uniform(0.6, 1, size=5000), tolerance=0.01)
    assert tight.grade is Grade.UNKNOWN


def test_scores_the_reference_never_saw_leave_the_grade_unknown() -> None:
    rng = np.random.default_rng(2)
    scores, correct = _scored(rng, 2000, low=0.6)
    higher = np.concatenate([rng.uniform(0.95, 0.999, size=900), rng.uniform(0.0, 0.3, size=100)])
    found = grade_by_scores(scores, correct, higher, tolerance=0.3)
    assert found.grade is Grade.UNKNOWN
    assert "10% of the scores" in found.reason


def test_too_few_scores_are_unknown_and_wrong_ones_are_named() -> None:
    few = grade_by_scores([0.5] * 10, [1.0] * 10, [0.5] * 100, tolerance=0.1)
    assert (few.grade, few.reason) == (Grade.UNKNOWN, "10 scores, 50 needed")
    with pytest.raises(DetectorInputError, match=r"got 1.2 at 0"):
        grade_by_scores([0.5] * 60, [1.0] * 60, [1.2] * 60, tolerance=0.1)
    with pytest.raises(DetectorInputError, match="one per score"):
        grade_by_scores([0.5] * 60, [1.0] * 59, [0.2] * 60, tolerance=0.1)
    with pytest.raises(DetectorInputError, match="tolerance"):
        grade_by_labels([0.0], baseline_errors=1, baseline_n=10, tolerance=-0.1)
    with pytest.raises(DetectorInputError, match="11 of 10"):
        grade_by_labels([0.0], baseline_errors=11, baseline_n=10, tolerance=0.1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0]), max_size=80), st.integers(0, 50))
def test_a_grade_by_labels_is_always_finite_and_ordered(losses: list[float], errors: int) -> None:
    found = grade_by_labels(losses, baseline_errors=errors, baseline_n=50, tolerance=0.05)
    assert -1 <= found.lower <= found.upper <= 1
    assert np.isfinite(found.error_rise)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(50, 80))
def test_constant_scores_are_graded_without_nan(score: float, n: int) -> None:
    found = grade_by_scores([score] * n, [1.0] * n, [score] * 50, tolerance=0.05)
    assert np.isfinite([found.error_rise, found.lower, found.upper]).all()
    assert found.grade is not Grade.HARMFUL


@pytest.mark.statistical
def test_looking_after_every_label_grades_wrongly_no_more_often_than_alpha() -> None:
    runs, alpha, tolerance, wrong = 200, 0.1, 0.05, 0
    for run in range(runs):
        rng = np.random.default_rng([9, run])
        errors = int(rng.binomial(1000, 0.1))
        baseline = exact_interval(errors, 1000, alpha=alpha / 2)
        current = confidence_sequence(rng.random(1000) < 0.15, alpha=alpha / 2, grid=200)  # exactly at the tolerance
        wrong += bool((current.lower - baseline.upper > tolerance).any())
        wrong += bool((current.upper - baseline.lower < tolerance).any())
    assert wrong <= binom.isf(1e-4, runs, alpha)


@pytest.mark.statistical
def test_the_score_interval_holds_the_true_rise_when_scores_keep_their_meaning() -> None:
    runs, missed = 400, 0
    for run in range(runs):
        rng = np.random.default_rng([10, run])
        scores, correct = _scored(rng, 1500, low=0.5)
        now = rng.uniform(0.5, 0.9, size=800)
        found = grade_by_scores(scores, correct, now, tolerance=0.05)
        missed += not found.lower - 0.003 <= 0.05 <= found.upper + 0.003  # bins are as wide as .025: a bias of .002
    assert missed <= binom.isf(1e-4, runs, 0.05)
