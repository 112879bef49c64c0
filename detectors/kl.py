"""Kullback–Leibler and Jensen–Shannon divergence: of counts, of distributions, of Gaussians."""

import numpy as np
import numpy.typing as npt

from detectors.checks import FloatArray, distribution
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
    precision = np.linalg.inv(cov_q)
    gap = mean_q - mean_p
    trace = np.einsum("...ij,...ji->...", precision, cov_p)
    mahalanobis = np.einsum("...i,...ij,...j->...", gap, precision, gap)
    logdet = np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1]
    return np.asarray((trace + mahalanobis - mean_p.shape[-1] + logdet) / 2)


def shrunk(covariance: FloatArray, n: float) -> FloatArray:
    """Return covariances (..., k, k) shrunk towards their mean variance by k / (k + n): always invertible."""
    k = covariance.shape[-1]
    weight = k / (k + n)
    scale = np.trace(covariance, axis1=-2, axis2=-1)[..., None, None] / k
    return np.asarray((1 - weight) * covariance + (weight * scale + 1e-9) * np.eye(k))
