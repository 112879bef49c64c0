"""Rates of groups with intervals that hold from a handful of rows on, and their differences and ratios."""

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from detectors.checks import FloatArray, probability
from detectors.confidence import exact_bounds, wilson_bounds
from detectors.errors import DetectorInputError

FEW = 5  # hits or misses below which an interval is exact: Wilson covers only 92 % at n = 100 and a rate of .01
FEW_OF_RATIO = 8  # the same of a ratio, whose logarithm is less normal

Counts = npt.NDArray[np.float64]


def _counted(hits: npt.ArrayLike, n: npt.ArrayLike) -> tuple[Counts, Counts]:
    k, m = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64))
    if (m < 1).any() or (k < 0).any() or (k > m).any() or not np.isfinite(m).all():
        raise DetectorInputError(f"rates need 0 <= hits <= n and n >= 1, got hits {k} of {m}")
    return k, m


def rate_bounds(hits: npt.ArrayLike, n: npt.ArrayLike, *, alpha: npt.ArrayLike = 0.05) -> tuple[FloatArray, FloatArray]:
    """Return lower and upper bounds (...) of rates of hits (...) in n (...) >= 1 rows.

    Wilson's where hits and misses are 5 or more, at a small alpha more; else Clopper and Pearson's exact ones, which
    never cover less than 1 - alpha. Sources: Wilson 1927; Clopper & Pearson 1934.

    >>> low, high = rate_bounds([80, 0], [100, 10])
    >>> low.round(4).tolist(), high.round(4).tolist()
    ([0.7112, 0.0], [0.8666, 0.3085])
    """
    k, m = _counted(hits, n)
    tail = np.asarray(alpha, dtype=np.float64) / 2
    z = norm.isf(tail)
    share = k / m
    low, high = (np.array(one) for one in wilson_bounds(share, m, quantile=z))
    few = np.minimum(k, m - k) < np.maximum(FEW, z**4 / 3)  # the smaller alpha, the more rows Wilson needs
    if few.any():
        k, m, tail = (np.broadcast_to(one, few.shape)[few] for one in (k, m, tail))
        low[few], high[few] = exact_bounds(k, m, tail=tail)
    return np.clip(low, 0.0, share), np.clip(high, share, 1.0)


def difference_bounds(
    hits: npt.ArrayLike,
    n: npt.ArrayLike,
    base_hits: npt.ArrayLike,
    base_n: npt.ArrayLike,
    *,
    alpha: npt.ArrayLike = 0.05,
) -> tuple[FloatArray, FloatArray]:
    """Return bounds (...) of the difference of two independent rates, from each rate's own bounds.

    Source: Newcombe 1998, method 10 (square-and-add), with `rate_bounds` in place of Wilson's alone.

    >>> low, high = difference_bounds(56, 70, 48, 80)
    >>> round(float(low), 4), round(float(high), 4)  # Newcombe's own example, 0.0524 to 0.3339
    (0.0524, 0.3339)
    """
    (k, m), (k0, m0) = _counted(hits, n), _counted(base_hits, base_n)
    low, high = rate_bounds(k, m, alpha=alpha)
    low0, high0 = rate_bounds(k0, m0, alpha=alpha)
    share, share0 = k / m, k0 / m0
    lower = share - share0 - np.sqrt((share - low) ** 2 + (high0 - share0) ** 2)
    upper = share - share0 + np.sqrt((high - share) ** 2 + (share0 - low0) ** 2)
    return np.maximum(lower, -1.0), np.minimum(upper, 1.0)


