"""A mean or a share from rows that were drawn with known, unequal probabilities, with its interval.

A row of inclusion probability pi stands for w = 1/pi rows. Intervals speak of the stream the rows were drawn from, not
of the window's own finite rows, and rows are taken as drawn independently of one another (by a hash of the id, say).
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

from detectors.checks import FloatArray, probability, vector
from detectors.confidence import confidence_sequence, wilson_bounds
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated

Measure = Estimate | NotEstimated


def inverse_probabilities(n: int, inclusion_probability: npt.ArrayLike | None) -> FloatArray:
    """Return the weights (n,) = 1/pi of rows, all 1 where no probability is given.

    Raises DetectorInputError where a probability is not in (0, 1] or there is not one per row.
    """
    if inclusion_probability is None:
        return np.ones(n)
    chances = vector("inclusion_probability", inclusion_probability, high=1.0)
    if chances.size != n:
        raise DetectorInputError(f"inclusion_probability must be one per row, got {chances.size} for {n}")
    if n and chances.min() <= 0:
        raise DetectorInputError(f"inclusion_probability must lie in (0, 1], got {chances.min()}")
    return np.asarray(1.0 / chances)


def hajek_mean(values: npt.ArrayLike, inclusion_probability: npt.ArrayLike | None = None) -> float:
    """Return the weighted mean of values (n,), n >= 1: sum(w x) / sum(w). Source: Hájek 1971.

    >>> hajek_mean([1.0, 0.0], [0.2, 1.0]) == 5 / 6
    True
    """
    observed = _some("values", values)
    return float(np.average(observed, weights=inverse_probabilities(observed.size, inclusion_probability)))


def horvitz_thompson_mean(values: npt.ArrayLike, inclusion_probability: npt.ArrayLike, *, population: int) -> float:
    """Return sum(w x) / population of values (n,): unbiased, yet noisier than Hájek's where values differ little.

    population >= n counts all rows that could have been drawn. Source: Horvitz & Thompson 1952.

    >>> horvitz_thompson_mean([1.0, 0.0], [0.2, 1.0], population=10)
    0.5
    """
    observed = _some("values", values)
    if population < observed.size:
        raise DetectorInputError(f"population is at least the rows drawn from it, got {population} for {observed.size}")
    return float(observed @ inverse_probabilities(observed.size, inclusion_probability) / population)


def _some(name: str, values: npt.ArrayLike) -> FloatArray:
    observed = vector(name, values)
    if not observed.size:
        raise DetectorInputError(f"{name} must hold at least one value, got 0")
    return observed


def effective_wilson(
    share: npt.ArrayLike, effective_n: npt.ArrayLike, *, alpha: float, exact_n: npt.ArrayLike = False
) -> tuple[FloatArray, FloatArray]:
    """Return lower and upper bounds (...) of Wilson's interval for shares (...) that rest on effective_n > 0 rows.

    The quantile is the normal's where exact_n, and else, as n is itself an estimate, Student's of effective_n - 1
    degrees, at least 1. Source: Korn & Graubard 1998.
    """
    n = np.asarray(effective_n, dtype=np.float64)
    tail = probability("alpha", alpha) / 2
    quantile = np.where(exact_n, norm.isf(tail), t.isf(tail, np.maximum(n - 1, 1.0)))
    return wilson_bounds(share, n, quantile=quantile)


def mean_estimate(
    name: str,
    values: npt.ArrayLike,
    *,
    inclusion_probability: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> Measure:
    """Return the Hájek mean of values (n,) in [0, 1] (right or wrong, exact match, reciprocal rank), at a single look.

    Shares of equal weights get Wilson's interval, all else Wilson's of the effective n that linearised variance gives.
    No row gives NotEstimated. Source: Särndal, Swensson & Wretman 1992, sec. 5.7.

    >>> found = mean_estimate("accuracy", [1.0] * 8 + [0.0] * 2)
    >>> round(found.low, 4), round(found.high, 4), found.method
    (0.4902, 0.9433, 'wilson')
    """
    observed = vector("values", values, low=0.0, high=1.0)
    return ratio_estimate(
        name, observed, np.ones(observed.size), inclusion_probability=inclusion_probability, alpha=alpha
    )


def ratio_estimate(
    name: str,
    parts: npt.ArrayLike,
    wholes: npt.ArrayLike,
    *,
    inclusion_probability: npt.ArrayLike | None = None,
    alpha: float = 0.05,
) -> Measure:
    """Return sum(w a) / sum(w b) of parts a (n,) and wholes b (n,), 0 <= a <= b: a share of things that come in rows.

    Span F1 of documents is parts = 2 · right spans, wholes = predicted + true spans. Rows are the unit of chance, so
    things of one row may depend on each other. n counts the rows with b > 0; none gives NotEstimated.
    Source: Cochran 1977, sec. 6.4 (linearised variance of a ratio).
    """
    above, below = vector("parts", parts, low=0.0), vector("wholes", wholes, low=0.0)
    if above.shape != below.shape or (above > below).any():
        raise DetectorInputError(f"parts must be one per whole and not exceed it, got {above.size} for {below.size}")
    weights = inverse_probabilities(above.size, inclusion_probability)
    probability("alpha", alpha)
    kept = below > 0
    above, below, weights = above[kept], below[kept], weights[kept]
    if not above.size:
        return NotEstimated(name, "no row to judge", 0, 1)
    if (below == 1).all() and (above * (1 - above) == 0).all():
        return share_estimate(name, above, weights, alpha=alpha)
    total = weights @ below
    share = min(float(weights @ above / total), 1.0)
    n = spread_n(share, weights * (above - share * below) / total, fallback=kish_n(weights * below))
    low, high = effective_wilson(share, n, alpha=alpha)
    return Estimate(name, share, float(low), float(high), above.size, "wilson, effective n", alpha)


def mean_sequence(
    name: str,
    values: npt.ArrayLike,
    *,
    inclusion_probability: npt.ArrayLike | None = None,
    least_inclusion_probability: float | None = None,
    alpha: float = 0.05,
) -> Measure:
    """Return the Hájek mean of values (n,) in [0, 1], in the order their labels came, with bounds valid at every look.

    One may look after every label and stop when one likes. The bounds are `confidence_sequence`'s of betting, which
    see for the two probabilities; the mean is moved to the nearer bound where it lies outside. NotEstimated without a
    row, and where the bounds crossed: then no single mean fits, the values changed on the way.
    """
    observed = vector("values", values, low=0.0, high=1.0)
    if not observed.size:
        return NotEstimated(name, "no row to judge", 0, 1)
    last = confidence_sequence(
        observed,
        alpha=alpha,
        inclusion_probability=inclusion_probability,
        least_inclusion_probability=least_inclusion_probability,
    ).last
    if last.lower > last.upper:
        return NotEstimated(name, "the mean changed along the rows: no one value fits them", observed.size)
    value = min(max(hajek_mean(observed, inclusion_probability), last.lower), last.upper)
    return Estimate(name, value, last.lower, last.upper, observed.size, "betting sequence", alpha)


def kish_n(weights: FloatArray) -> float:
    """Return (sum w)² / sum w² of weights (n,), the rows of equal weight that they are worth. Source: Kish 1965."""
    return float(weights.sum() ** 2 / (weights @ weights))


def spread_n(share: float, influences: FloatArray, *, fallback: float) -> float:
    """Return the effective n, share (1 - share) / sum(influence²), or fallback where nothing varies.

    influences (n,) are the rows' linearised effects on the share; they sum to 0.
    """
    variance = float(influences @ influences) * influences.size / max(influences.size - 1, 1)
    spread = share * (1 - share)
    return spread / variance if variance > 0 and spread > 0 else fallback


def share_estimate(name: str, hits: FloatArray, weights: FloatArray, *, alpha: float) -> Estimate:
    """Return the share of weighted rows (n,), n >= 1, whose hit is 1."""
    shares, lows, highs, equal = share_bounds(
        *(np.array([x]) for x in (hits @ weights, weights.sum(), hits @ weights**2, weights @ weights, hits.size)),
        alpha=alpha,
    )
    return Estimate(
        name, float(shares[0]), float(lows[0]), float(highs[0]), hits.size, method_of(bool(equal[0])), alpha
    )


def method_of(equal: bool) -> str:
    """Return the name of a share's interval: Wilson's own where weights are equal."""
    return "wilson" if equal else "wilson, effective n"


def rows_worth(
    hit: FloatArray, whole: FloatArray, hit_squares: FloatArray, squares: FloatArray, n: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return shares (k,) and the equally weighted rows (k,) they are worth, from sums of w and w² of hits and all.

    The variance of a Hájek share p is p (1 - p) [(1 - p) u + p v] / sum(w), u and v being the mean weights of hits
    and of misses (each row counted w times): a miss that stands for many rows costs most where p is near 1. Each is
    steadied by one row of the overall mean. n (k,) >= 1 counts the rows.
    """
    share = np.clip(hit / whole, 0.0, 1.0)
    row, overall = whole / n, squares / whole
    miss, miss_squares = np.maximum(whole - hit, 0.0), np.maximum(squares - hit_squares, 0.0)
    of_hits = (hit_squares + overall * row) / (hit + row)
    of_misses = (miss_squares + overall * row) / (miss + row)
    return share, whole / ((1 - share) * of_hits + share * of_misses)


def share_bounds(
    hit: FloatArray, whole: FloatArray, hit_squares: FloatArray, squares: FloatArray, n: FloatArray, *, alpha: float
) -> tuple[FloatArray, FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Return shares (k,), their bounds, and whether weights are equal; arguments are those of `rows_worth`."""
    equal = squares * n <= whole**2 * (1 + 1e-9)
    share, worth = rows_worth(hit, whole, hit_squares, squares, n)
    lower, upper = effective_wilson(share, np.where(equal, n, worth), alpha=alpha, exact_n=equal)
    return share, lower, upper, equal
