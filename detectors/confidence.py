"""Intervals: of a share once, and of a mean at every look."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm

from detectors.checks import FloatArray, probability, vector
from detectors.errors import DetectorInputError

GRID = 1000  # candidate means; bounds are rounded outwards to 1/GRID
CHUNK = 512
TRUNCATION = 0.5  # c of Waudby-Smith & Ramdas: a bet risks at most half the capital


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval with its confidence 1 - alpha."""

    lower: float
    upper: float
    alpha: float


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """Bounds (n,) after each of n values, which hold at every look together; they only ever tighten."""

    lower: FloatArray
    upper: FloatArray
    alpha: float

    @property
    def last(self) -> Interval:
        """Return the interval after the last value."""
        return Interval(float(self.lower[-1]), float(self.upper[-1]), self.alpha)


def _counted(successes: int, n: int) -> None:
    if not 0 <= successes <= n or n < 1:
        raise DetectorInputError(f"a share needs 0 <= successes <= n and n >= 1, got {successes} of {n}")


def wilson_bounds(share: npt.ArrayLike, n: npt.ArrayLike, *, quantile: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return Wilson's bounds (...) of shares (...) that rest on n (...) > 0 rows' worth of evidence, whole or not.

    quantile is the two-sided one of the confidence: the normal's, or Student's where n is itself an estimate.
    Source: Wilson 1927.
    """
    p, rows = np.asarray(share, dtype=np.float64), np.asarray(n, dtype=np.float64)
    extra = np.asarray(quantile, dtype=np.float64) ** 2 / rows
    centre = (p + extra / 2) / (1 + extra)
    half = np.sqrt(extra * (p * (1 - p) + extra / 4)) / (1 + extra)
    return np.asarray(np.clip(centre - half, 0.0, p)), np.asarray(np.clip(centre + half, p, 1.0))


def exact_bounds(hits: FloatArray, n: FloatArray, *, tail: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return Clopper and Pearson's bounds (...) of rates of hits (...) in n (...), each missed with chance tail (...).

    Source: Clopper & Pearson 1934.
    """
    with np.errstate(invalid="ignore"):
        lower = np.where(hits > 0, beta.ppf(tail, hits, n - hits + 1), 0.0)
        upper = np.where(hits < n, beta.isf(tail, hits + 1, n - hits), 1.0)
    return lower, upper


def wilson_interval(successes: int, n: int, *, alpha: float = 0.05) -> Interval:
    """Return Wilson's interval of a share; approximate, good from a few observations on.

    >>> found = wilson_interval(8, 10)
    >>> round(found.lower, 4), round(found.upper, 4)
    (0.4902, 0.9433)
    """
    _counted(successes, n)
    lower, upper = wilson_bounds(successes / n, n, quantile=norm.isf(probability("alpha", alpha) / 2))
    return Interval(float(lower), float(upper), alpha)


def exact_interval(successes: int, n: int, *, alpha: float = 0.05) -> Interval:
    """Return the interval of a share whose coverage never falls below 1 - alpha.

    >>> found = exact_interval(0, 10)
    >>> round(found.lower, 4), round(found.upper, 4)
    (0.0, 0.3085)
    """
    _counted(successes, n)
    tail = np.asarray(probability("alpha", alpha) / 2)
    lower, upper = exact_bounds(np.asarray(float(successes)), np.asarray(float(n)), tail=tail)
    return Interval(float(lower), float(upper), alpha)


def confidence_sequence(
    values: npt.ArrayLike,
    *,
    alpha: float = 0.05,
    grid: int = GRID,
    inclusion_probability: npt.ArrayLike | None = None,
    least_inclusion_probability: float | None = None,
) -> ConfidenceSequence:
    """Return bounds of the mean of values (n,) in [0, 1], n >= 1, valid at every look whatever one does in between.

    Against every candidate mean m on a grid two capitals are bet, that the mean is higher and that it is lower; a
    candidate whose capital ever reached 2/alpha is out. Values need not be independent, only of one conditional mean.

    Where row i of a stream was drawn with a known inclusion_probability pi (n,), its bet is on (x - m)/pi, which has
    mean 0 over drawn rows when m is the mean of *all* rows, and which the least probability bounds; so that one is
    declared beforehand (the queue's floor), never read off the rows, and it costs width: raise the floor.
    Time O(n · grid). Source: Waudby-Smith & Ramdas 2023, theorem 3 and eq. 26 (hedged capital, predictable plug-in);
    Karampatziakis, Mineiro & Ramdas 2021 (bets on self-normalised weights).

    >>> found = confidence_sequence(np.tile([0.0, 1.0], 200)).last
    >>> found.lower <= 0.45 and found.upper >= 0.55
    True
    """
    observed = vector("values", values, low=0.0, high=1.0)
    if not observed.size or grid < 10:
        raise DetectorInputError(f"a confidence sequence needs a value and a grid of 10, got {observed.size}, {grid}")
    stakes = relative_weights(
        observed.size, inclusion_probability, least_inclusion_probability=least_inclusion_probability
    )
    means = np.arange(grid + 1) / grid
    bets = _plug_in_bets(observed, stakes, alpha=probability("alpha", alpha))
    limit = float(np.log(2 / alpha))
    lower = _last_out(observed, stakes, bets, means, limit=limit)
    upper = 1.0 - _last_out(1.0 - observed, stakes, bets, means, limit=limit)
    return ConfidenceSequence(lower, upper, alpha)


def relative_weights(
    n: int, inclusion_probability: npt.ArrayLike | None, *, least_inclusion_probability: float | None
) -> FloatArray:
    """Return least / pi (n,) in (0, 1], all 1 where no probability is given: what bounded bets may weigh rows by.

    Raises DetectorInputError where a probability lies below the declared least, or only one of both is given.
    """
    if inclusion_probability is None and least_inclusion_probability is None:
        return np.ones(n)
    if inclusion_probability is None or least_inclusion_probability is None:
        raise DetectorInputError("inclusion_probability and least_inclusion_probability go together, got one")
    if not 0 < least_inclusion_probability <= 1:
        raise DetectorInputError(f"least_inclusion_probability lies in (0, 1], got {least_inclusion_probability}")
    chances = vector("inclusion_probability", inclusion_probability, low=least_inclusion_probability, high=1.0)
    if chances.size != n:
        raise DetectorInputError(f"inclusion_probability must be one per row, got {chances.size} for {n}")
    return np.asarray(least_inclusion_probability / chances)


def _plug_in_bets(observed: FloatArray, stakes: FloatArray, *, alpha: float) -> FloatArray:
    """Return the bet (n,) before each value: it knows only those before it. Source: ibid., eq. 26.

    The variance is that of stake · (value - mean), the first guess of it 1/4 of the mean square stake so far.
    """
    t = np.arange(1, observed.size + 1)
    means = (0.5 + np.cumsum(stakes * observed)) / (1 + np.cumsum(stakes))
    squares = np.cumsum((stakes * (observed - means)) ** 2)
    variances = (0.25 * np.cumsum(stakes**2) / t + squares) / (t + 1)
    known = np.concatenate([[0.25], variances[:-1]])
    return np.asarray(np.sqrt(2 * np.log(2 / alpha) / (known * t * np.log1p(t))))


def _last_out(
    observed: FloatArray, stakes: FloatArray, bets: FloatArray, means: FloatArray, *, limit: float
) -> FloatArray:
    """Return (n,) the greatest candidate mean that is refuted as too low after each value, 0 where none is.

    The capital falls with the candidate, so all below a refuted one are refuted too and the bound is rounded outwards.
    """
    candidates = means[1:]
    capital = np.zeros(candidates.size)
    peak = np.zeros(candidates.size)
    bounds = np.empty(observed.size)
    for start in range(0, observed.size, CHUNK):
        part = slice(start, start + CHUNK)
        risked = np.minimum(bets[part, None], TRUNCATION / candidates) * stakes[part, None]
        path = capital + np.cumsum(np.log1p(risked * (observed[part, None] - candidates)), axis=0)
        peaks = np.maximum(peak, np.maximum.accumulate(path, axis=0))
        out = (peaks >= limit).sum(axis=1)
        bounds[part] = means[out]
        capital, peak = path[-1], peaks[-1]
    return bounds
