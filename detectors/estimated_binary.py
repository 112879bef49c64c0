"""Before labels, of two classes: the F1 and ROC AUC that scores alone promise, with their intervals."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from detectors.checks import FloatArray, outcomes, probability, vector
from detectors.errors import DetectorInputError
from detectors.estimated_accuracy import (
    TOLERANCE,
    Calibration,
    LabelFreeEstimate,
    calibration,
    doubts,
    too_few,
)
from detectors.estimates import Estimate, NotEstimated

Measure = Callable[[FloatArray], tuple[float, FloatArray]]


def estimated_f1(
    reference_scores: npt.ArrayLike,
    reference_labels: npt.ArrayLike,
    reference_predictions: npt.ArrayLike,
    scores: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    name: str = "estimated f1",
    alpha: float = 0.05,
    inputs_drifted: bool | None = None,
    scores_drifted: bool | None = None,
    tolerance: float = TOLERANCE,
) -> LabelFreeEstimate:
    """Return the F1 of the positive class that all labels of a window would show, and whether to believe it.

    Scores of the positive class, (m,) of the reference and (n,) of the window, lie in [0, 1]; labels and predictions
    are 0 or 1. Calibrated chances g stand for labels: F1 = 2 Σ g [predicted] / (Σ [predicted] + Σ g), the ratio of
    expectations. The interval is of the delta method, over the fit and the window's own outcomes; doubts, errors and
    limits are those of `estimated_accuracy`. Source: Kivimäki et al. 2025 (CBPE of binary classification).

    >>> before = np.linspace(0.0, 1.0, 1000)
    >>> positive = (np.arange(1000) * 0.618) % 1 < before
    >>> found = estimated_f1(before, positive, before > 0.5, before, before > 0.5)
    >>> found.reliable, round(found.estimate.value, 2), round(found.estimate.low, 2), round(found.estimate.high, 2)
    (True, 0.75, 0.71, 0.78)
    """
    answered = _answered(reference_scores, reference_labels, reference_predictions, scores, predictions)
    found = _estimated(answered, _f1_of(answered.predicted), name=name, alpha=probability("alpha", alpha))
    return _believed(found, answered, inputs=inputs_drifted, scores=scores_drifted, tolerance=tolerance)


def estimated_roc_auc(
    reference_scores: npt.ArrayLike,
    reference_labels: npt.ArrayLike,
    reference_predictions: npt.ArrayLike,
    scores: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    name: str = "estimated roc auc",
    alpha: float = 0.05,
    inputs_drifted: bool | None = None,
    scores_drifted: bool | None = None,
    tolerance: float = TOLERANCE,
) -> LabelFreeEstimate:
    """Return the area under the ROC curve that all labels of a window would show, and whether to believe it.

    Arguments, interval, doubts and errors are those of `estimated_f1`. A pair of texts counts by the chance that the
    first is positive and the second not; ties by half. Time O(n log n).

    >>> before = np.linspace(0.0, 1.0, 1000)
    >>> positive = (np.arange(1000) * 0.618) % 1 < before
    >>> round(estimated_roc_auc(before, positive, before > 0.5, before, before > 0.5).estimate.value, 2)
    0.83
    """
    answered = _answered(reference_scores, reference_labels, reference_predictions, scores, predictions)
    found = _estimated(answered, _area_of(answered.now), name=name, alpha=probability("alpha", alpha))
    return _believed(found, answered, inputs=inputs_drifted, scores=scores_drifted, tolerance=tolerance)


@dataclass(frozen=True, slots=True)
class _Answered:
    """Scores (m,), labels and predictions of the reference; scores (n,) and predictions of the window."""

    before: FloatArray
    labels: FloatArray
    earlier: FloatArray
    now: FloatArray
    predicted: FloatArray


def _answered(
    reference_scores: npt.ArrayLike,
    reference_labels: npt.ArrayLike,
    reference_predictions: npt.ArrayLike,
    scores: npt.ArrayLike,
    predictions: npt.ArrayLike,
) -> _Answered:
    before = vector("reference_scores", reference_scores, low=0.0, high=1.0)
    now = vector("scores", scores, low=0.0, high=1.0)
    labels = _one_each("reference_labels", reference_labels, before)
    earlier = _one_each("reference_predictions", reference_predictions, before)
    return _Answered(before, labels, earlier, now, _one_each("predictions", predictions, now))


def _one_each(name: str, values: npt.ArrayLike, scores: FloatArray) -> FloatArray:
    given = outcomes(name, values)
    if given.size != scores.size:
        raise DetectorInputError(f"{name} must be one per score, got {given.size} for {scores.size}")
    return given


def _f1_of(predicted: FloatArray) -> Measure:
    """Return the F1 of expectations as a function of the chances of being positive, with its gradient (n,)."""

    def measure(chances: FloatArray) -> tuple[float, FloatArray]:
        whole = float(predicted.sum() + chances.sum())
        if whole <= 0:
            return 0.0, np.zeros(predicted.size)
        value = 2 * float(predicted @ chances) / whole
        return value, (2 * predicted - value) / whole

    return measure


def _area_of(scores: FloatArray) -> Measure:
    """Return the expected area as a function of the chances of being positive, with its gradient (n,)."""
    place = rankdata(scores, method="dense") - 1

    def measure(chances: FloatArray) -> tuple[float, FloatArray]:
        positive, negative = np.bincount(place, weights=chances), np.bincount(place, weights=1 - chances)
        all_positive, all_negative = float(positive.sum()), float(negative.sum())
        if all_positive <= 0 or all_negative <= 0:
            return 0.5, np.zeros(scores.size)
        below = np.cumsum(negative) - negative / 2
        above = all_positive - np.cumsum(positive) + positive / 2
        value = float(positive @ below) / (all_positive * all_negative)
        gradient = (below - above) / (all_positive * all_negative) - value / all_positive + value / all_negative
        return value, np.asarray(gradient[place])

    return measure


def _estimated(answered: _Answered, measure: Measure, *, name: str, alpha: float) -> Estimate | NotEstimated:
    """Return the measure at the calibrated chances with a delta-method interval within [0, 1]."""
    now = answered.now
    missing = too_few(name, answered.labels, now.size, kinds=("positive", "negative"))
    if missing is not None:
        return missing
    fit = calibration(answered.before, answered.labels)
    value, gradient = measure(fit.at(now))
    half = float(norm.isf(alpha / 2) * np.sqrt(_variance(fit, gradient, now)))
    return Estimate(name, value, max(0.0, value - half), min(1.0, value + half), now.size, "cbpe", alpha)


def _variance(fit: Calibration, gradient: FloatArray, now: FloatArray) -> float:
    """Return the variance of a sum of gradient times outcome: that of the fit's blocks, and of the outcomes."""
    block = fit.blocks_of(now)
    held = fit.held()
    spread = held * (1 - held)
    pulls = np.bincount(block, weights=gradient, minlength=held.size)
    return float(pulls**2 @ (spread / fit.block_labels) + gradient**2 @ spread[block])


def _believed(
    found: Estimate | NotEstimated, answered: _Answered, *, inputs: bool | None, scores: bool | None, tolerance: float
) -> LabelFreeEstimate:
    """Return an estimate with the reasons not to believe the accuracy of the same answers."""
    if isinstance(found, NotEstimated):
        return LabelFreeEstimate(found, False, found.reason)
    reasons = doubts(
        np.where(answered.earlier == 1, answered.before, 1 - answered.before),
        (answered.earlier == answered.labels).astype(np.float64),
        np.where(answered.predicted == 1, answered.now, 1 - answered.now),
        inputs=inputs,
        scores=scores,
        tolerance=tolerance,
    )
    return LabelFreeEstimate(found, not reasons, "; ".join(reasons))
