"""What a drift costs, from labels, from scores, or not known and why."""

import numpy as np
import pytest

from monitor.jobs.harm import KnownOutcomes, correctness, grade_harm, known_outcomes

RNG = np.random.default_rng(3)
CONFIDENCES = RNG.uniform(0.3, 1.0, 2000)
CORRECT = (RNG.random(2000) < CONFIDENCES).astype(float)
HELD = np.arange(1000, 2000)
NONE = np.full(300, np.nan)


def reference() -> KnownOutcomes:
    return known_outcomes(CORRECT, CONFIDENCES, held=HELD)


def test_errors_count_every_label_and_scores_are_of_held_out_rows_alone() -> None:
    found = known_outcomes(np.array([1.0, 0, np.nan, 0]), np.array([0.9, 0.8, 0.7, np.nan]), held=np.array([1, 2, 3]))
    assert (found.errors, found.labelled, found.scores.tolist()) == (2, 3, [[0.8, 0.0]])
    again = KnownOutcomes.from_summary(found.as_summary())
    assert (again.errors, again.labelled, again.scores.tolist()) == (2, 3, [[0.8, 0.0]])


def test_labels_that_name_other_classes_than_the_answers_are_no_outcomes() -> None:
    assert known_outcomes(correctness(["billing", "login"], ["3", "7"]), None, held=np.arange(2)).labelled == 0
    assert correctness(None, ["3"]) is None
    assert known_outcomes(None, CONFIDENCES, held=HELD).labelled == 0


@pytest.mark.parametrize(("error_ratio", "grade"), [(0.34, "benign"), (0.9, "harmful")])
def test_labels_grade_before_scores(error_ratio: float, grade: str) -> None:
    losses = (np.random.default_rng(5).random(1500) < error_ratio).astype(float).tolist()
    found = grade_harm(reference(), losses=losses, confidences=CONFIDENCES[:300], tolerance=0.15)
    assert (found.grade, found.evidence, found.n) == (grade, "labels", 1500)


@pytest.mark.parametrize(("low", "high", "grade"), [(0.3, 1.0, "benign"), (0.3, 0.45, "harmful")])
def test_without_a_label_confidences_grade(low: float, high: float, grade: str) -> None:
    now = np.concatenate([np.random.default_rng(6).uniform(low, high, 2000), NONE])
    found = grade_harm(reference(), losses=[], confidences=now, tolerance=0.15)
    assert (found.grade, found.evidence, found.n) == (grade, "scores", 2000)


def test_what_is_not_known_is_told() -> None:
    nothing = KnownOutcomes.from_summary({"texts": 100})
    for known, losses, now, reason in (
        (reference(), [], NONE, "the window has neither labels nor scores"),
        (nothing, [], CONFIDENCES, "the reference has no labels"),
        (nothing, [1.0], CONFIDENCES, "the reference has no labels"),
        (known_outcomes(CORRECT, None, held=HELD), [], CONFIDENCES, "the reference has no scores"),
    ):
        found = grade_harm(known, losses=losses, confidences=now, tolerance=0.02)
        assert (found.grade, found.reason) == ("unknown", reason)
