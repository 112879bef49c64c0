"""Confidence sequences in one pass: empirical Bernstein for means in [0, 1], beta-binomial mixtures for shares.

Both hold at every look and cost O(n), where `detectors.confidence.confidence_sequence` costs O(n · grid) and is tighter
for values that are neither 0 nor 1. Bounds are intersected over the looks: they only tighten.
"""

from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaln

from detectors.checks import FloatArray, probability, vector
from detectors.confidence import TRUNCATION, ConfidenceSequence
from detectors.errors import DetectorInputError

HALVINGS = 50  # of an interval of shares: to 1e-15


class Side(StrEnum):
    """Which bounds a sequence gives; the other is 0 or 1."""

    BOTH = "both"
    LOWER = "lower"
    UPPER = "upper"


def empirical_bernstein_sequence(values: npt.ArrayLike, *, alpha: float = 0.05) -> ConfidenceSequence:
    """Return bounds of the mean of values (n,) in [0, 1], n >= 1: the mean of bets' weights, less what variance costs.

    Values need not be independent, only of one conditional mean. Time O(n).
    Source: Waudby-Smith & Ramdas 2023, theorem 2 (predictable plug-in); equal to predmix_empbern_cs of `confseq`.

    >>> found = empirical_bernstein_sequence(np.tile([0.0, 1.0], 200)).last
    >>> round(found.lower, 4), round(found.upper, 4)
    (0.4057, 0.5938)
    """
    observed = _some(values)
    half = probability("alpha", alpha) / 2
    return ConfidenceSequence(
        _bernstein_lower(observed, alpha=half), 1.0 - _bernstein_lower(1.0 - observed, alpha=half), alpha
    )


def _some(values: npt.ArrayLike) -> FloatArray:
    observed = vector("values", values, low=0.0, high=1.0)
    if not observed.size:
        raise DetectorInputError("a confidence sequence needs a value, got 0")
    return observed


def _bernstein_lower(observed: FloatArray, *, alpha: float) -> FloatArray:
    looks = np.arange(1, observed.size + 1)
    total = np.cumsum(observed)
    steadied = (0.5 + total) / (looks + 1)
    variances = (0.25 + np.cumsum((observed - steadied) ** 2)) / (looks + 1)
    known = np.concatenate([[0.25], variances[:-1]])
    bets = np.minimum(np.sqrt(2 * np.log(1 / alpha) / (looks * np.log1p(looks) * known)), TRUNCATION)
    before = np.concatenate([[0.0], (total / looks)[:-1]])
    costs = np.cumsum((observed - before) ** 2 * (-np.log1p(-bets) - bets))
    bounds = (np.cumsum(bets * observed) - np.log(1 / alpha) - costs) / np.cumsum(bets)
    return np.maximum.accumulate(np.clip(bounds, 0.0, 1.0))


def beta_binomial_sequence(
    values: npt.ArrayLike, *, optimal_n: float, alpha: float = 0.05, side: Side = Side.BOTH
) -> ConfidenceSequence:
    """Return bounds of the share of ones in values (n,), each 0 or 1, n >= 1; tightest after about optimal_n >= 1.

    A share is out once the mixture of likelihood ratios against it reaches 1/alpha; the mixture is over a beta
    distribution around the share, for one side cut at it. Time O(n).
    Source: Howard et al. 2021, propositions 7 (two-sided) and 8 (one-sided); equal to `confseq`'s
    bernoulli_confidence_interval, and for one side to the share at which its beta_binomial_mixture_bound is met.

    >>> found = beta_binomial_sequence(np.tile([0.0, 1.0], 200), optimal_n=400).last
    >>> round(found.lower, 4), round(found.upper, 4)
    (0.4244, 0.5744)
    """
    observed = _some(values)
    if (observed * (1 - observed) > 0).any():
        raise DetectorInputError("a beta-binomial sequence takes 0 and 1 alone")
    if optimal_n < 1:
        raise DetectorInputError(f"optimal_n is at least 1, got {optimal_n}")
    probability("alpha", alpha)
    ones, n = np.cumsum(observed), np.arange(1.0, observed.size + 1)
    two_sided = side is Side.BOTH

    def lower(hits: FloatArray) -> FloatArray:
        found = _mixture_lower(hits, n, optimal_n=optimal_n, alpha=alpha, two_sided=two_sided)
        return np.maximum.accumulate(found)

    return ConfidenceSequence(
        np.zeros(n.size) if side is Side.UPPER else lower(ones),
        np.ones(n.size) if side is Side.LOWER else 1.0 - lower(n - ones),
        alpha,
    )


def _mixture_lower(ones: FloatArray, n: FloatArray, *, optimal_n: float, alpha: float, two_sided: bool) -> FloatArray:
    """Return the least share (n,) that is not refuted as too low, by halving [0, ones / n]."""
    low, high = np.zeros(n.size), ones / n
    some = ones > 0
    low, high, k, looks = low[some], high[some], ones[some], n[some]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        out = _log_mixture(middle, k, looks, optimal_n=optimal_n, alpha=alpha, two_sided=two_sided) > np.log(1 / alpha)
        low, high = np.where(out, middle, low), np.where(out, high, middle)
    bounds = np.zeros(n.size)
    bounds[some] = low
    return bounds


def _log_mixture(
    share: FloatArray, ones: FloatArray, n: FloatArray, *, optimal_n: float, alpha: float, two_sided: bool
) -> FloatArray:
    """Return the log of the mixture after n values of which `ones` are 1, against a share in (0, 1); all (n,)."""
    rest = 1.0 - share
    spread = share * rest
    tail = alpha if two_sided else 2 * alpha
    tuned = spread * optimal_n / (2 * np.log(1 / tail) + np.log1p(2 * np.log(1 / tail)))
    prior = np.maximum(tuned - spread, 1e-3 * spread)
    before, after = (prior / share, prior / rest), (prior / share + n - ones, prior / rest + ones)
    log_ratio = betaln(*after) - betaln(*before)
    if not two_sided:
        log_ratio += np.log(betainc(*after, rest)) - np.log(betainc(*before, rest))
    return np.asarray(log_ratio - ones * np.log(share) - (n - ones) * np.log(rest))