def ratio_bounds(
    hits: npt.ArrayLike,
    n: npt.ArrayLike,
    base_hits: npt.ArrayLike,
    base_n: npt.ArrayLike,
    *,
    alpha: npt.ArrayLike = 0.05,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the ratio (...) of two independent rates with its bounds: log-normal, half a row added to each count.

    Where either has few hits or misses, bounds are no nearer than those from both rates' exact bounds. The ratio
    itself is that of the adjusted rates only where the base has no hit. Sources: Katz et al. 1978; Pettigrew, Gart
    & Thomas 1986; Donner & Zou 2012, eq. 8 (square-and-add for a ratio).

    >>> ratio, low, high = ratio_bounds(56, 70, 48, 80)
    >>> round(float(ratio), 4), round(float(low), 4), round(float(high), 4)
    (1.3333, 1.076, 1.6445)
    """
    (k, m), (k0, m0) = _counted(hits, n), _counted(base_hits, base_n)
    adjusted = (k + 0.5) / (m + 0.5) / ((k0 + 0.5) / (m0 + 0.5))
    spread = np.sqrt(np.maximum(1 / (k + 0.5) - 1 / (m + 0.5), 0) + np.maximum(1 / (k0 + 0.5) - 1 / (m0 + 0.5), 0))
    z = norm.isf(np.asarray(alpha, dtype=np.float64) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(k0 > 0, k / m / (k0 / m0), adjusted)
    low, high = adjusted * np.exp(-z * spread), adjusted * np.exp(z * spread)
    few = np.minimum(np.minimum(k, m - k), np.minimum(k0, m0 - k0)) < FEW_OF_RATIO
    if few.any():
        low = np.where(few, np.minimum(low, _squared_and_added(k, m, k0, m0, alpha=alpha)), low)
        with np.errstate(divide="ignore"):
            far = 1 / _squared_and_added(k0, m0, k, m, alpha=alpha)
        high = np.where(few & np.isfinite(far), np.maximum(high, far), high)
    return ratio, np.minimum(low, ratio), np.maximum(high, ratio)


def _squared_and_added(k: Counts, m: Counts, k0: Counts, m0: Counts, *, alpha: npt.ArrayLike) -> FloatArray:
    """Return the lower bound of a ratio of rates from each rate's bounds; 0 where it has none."""
    low, _ = rate_bounds(k, m, alpha=alpha)
    _, high0 = rate_bounds(k0, m0, alpha=alpha)
    product, share0 = k / m * (k0 / m0), k0 / m0
    inner = product**2 - low * high0 * (2 * k / m - low) * (2 * share0 - high0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (product - np.sqrt(np.maximum(inner, 0))) / (high0 * (2 * share0 - high0))
    return np.asarray(np.where(np.isfinite(found), np.maximum(found, 0.0), 0.0))


def difference_p_value(
    hits: npt.ArrayLike, n: npt.ArrayLike, base_hits: npt.ArrayLike, base_n: npt.ArrayLike
) -> FloatArray:
    """Return the two-sided p-value (...) of equal rates: twice the level at which `difference_bounds` exclude 0.

    Found by bisection over alpha, so that test and interval never disagree. It is 1 where the rates are equal.

    >>> round(float(difference_p_value(56, 70, 48, 80)), 3)
    0.009
    """
    found = np.broadcast_arrays(*_counted(hits, n), *_counted(base_hits, base_n))
    low = np.full(found[0].shape, -40.0)
    high = np.zeros(found[0].shape)
    for _ in range(36):
        middle = (low + high) / 2
        below, above = difference_bounds(*found, alpha=np.exp(middle))
        excludes = (below > 0) | (above < 0)
        high, low = np.where(excludes, middle, high), np.where(excludes, low, middle)
    return np.asarray(np.exp(high))


def rows_to_show(gap: float, *, base_rate: float, base_n: int, alpha: float, power: float = 0.9) -> int | None:
    """Return how many rows a group needs so that a rate `gap` away from the base's is told from it.

    None where no number does, because the base itself has too few. The worse of both directions, at level alpha
    (two-sided), with a twentieth more for the intervals' care. Source: Fleiss, Levin & Paik 2003, sec. 4.2.

    >>> rows_to_show(0.1, base_rate=0.5, base_n=100_000, alpha=0.05)
    266
    """
    probability("alpha", alpha)
    if not 0 < gap < 1 or base_n < 1:
        raise DetectorInputError(f"a gap lies in (0, 1) and base_n is 1 or more, got {gap} and {base_n}")
    reached = float(norm.isf(alpha / 2) + norm.isf(1 - power))
    needed = 0.0
    for other in (base_rate - gap, base_rate + gap):
        if not 0 <= other <= 1:
            continue
        room = gap**2 / reached**2 - base_rate * (1 - base_rate) / base_n
        if room <= 0:
            return None
        needed = max(needed, max(other * (1 - other), 0.01) / room)
    return int(np.ceil(1.05 * needed)) if needed else None
