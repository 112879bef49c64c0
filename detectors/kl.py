"""Kullback–Leibler and Jensen–Shannon divergence: of counts, of distributions, of Gaussians.

By nearest neighbours: `detectors.neighbours`.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import digamma

from detectors.checks import FloatArray, distribution, vector
from detectors.errors import DetectorInputError

HALF = 0.5  # the Krichevsky–Trofimov prior: no cell is ever impossible


def kl_divergence(p: npt.ArrayLike, q: npt.ArrayLike) -> float:
    """Return D(p || q) in nats, in [0, inf).

    p, q : shape (k,), each summing to 1; q > 0 wherever p > 0. Raises DetectorInputError otherwise.
    Source: Kullback & Leibler 1951.

    >>> round(kl_divergence([.5, .5], [.9, .1]), 6)
    0.510826
    """
    first, second = distribution("p", p), distribution("q", q)
    if first.shape != second.shape:
        raise DetectorInputError(f"p and q must be 1-D and equal in length, got {first.shape} and {second.shape}")
    held = first > 0
    if (second[held] == 0).any():
        raise DetectorInputError(
            f"q must be positive wherever p is, got 0 at {int(np.flatnonzero(held & (second == 0))[0])}"
        )
    return float(max(0.0, np.sum(first[held] * np.log(first[held] / second[held]))))


def js_divergence(p: npt.ArrayLike, q: npt.ArrayLike) -> float:
    """Return the Jensen–Shannon divergence in nats, in [0, log 2].

    p, q : shape (k,), each summing to 1. Source: Lin 1991, eq. 4.1, both weights 1/2.

    >>> round(js_divergence([1, 0], [0, 1]), 6)
    0.693147
    """
    first, second = distribution("p", p), distribution("q", q)
    if first.shape != second.shape:
        raise DetectorInputError(f"p and q must be 1-D and equal in length, got {first.shape} and {second.shape}")
    return float(counts_js(second, first))


def smoothed(counts: FloatArray) -> FloatArray:
    """Return add-half smoothed shares of counts (..., k)."""
    raised = counts + HALF
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def cells_kl(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Return D(current || reference) in nats of add-half smoothed counts (..., k)."""
    p, q = smoothed(current), smoothed(reference)
    return np.asarray(np.sum(p * np.log(p / q), axis=-1))


