"""Expected calibration error: how far a model's confidence is from how often it is right, less what chance adds."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

from detectors.checks import FloatArray, probability, vector
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated
from detectors.weighted import Measure, inverse_probabilities

BINS = 15
MINIMUM_ROWS = 30
LARGEST_SCALE = 1e3


def calibration_error(
    confidences: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    inclusion_probability: npt.ArrayLike | None = None,
    bins: int = BINS,
    alpha: float = 0.05,
) -> Measure:
    """Return the expected calibration error, sum over bins of share · |accuracy - mean confidence|, at a single look.

    confidences (n,) in [0, 1] are those of the answers given, correct (n,) is 0 or 1; bins hold equal numbers of rows,
    tied confidences together. Chance alone makes the plain error positive: each bin's gap is a normal value of known
    noise, and the value given is the error whose *expected* plain error is the one seen (0 where a calibrated model
    would show as much). The interval holds the errors under which the plain one is within its normal range. Both scale
    all gaps alike. Speaks of these bins: within a bin, gaps of opposite sign cancel. Fewer than 30 rows, or fewer than
    two a bin, gives NotEstimated.
    Source: Naeini et al. 2015 (the error); Kumar, Liang & Ma 2019, sec. 5 (its normal debiasing);
    docs/math/quality.md.

    >>> rng = np.random.default_rng(0)
    >>> confidences = rng.uniform(0.5, 1.0, size=4000)
    >>> found = calibration_error(confidences, rng.random(4000) < confidences - 0.1)
    >>> found.low < 0.1 < found.high
    True
    """
    scores = vector("confidences", confidences, low=0.0, high=1.0)
    right = vector("correct", correct, low=0.0, high=1.0)
    if scores.shape != right.shape or ((right > 0) & (right < 1)).any():
        raise DetectorInputError(f"correct must be 0 or 1 per confidence, got {right.size} for {scores.size}")
    if bins < 1:
        raise DetectorInputError(f"bins is at least 1, got {bins}")
    weights = inverse_probabilities(scores.size, inclusion_probability)
    z = float(norm.isf(probability("alpha", alpha) / 2))
    name = "calibration_error"
    needed = max(MINIMUM_ROWS, 2 * bins)
    if scores.size < needed:
        return NotEstimated(name, "too few labelled rows for the bins", scores.size, needed)
    gaps, noise, shares = _gaps(scores, right, weights, bins=bins)
    plain = float(shares @ np.abs(gaps))
    low, value, high = (
        plain * _scale(gaps, noise, shares, plain=plain, shift=shift, n=scores.size) for shift in (z, 0.0, -z)
    )
    return Estimate(
        name, min(value, 1.0), min(low, value), min(max(high, value), 1.0), scores.size, "debiased bins, normal", alpha
    )


def _gaps(
    scores: FloatArray, right: FloatArray, weights: FloatArray, *, bins: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return per bin the gap of accuracy and confidence, its standard error, and the bin's share."""
    edges = np.unique(np.quantile(scores, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, scores, side="left")
    whole, squares, hit, spread, n = (
        np.bincount(place, weights=x, minlength=edges.size + 1)
        for x in (weights, weights**2, weights * right, weights * (right - scores), np.ones_like(weights))
    )
    kept = whole > 0
    whole, squares, hit, spread, n = (x[kept] for x in (whole, squares, hit, spread, n))
    row = whole / n
    steady = (hit + row / 2) / (whole + row)
    noise = np.sqrt(steady * (1 - steady) * squares) / whole
    return spread / whole, noise, whole / whole.sum()


def _scale(gaps: FloatArray, noise: FloatArray, shares: FloatArray, *, plain: float, shift: float, n: int) -> float:
    """Return the factor on all gaps at which the plain error seen lies `shift` deviations above its expectation."""

    def above(factor: float) -> float:
        expected, deviation = _folded(factor * gaps, noise, shares, n=n)
        return plain - expected - shift * deviation

    if plain <= 0 or above(0.0) <= 0:
        return 0.0
    top = 1.0
    while above(top) > 0 and top < LARGEST_SCALE:
        top *= 2
    return float(brentq(above, 0.0, top)) if above(top) <= 0 else top


def _folded(gaps: FloatArray, noise: FloatArray, shares: FloatArray, *, n: int) -> tuple[float, float]:
    """Return mean and deviation of sum(share · |gap + noise · N(0, 1)|). Source: Leone et al. 1961 (folded normal)."""
    ratio = gaps / noise
    means = noise * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + gaps * (1 - 2 * ndtr(-ratio))
    variances = np.maximum(gaps**2 + noise**2 - means**2, 0.0)
    error = float(shares @ means)
    of_shares = max(float(shares @ means**2) - error**2, 0.0) / n
    return error, float(np.sqrt(shares**2 @ variances + of_shares))
