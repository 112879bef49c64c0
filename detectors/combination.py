"""Many p-values, one verdict: combined under any dependence, family-wise adjusted, or with false-discovery control.

`combined_p_value` (Bonferroni) is the one that decides for detectors; docs/math/calibration.md says why, with numbers.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from detectors.checks import FloatArray, p_values

SMALLEST = 1e-300  # a p-value is never 0, however far a formula underflows


def combined_p_value(p: npt.ArrayLike) -> float:
    """Return min(1, m · min p) of m p-values: valid under any dependence, and below alpha exactly when Holm rejects.

    >>> round(combined_p_value([0.01, 0.04, 0.5]), 6)
    0.03
    """
    array = p_values("p", p)
    return float(min(1.0, array.size * array.min()))


def harmonic_mean_p_value(p: npt.ArrayLike) -> float:
    """Return the harmonic mean times the least factor that makes it valid under any dependence, at most 1.

    The factor is (y + m)² / ((y + 1)m) with y² = m((y + 1)ln(y + 1) - y): 2 for m = 2, 3.56 for 5, 4.56 for 10. The
    mean itself, without the factor, is no p-value. Source: Vovk & Wang 2020, proposition 9.

    >>> round(harmonic_mean_p_value([0.01, 0.01]), 6)
    0.02
    """
    array = p_values("p", p)
    harmonic = array.size / float(np.sum(1 / np.maximum(array, SMALLEST)))
    return float(min(1.0, _harmonic_factor(array.size) * harmonic))


def _harmonic_factor(m: int) -> float:
    if m <= 2:
        return float(m)
    y = brentq(lambda y: y**2 - m * ((y + 1) * np.log1p(y) - y), 1e-3, 20.0 * m)
    return float((y + m) ** 2 / ((y + 1) * m))


def cauchy_p_value(p: npt.ArrayLike) -> float:
    """Return the Cauchy combination, in (0, 1]: close for small alpha and many dependences, valid for no alpha in all.

    Shown, never decides: under dependences that can be built its size exceeds alpha, and one p-value of exactly 1
    outweighs any other, so p is held to 0.9999. Source: Liu & Xie 2020, eq. 1 and theorem 1.

    >>> round(cauchy_p_value([0.01, 0.01]), 6)
    0.01
    """
    array = np.clip(p_values("p", p), 1e-15, 0.9999)
    statistic = float(np.mean(1 / np.tan(np.pi * array)))
    return float(np.arctan2(1.0, statistic) / np.pi)


def holm(p: npt.ArrayLike) -> FloatArray:
    """Return Holm's adjusted p-values (m,): those <= alpha are rejected family-wise, whatever the dependence.

    Source: Holm 1979.

    >>> holm([0.01, 0.04, 0.03]).round(6).tolist()
    [0.03, 0.06, 0.06]
    """
    array = p_values("p", p)
    order = np.argsort(array, kind="stable")
    factors = array.size - np.arange(array.size)
    adjusted = np.empty(array.size)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * array[order]))
    return adjusted


def benjamini_hochberg(p: npt.ArrayLike) -> FloatArray:
    """Return adjusted p-values (m,) that control the false-discovery rate for positively dependent tests (PRDS).

    Source: Benjamini & Hochberg 1995; Benjamini & Yekutieli 2001, theorem 1.2.

    >>> benjamini_hochberg([0.01, 0.04, 0.03]).round(6).tolist()
    [0.03, 0.04, 0.04]
    """
    return np.asarray(np.minimum(1.0, _stepped_up(p_values("p", p))))


def benjamini_yekutieli(p: npt.ArrayLike) -> FloatArray:
    """Return adjusted p-values (m,) that control the false-discovery rate under any dependence: sum 1/i dearer.

    Source: Benjamini & Yekutieli 2001, theorem 1.3.

    >>> benjamini_yekutieli([0.01, 0.04, 0.03]).round(6).tolist()
    [0.055, 0.073333, 0.073333]
    """
    array = p_values("p", p)
    dearer = float(np.sum(1 / np.arange(1, array.size + 1)))
    return np.asarray(np.minimum(1.0, dearer * _stepped_up(array)))


def _stepped_up(array: FloatArray) -> FloatArray:
    order = np.argsort(array, kind="stable")
    stepped = array[order] * array.size / np.arange(1, array.size + 1)
    adjusted = np.empty(array.size)
    adjusted[order] = np.minimum.accumulate(stepped[::-1])[::-1]
    return adjusted