def counts_js(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Return the Jensen–Shannon divergence in nats of counts (..., k)."""
    p = current / current.sum(axis=-1, keepdims=True)
    q = reference / reference.sum(axis=-1, keepdims=True)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(p > 0, p * np.log(p / middle), 0.0)
        right = np.where(q > 0, q * np.log(q / middle), 0.0)
    return np.asarray((left.sum(axis=-1) + right.sum(axis=-1)) / 2)


def gaussian_kl(mean_p: FloatArray, cov_p: FloatArray, mean_q: FloatArray, cov_q: FloatArray) -> FloatArray:
    """Return D(N_p || N_q) in nats for stacks of means (..., k) and positive definite covariances (..., k, k).

    Source: Kullback 1959, ch. 9, eq. 1.2.

    >>> one, unit = np.array([1.0]), np.eye(1)
    >>> float(gaussian_kl(one, unit, 0 * one, unit))
    0.5
    """
    gap = mean_q - mean_p
    solved = np.linalg.solve(cov_q, np.concatenate([cov_p, gap[..., None]], axis=-1))
    trace = np.trace(solved[..., :-1], axis1=-2, axis2=-1)
    mahalanobis = np.sum(gap * solved[..., -1], axis=-1)
    return np.asarray((trace + mahalanobis - mean_p.shape[-1] + _logdet(cov_q) - _logdet(cov_p)) / 2)


def _logdet(covariance: FloatArray) -> FloatArray:
    """Return log-determinants (...) of positive definite matrices (..., k, k), a third of slogdet's time."""
    diagonal = np.diagonal(np.linalg.cholesky(covariance), axis1=-2, axis2=-1)
    return np.asarray(2 * np.log(diagonal).sum(axis=-1))


def shrunk(covariance: FloatArray, n: float) -> FloatArray:
    """Return covariances (..., k, k) shrunk towards their mean variance by k / (k + n): always invertible."""
    k = covariance.shape[-1]
    weight = k / (k + n)
    scale = np.trace(covariance, axis1=-2, axis2=-1)[..., None, None] / k
    return np.asarray((1 - weight) * covariance + (weight * scale + 1e-9) * np.eye(k))


def corrected_cells_kl(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Return D(current || reference) in nats of counts (..., k), free of its first-order bias; may be negative.

    The shares of current enter as they are, those of reference add-half smoothed; then the bias is
    (k - 1)/2 · (1/n + 1/m) to first order whatever the shares, and is taken off. Unbiased beats positive: clipping at
    zero would bias it again. Source: Miller 1955; Krichevsky & Trofimov 1981; derived in docs/math/kl.md.

    >>> float(corrected_cells_kl(np.array([50.0, 50.0]), np.array([50.0, 50.0])).round(6))
    -0.01
    """
    n, m = current.sum(axis=-1), reference.sum(axis=-1)
    p, q = current / n[..., None], smoothed(reference)
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = np.where(p > 0, p * np.log(p / q), 0.0).sum(axis=-1)
    return np.asarray(plain - (current.shape[-1] - 1) / 2 * (1 / n + 1 / m))


def population_stability_index(reference: npt.ArrayLike, current: npt.ArrayLike, *, bins: int = 10) -> float:
    """Return the PSI of one-dimensional values (n,) and (m,), in [0, inf) nats: the symmetric (Jeffreys) divergence.

    Bins are the reference's deciles; ties fall together, so there may be fewer. Add-half smoothed, so never infinite.
    Shown for those who know it, never decides: without drift it reads (k - 1)(1/n + 1/m), past the folklore 0.1
    for k = 10 below 180 a side. Source: Siddiqi 2006, ch. 5; Yurdakul 2018 for its null.

    >>> round(population_stability_index([1, 1, 2, 2], [1, 2, 2, 2], bins=2), 6)
    0.16946
    """
    p, q = (smoothed(counts) for counts in quantile_counts(reference, current, bins=bins))
    return float(np.sum((q - p) * np.log(q / p)))


def quantile_counts(
    reference: npt.ArrayLike, current: npt.ArrayLike, *, bins: int = 10
) -> tuple[FloatArray, FloatArray]:
    """Return how many of each side's values fall into the reference's quantile bins, (k,) and (k,), 1 <= k <= bins."""
    before, now = vector("reference", reference), vector("current", current)
    if not before.size or not now.size or bins < 2:
        raise DetectorInputError(f"PSI needs values on both sides and two bins, got {before.size}, {now.size}, {bins}")
    edges = np.unique(np.quantile(before, np.arange(1, bins) / bins, method="inverted_cdf"))
    edges = edges[edges < before.max()]
    if not edges.size:  # one value holds most of the reference: below it and at it are told apart, so are above
        edges = np.array([np.nextafter(before.max(), -np.inf), before.max()])
    first, second = (
        np.bincount(np.searchsorted(edges, side, side="left"), minlength=edges.size + 1) for side in (before, now)
    )
    return first.astype(np.float64), second.astype(np.float64)


def unbiased_gaussian_kl(
    mean_p: FloatArray, cov_p: FloatArray, mean_q: FloatArray, cov_q: FloatArray, *, n_p: int, n_q: int
) -> float:
    """Return D(N_p || N_q) in nats from sample moments (k,), (k, k), unbiased for Gaussians; may be negative.

    The plain form reads about k(k + 3)/4 · (1/n_p + 1/n_q) without drift: 2.1 nats for k = 64 at 1,000 a side. Taken
    off exactly by the Wishart moments of inverse and log-determinant. Covariances divide by n - 1; n_q > k + 2 and
    n_p > k. Source: Muirhead 1982, theorem 3.2.15 and eq. 3.2.12.

    >>> one = np.array([1.0]), np.eye(1), np.array([0.0]), np.eye(1)
    >>> round(unbiased_gaussian_kl(*one, n_p=1000, n_q=1000), 4)
    0.497
    """
    k = mean_p.size
    if n_q <= k + 2 or n_p <= k:
        raise DetectorInputError(f"{k} dimensions need n_p > {k} and n_q > {k + 2}, got {n_p} and {n_q}")
    precision, gap = np.linalg.inv(cov_q), mean_q - mean_p
    shrink = (n_q - k - 2) / (n_q - 1)
    trace = shrink * float(np.sum(precision * cov_p))
    mahalanobis = shrink * float(gap @ precision @ gap) - trace / n_p - k / n_q
    logdet = float(np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1])
    logdet -= _log_wishart(n_q - 1, k) - _log_wishart(n_p - 1, k)
    return (trace + mahalanobis - k + logdet) / 2


def _log_wishart(degrees: int, k: int) -> float:
    """Return the mean log-determinant of a sample covariance of the unit covariance."""
    return float(np.sum(digamma((degrees + 1 - np.arange(1, k + 1)) / 2)) + k * np.log(2 / degrees))
