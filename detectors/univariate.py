"""Statistics of one-dimensional drift on counts: ordered bins (ties are a bin) and categories.

Each takes counts of shape (..., b) of reference and current and returns (...,), so that one call judges all
permutations; `detectors.permutation.count_test` gives any of them its exact null.
"""

import numpy as np
import numpy.typing as npt

from detectors.checks import FloatArray, IntArray, vector
from detectors.errors import DetectorInputError
from detectors.kl import smoothed

QUANTILE_BINS = 32


def total_variation(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Return half the summed absolute differences of shares, in [0, 1]: the share of texts that changed bins.

    >>> float(total_variation(np.array([8.0, 2.0]), np.array([5.0, 5.0])).round(6))
    0.3
    """
    return np.asarray(np.abs(_shares(current) - _shares(reference)).sum(axis=-1) / 2)


def ks_distance(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Return the largest gap between the cumulative shares of ordered bins, in [0, 1].

    Equal to the Kolmogorov–Smirnov distance of the binned values; ties share a bin. Source: Smirnov 1948.

    >>> float(ks_distance(np.array([5.0, 5.0, 0.0]), np.array([0.0, 5.0, 5.0])).round(6))
    0.5
    """
    return np.asarray(np.abs(np.cumsum(_shares(current) - _shares(reference), axis=-1)).max(axis=-1))


def upper_excess(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Return the largest surplus of current texts above any bin edge, in [0, 1]: at least this share is new.

    >>> float(upper_excess(np.array([5.0, 5.0, 0.0]), np.array([2.0, 4.0, 4.0])).round(6))
    0.4
    """
    lower = np.cumsum(_shares(reference) - _shares(current), axis=-1)
    return np.asarray(np.maximum(lower.max(axis=-1), 0.0))


def chi_square(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Return Pearson's statistic of the 2 x b table, in [0, inf); empty columns add nothing.

    Source: Pearson 1900; permuted, so small expected counts do no harm.

    >>> float(chi_square(np.array([10.0, 20.0]), np.array([20.0, 10.0])).round(6))
    6.666667
    """
    pooled = reference + current
    before, now = reference.sum(axis=-1), current.sum(axis=-1)
    gaps = (_shares(current) - _shares(reference)) ** 2
    shares = pooled / pooled.sum(axis=-1, keepdims=True)
    weighted = np.divide(gaps, shares, out=np.zeros_like(gaps), where=shares > 0).sum(axis=-1)
    return np.asarray(weighted * before * now / (before + now))


def anderson_darling(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Return the two-sample Anderson–Darling statistic of ordered bins, in [0, inf), around 1 without drift.

    The squared gap of the cumulative shares over its variance, so that both tails weigh as much as the middle.
    Source: Scholz & Stephens 1987, eq. 6 (ties fall in one bin).

    >>> float(anderson_darling(np.array([4.0, 0.0]), np.array([0.0, 4.0])).round(6))
    4.0
    """
    pooled = reference + current
    shares = pooled / pooled.sum(axis=-1, keepdims=True)
    below = np.cumsum(shares, axis=-1)[..., :-1]
    gaps = np.cumsum(_shares(current) - _shares(reference), axis=-1)[..., :-1] ** 2
    variance = below * (1 - below)
    inside = variance > 1e-12
    weighted = np.divide(gaps * shares[..., :-1], variance, out=np.zeros_like(gaps), where=inside).sum(axis=-1)
    before, now = reference.sum(axis=-1), current.sum(axis=-1)
    return np.asarray(weighted * before * now / (before + now))


def psi(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Return the population stability index in nats of add-half smoothed counts: D(p || q) + D(q || p).

    Source: Jeffreys 1946; the customary alarm levels 0.1 and 0.25 ignore the number of texts, the null does not.

    >>> float(psi(np.array([50.0, 50.0]), np.array([20.0, 80.0])).round(3))
    0.406
    """
    p, q = smoothed(current), smoothed(reference)
    return np.asarray(np.sum((p - q) * np.log(p / q), axis=-1))


def pooled_bins(values: npt.ArrayLike, *, bins: int = QUANTILE_BINS) -> IntArray:
    """Return the bin (n,) of each of the pooled values (n,), in order: about `bins` of them hold alike many.

    The edges are quantiles of both sides pooled, so they do not change when sides are dealt anew and a permutation test
    of the bins is exact. Equal values share a bin, so ties make fewer. Raises DetectorInputError for no value or
    one that is not finite.

    >>> pooled_bins([5.0, 1.0, 1.0, 9.0], bins=4).tolist()
    [1, 0, 0, 2]
    """
    pooled = vector("values", values)
    if not pooled.size or bins < 2:
        raise DetectorInputError(f"pooled bins need a value and two bins, got {pooled.size} and {bins}")
    edges = np.unique(np.quantile(pooled, np.arange(1, bins) / bins, method="inverted_cdf"))
    return np.searchsorted(edges[edges < pooled.max()], pooled, side="left").astype(np.int64)


def _shares(counts: FloatArray) -> FloatArray:
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1.0))
