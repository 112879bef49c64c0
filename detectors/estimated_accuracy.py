"""Before labels: the accuracy that scores alone promise, with its interval, and when not to believe it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression
from scipy.stats import beta

from detectors.checks import FloatArray, IntArray, outcomes, probability, vector
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated

MINIMUM_REFERENCE = 200
MINIMUM_OF_A_KIND = 5  # right answers, and wrong ones
MINIMUM_WINDOW = 20
NEAR = 0.05  # confidences this close speak for each other
FEW_NEAR = 5
UNSEEN_SHARE = 0.05
TOLERANCE = 0.05  # beyond noise: docs/math/few-labels.md
NOISE = 3.0  # standard errors


@dataclass(frozen=True, slots=True)
class LabelFreeEstimate:
    """An estimate without labels, whether its assumption may be believed, and why not ("" where it may)."""

    estimate: Estimate | NotEstimated
    reliable: bool
    reason: str


def estimated_accuracy(
    reference_confidences: npt.ArrayLike,
    reference_correct: npt.ArrayLike,
    confidences: npt.ArrayLike,
    *,
    name: str = "estimated accuracy",
    alpha: float = 0.05,
    inputs_drifted: bool | None = None,
    scores_drifted: bool | None = None,
    tolerance: float = TOLERANCE,
) -> LabelFreeEstimate:
    """Return the accuracy that all labels of a window would show, from its confidences (n,), and whether to believe it.

    reference_confidences (m,) in [0, 1] with reference_correct (m,), 0 or 1, must be of texts the model was not trained
    on; a confidence is the score of the answer given, of two classes or a thousand. They are calibrated by an isotonic
    fit and averaged over the window (CBPE). The interval counts the chance of the fit and that of the window's own
    outcomes, so that it holds what the labels would show; it assumes that a score means what it meant.

    Unreliable where that is in doubt: inputs or scores drifted (by the caller's tests; None: not tested); over 5 % of
    the confidences lie where the reference has hardly any; or, by more than tolerance beyond three standard errors, the
    estimate leaves the reference's accuracy, or `thresholded_accuracy` differs from it. A fall it shows is then at
    least likely, and often but part of the true one. Silence is no proof: a changed meaning with unchanged scores
    cannot be seen.

    Raises DetectorInputError; fewer than 200 reference confidences, 5 right or 5 wrong answers among them, or 20
    confidences in the window are NotEstimated. Time O(m log m + n log m).
    Source: Kivimäki et al. 2025 and NannyML 0.13 (CBPE); Garg et al. 2022 (ATC).

    >>> before = np.linspace(0.5, 1.0, 1000)
    >>> right = (np.arange(1000) * 0.618) % 1 < before
    >>> found = estimated_accuracy(before, right, before[50:])
    >>> found.reliable, round(found.estimate.value, 2), round(found.estimate.low, 2), round(found.estimate.high, 2)
    (True, 0.76, 0.72, 0.79)
    >>> estimated_accuracy(before, right, before[50:], inputs_drifted=True).reason
    'the inputs drifted: scores may no longer mean what they meant'
    """
    before, correct, now = _checked(reference_confidences, reference_correct, confidences)
    probability("alpha", alpha)
    missing = too_few(name, correct, now.size)
    if missing is not None:
        return LabelFreeEstimate(missing, False, missing.reason)
    value, centre, variance = _calibrated(before, correct, now)
    low, high = _bounds(value, centre, variance, now.size, alpha=alpha)
    reasons = doubts(before, correct, now, inputs=inputs_drifted, scores=scores_drifted, tolerance=tolerance)
    return LabelFreeEstimate(Estimate(name, value, low, high, now.size, "cbpe", alpha), not reasons, "; ".join(reasons))


def thresholded_accuracy(
    reference_confidences: npt.ArrayLike,
    reference_correct: npt.ArrayLike,
    confidences: npt.ArrayLike,
    *,
    name: str = "thresholded accuracy",
    alpha: float = 0.05,
) -> Estimate | NotEstimated:
    """Return the share of a window's confidences (n,) above the threshold which the reference's right answers set.

    As many of the reference's confidences lie above it as its answers are right; confidences equal to it count by the
    share of the reference's that must. The interval is of chance alone, on both sides, were nothing to change;
    arguments, errors and limits are those of `estimated_accuracy`.
    Source: Garg et al. 2022 (ATC with maximum confidence).

    >>> before = np.linspace(0.0, 1.0, 1000)
    >>> found = thresholded_accuracy(before, before > 0.3, before[500:])
    >>> round(found.value, 3), found.n
    (1.0, 500)
    """
    before, correct, now = _checked(reference_confidences, reference_correct, confidences)
    probability("alpha", alpha)
    missing = too_few(name, correct, now.size)
    if missing is not None:
        return missing
    value, variance = _thresholded(before, correct, now)
    centre = (value * now.size + 0.5) / (now.size + 1)
    low, high = _bounds(value, centre, variance, now.size, alpha=alpha)
    return Estimate(name, value, low, high, now.size, "atc", alpha)


def _checked(
    reference: npt.ArrayLike, correct: npt.ArrayLike, confidences: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    before = vector("reference_confidences", reference, low=0.0, high=1.0)
    now = vector("confidences", confidences, low=0.0, high=1.0)
    right = outcomes("reference_correct", correct)
    if right.size != before.size:
        raise DetectorInputError(f"reference_correct must be one per confidence, got {right.size} for {before.size}")
    return before, right, now


def too_few(
    name: str, outcome: FloatArray, window: int, *, kinds: tuple[str, str] = ("right", "wrong")
) -> NotEstimated | None:
    """Return what is missing: reference outcomes (m,), of each kind, or scores in the window; None where enough."""
    first = int(outcome.sum())
    for what, got, needed in (
        ("reference scores with a label", outcome.size, MINIMUM_REFERENCE),
        (f"{kinds[0]} answers in the reference", first, MINIMUM_OF_A_KIND),
        (f"{kinds[1]} answers in the reference", outcome.size - first, MINIMUM_OF_A_KIND),
        ("scores in the window", window, MINIMUM_WINDOW),
    ):
        if got < needed:
            return NotEstimated(name, f"too few {what}", got, needed)
    return None


@dataclass(frozen=True, slots=True)
class Calibration:
    """An isotonic fit: the chance at each known score (u,), and its level blocks with their labels and ones (b,)."""

    known: FloatArray
    chances: FloatArray
    block_of: IntArray
    block_labels: FloatArray
    block_ones: FloatArray

    def at(self, scores: FloatArray) -> FloatArray:
        """Return the chance (n,) at each score, between known ones on a line."""
        return np.asarray(np.interp(scores, self.known, self.chances))

    def blocks_of(self, scores: FloatArray) -> IntArray:
        """Return the level block (n,) of each score."""
        return np.asarray(self.block_of[np.clip(np.searchsorted(self.known, scores), 0, self.known.size - 1)])

    def held(self) -> FloatArray:
        """Return each block's share (b,) of ones with half of each kind added: no block is certain."""
        return (self.block_ones + 0.5) / (self.block_labels + 1)


def calibration(scores: FloatArray, outcome: FloatArray) -> Calibration:
    """Return the isotonic fit of outcomes (m,), 0 or 1, on scores (m,)."""
    known, place = np.unique(scores, return_inverse=True)
    labels = np.bincount(place).astype(np.float64)
    ones = np.bincount(place, weights=outcome)
    found = isotonic_regression(ones / labels, weights=labels)
    starts = found.blocks[:-1]
    block_of = np.repeat(np.arange(starts.size), np.diff(found.blocks))
    return Calibration(known, found.x, block_of, np.add.reduceat(labels, starts), np.add.reduceat(ones, starts))


def _calibrated(before: FloatArray, correct: FloatArray, now: FloatArray) -> tuple[float, float, float]:
    """Return the mean calibrated chance of being right, that held back, and the variance of what labels would show.

    Each level block of the fit is a share of n_b labels, so of variance g(1 - g)/n_b, and counts as often as the
    window has confidences there; the window's own outcomes vary by g(1 - g) each.
    """
    fit = calibration(before, correct)
    held = fit.held()
    spread = held * (1 - held)
    shares = np.bincount(fit.blocks_of(now), minlength=held.size) / now.size
    variance = float(shares**2 @ (spread / fit.block_labels)) + float(shares @ spread) / now.size
    return float(fit.at(now).mean()), float(shares @ held), variance


def _thresholded(before: FloatArray, correct: FloatArray, now: FloatArray) -> tuple[float, float]:
    """Return the share of the window above the threshold, and its variance were nothing to change."""
    ranked = np.sort(before)[::-1]
    right = int(correct.sum())
    threshold = ranked[min(right, ranked.size - 1)]
    above, equal = np.count_nonzero(before > threshold), np.count_nonzero(before == threshold)
    counted = (right - above) / equal
    value = float(np.mean(now > threshold) + counted * np.mean(now == threshold))
    rate = (right + 0.5) / (before.size + 1)
    return value, max(rate * (1 - rate), value * (1 - value)) * (1 / before.size + 1 / now.size)


def _bounds(value: float, centre: float, variance: float, n: int, *, alpha: float) -> tuple[float, float]:
    """Return bounds of what n labels would show: of a beta of this centre and variance, rounded outwards to 1/n."""
    worth = max(centre * (1 - centre) / variance - 1, 1.0)
    low, high = beta.ppf([alpha / 2, 1 - alpha / 2], centre * worth, (1 - centre) * worth)
    return min(value, float(np.floor(low * n) / n)), max(value, min(1.0, float(np.ceil(high * n) / n)))


def doubts(
    before: FloatArray,
    correct: FloatArray,
    now: FloatArray,
    *,
    inputs: bool | None,
    scores: bool | None,
    tolerance: float,
) -> list[str]:
    """Return every reason not to believe confidences (n,), when those of the reference (m,) were so often right."""
    reasons = []
    if inputs:
        reasons.append("the inputs drifted: scores may no longer mean what they meant")
    if scores:
        reasons.append("the scores drifted: the estimate holds only if they still mean what they meant")
    unseen = _unseen_share(before, now)
    if unseen > UNSEEN_SHARE:
        reasons.append(f"{unseen:.0%} of the scores lie where the reference has hardly any")
    value = _calibrated(before, correct, now)[0]
    other, variance = _thresholded(before, correct, now)
    room, known = tolerance + NOISE * float(np.sqrt(variance)), float(correct.mean())
    if abs(value - known) > room:
        reasons.append(f"scores shifted far: {value:.3f} estimated, {known:.3f} right in the reference")
    if abs(other - value) > room:
        reasons.append(f"two estimates disagree: {value:.3f} by calibration, {other:.3f} by threshold")
    return reasons


def _unseen_share(before: FloatArray, now: FloatArray) -> float:
    """Return the share of the window's confidences with fewer than 5 of the reference within 0.05."""
    ranked = np.sort(before)
    near = np.searchsorted(ranked, now + NEAR, side="right") - np.searchsorted(ranked, now - NEAR, side="left")
    return float(np.mean(near < FEW_NEAR))
