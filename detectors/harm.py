"""Harmful or benign: does accuracy fall with the drift, by labels or else by scores; and an honest "unknown"."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from detectors.checks import FloatArray, probability, vector
from detectors.confidence import confidence_sequence, exact_interval
from detectors.errors import DetectorInputError

MINIMUM_SCORES = 50
MINIMUM_IN_BIN = 10
SCORE_BINS = 20
UNSEEN_SHARE = 0.05
BLINDNESS = 3.0  # on unseen classes scores show a third to a half of the fall: docs/math/harm.md


class Grade(StrEnum):
    """What a drift costs."""

    HARMFUL = "harmful"
    BENIGN = "benign"
    UNKNOWN = "unknown"


class Evidence(StrEnum):
    """What a grade rests on."""

    LABELS = "labels"
    SCORES = "scores"


@dataclass(frozen=True, slots=True)
class Harm:
    """A grade, how much the error ratio rose (a difference of ratios) with its interval, and why."""

    grade: Grade
    evidence: Evidence
    error_rise: float
    lower: float
    upper: float
    tolerance: float
    n: int
    reason: str


def grade_by_labels(
    losses: npt.ArrayLike, *, baseline_errors: int, baseline_n: int, tolerance: float, alpha: float = 0.05
) -> Harm:
    """Grade a drift by the losses (n,) in [0, 1] (0 right, 1 wrong) of labelled texts since it began, in order.

    Harmful once the error ratio exceeds the baseline's by more than tolerance, benign once it surely does not, unknown
    until then. Half of alpha pays for the baseline's chance (an exact interval), half for the sequence, which may be
    looked at after every label: the chance of ever grading wrongly is at most alpha.
    Source: Podkopaev & Ramdas 2022, eq. 5 to 7.

    >>> grade_by_labels([1.0] * 60, baseline_errors=50, baseline_n=1000, tolerance=0.05).grade.value
    'harmful'
    """
    _tolerated(tolerance)
    half = probability("alpha", alpha) / 2
    baseline = exact_interval(baseline_errors, baseline_n, alpha=half)
    observed = vector("losses", losses, low=0.0, high=1.0)
    if not observed.size:
        return Harm(
            Grade.UNKNOWN, Evidence.LABELS, 0.0, -baseline.upper, 1 - baseline.lower, tolerance, 0, "no label yet"
        )
    current = confidence_sequence(observed, alpha=half).last
    rise = float(observed.mean()) - baseline_errors / baseline_n
    lower, upper = current.lower - baseline.upper, current.upper - baseline.lower
    grade = _graded(lower, upper, tolerance=tolerance)
    lower, upper = min(lower, upper), max(lower, upper)  # they cross where the error ratio changed on the way
    reason = "the interval excludes the tolerance" if grade is not Grade.UNKNOWN else "the interval holds the tolerance"
    return Harm(grade, Evidence.LABELS, rise, lower, upper, tolerance, observed.size, reason)


def _tolerated(tolerance: float) -> None:
    if not 0 <= tolerance < 1:
        raise DetectorInputError(f"tolerance is a difference of error ratios in [0, 1), got {tolerance}")


def _graded(lower: float, upper: float, *, tolerance: float) -> Grade:
    if lower > tolerance:
        return Grade.HARMFUL
    return Grade.BENIGN if upper <= tolerance else Grade.UNKNOWN


def grade_by_scores(
    reference_scores: npt.ArrayLike,
    reference_correct: npt.ArrayLike,
    current_scores: npt.ArrayLike,
    *,
    tolerance: float,
    alpha: float = 0.05,
) -> Harm:
    """Grade a drift without labels: the accuracy that the current scores (n,) would have at the reference's rates.

    reference_scores (m,) in [0, 1] with reference_correct (m,) 0 or 1 say how often a score is right, in 20 quantile
    bins; they must not be the texts the model was trained on. The interval is of the delta method and covers chance
    alone. The estimate assumes that a score still means what it meant: on classes the model never saw it shows a third
    to a half of the true fall. So harmful is a lower bound and can be trusted, while benign asks that even three times
    the upper bound stays within tolerance; else, and when scores fall where there are few labels, unknown.
    Source: Podkopaev & Ramdas 2022, sec. 5; Guillory et al. 2021 (difference of confidences).
    """
    _tolerated(tolerance)
    probability("alpha", alpha)
    before, now = (
        vector(name, given, low=0.0, high=1.0)
        for name, given in (("reference_scores", reference_scores), ("current_scores", current_scores))
    )
    correct = vector("reference_correct", reference_correct, low=0.0, high=1.0)
    if correct.shape != before.shape:
        raise DetectorInputError(f"reference_correct must be one per score, got {correct.shape} for {before.shape}")
    smallest = min(before.size, now.size)
    if smallest < MINIMUM_SCORES:
        reason = f"{smallest} scores, {MINIMUM_SCORES} needed"
        return Harm(Grade.UNKNOWN, Evidence.SCORES, 0.0, -1.0, 1.0, tolerance, now.size, reason)
    rise, error, unseen = _estimated_rise(before, correct, now)
    half = float(norm.isf(alpha / 2)) * error
    lower, upper = max(-1.0, rise - half), min(1.0, rise + half)
    grade, reason = _graded_by_scores(lower, upper, tolerance=tolerance, unseen=unseen)
    return Harm(grade, Evidence.SCORES, rise, lower, upper, tolerance, now.size, reason)


def _graded_by_scores(lower: float, upper: float, *, tolerance: float, unseen: float) -> tuple[Grade, str]:
    if lower > tolerance:
        return Grade.HARMFUL, "the estimated fall alone exceeds the tolerance"
    if unseen > UNSEEN_SHARE:
        return Grade.UNKNOWN, f"{unseen:.0%} of the scores lie where the reference has hardly a label"
    if BLINDNESS * max(upper, 0.0) <= tolerance:
        return Grade.BENIGN, "even three times the estimated fall stays within the tolerance"
    return Grade.UNKNOWN, "the estimate leaves room for a fall beyond the tolerance"


def _estimated_rise(before: FloatArray, correct: FloatArray, now: FloatArray) -> tuple[float, float, float]:
    """Return the rise of the error ratio, its standard error, and the share of scores without labels near them."""
    edges = np.unique(np.quantile(before, np.arange(1, SCORE_BINS) / SCORE_BINS))
    size = edges.size + 1
    bins = [np.searchsorted(edges, side, side="left") for side in (before, now)]
    counts = [np.bincount(side, minlength=size).astype(np.float64) for side in bins]
    wrong = np.bincount(bins[0], weights=1 - correct, minlength=size)
    ratios = (wrong + 0.5) / (counts[0] + 1)
    old, new = counts[0] / before.size, counts[1] / now.size
    rise = float((new - old) @ ratios)
    labels = np.sum((new - old) ** 2 * ratios * (1 - ratios) / np.maximum(counts[0], 1))
    shares = sum(float(w @ ratios**2 - (w @ ratios) ** 2) / n for w, n in ((old, before.size), (new, now.size)))
    outside = (now < before.min()) | (now > before.max())
    unseen = float(np.mean(outside | (counts[0] < MINIMUM_IN_BIN)[bins[1]]))
    return rise, float(np.sqrt(max(float(labels) + shares, 0.0))), unseen
