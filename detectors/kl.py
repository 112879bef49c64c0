"""Kullback–Leibler and Jensen–Shannon divergence: of counts, of distributions, of Gaussians, of nearest neighbours."""

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.special import digamma

from detectors.checks import FloatArray, IntArray, distribution, matrix, probability, vector
from detectors.errors import DetectorInputError
from detectors.permutation import critical_value, p_value, permute_rows
from detectors.results import DetectorResult, TooLittleData

HALF = 0.5  # the Krichevsky–Trofimov prior: no cell is ever impossible
NEIGHBOURS = 10
MAX_DIMENSION = 64  # beyond, neither form reads a divergence at any affordable n: docs/math/kl.md
TILE = 256
RELATIVE_FLOOR = 1e-9


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


def knn_kl(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    neighbours: int = NEIGHBOURS,
    twins: int = 4,
) -> float:
    """Return D(current || reference) in nats by nearest neighbours, debiased; may be slightly negative without drift.

    reference (m, d), current (n, d), d <= 64. The plain estimate counts both sides in one ball around each current
    row, so duplicates never give log 0. Its bias grows with d (at d = 16 and n = 10,000 it reads -0.2 for 1.76);
    it is measured on Gaussian twins of both samples, whose divergence is known, and taken off: a control variate,
    exact for Gaussians and partial for others. Time O(twins · n(n + m)d), memory O(256(n + m)).
    Source: Wang, Kulkarni & Verdú 2009, eq. 25 (the shared ball); Pérez-Cruz 2008; docs/math/kl.md for the twins.
    Raises DetectorInputError for unlike or too wide matrices, too few rows, or rows without variation.
    """
    before, now = _whitened(*_sides(reference, current))
    smallest = min(before.shape[0], now.shape[0])
    if neighbours < 1 or smallest <= neighbours or twins < 1:
        raise DetectorInputError(
            f"knn_kl needs neighbours >= 1, twins >= 1 and more rows a side than neighbours, "
            f"got {neighbours}, {twins}, {smallest}"
        )
    if before.shape[1] == 0:
        raise DetectorInputError(f"the {before.shape[0] + now.shape[0]} rows are all the same: nothing to compare")
    fits = [(side.mean(axis=0), shrunk(np.atleast_2d(np.cov(side.T)), side.shape[0])) for side in (before, now)]
    closed = float(gaussian_kl(*fits[1], *fits[0]))
    read = 0.0
    for _ in range(twins):
        twin_before, twin_now = (
            _drawn(*fit, n=side.shape[0], rng=rng) for fit, side in zip(fits, (before, now), strict=True)
        )
        read += _ball_kl(twin_before, twin_now, neighbours) / twins
    return _ball_kl(before, now, neighbours) - read + closed


def _sides(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    before = matrix("reference", reference)
    now = matrix("current", current, columns=before.shape[1])
    if not 1 <= before.shape[1] <= MAX_DIMENSION:
        raise DetectorInputError(f"project to at most {MAX_DIMENSION} dimensions first, got {before.shape[1]}")
    return before, now


def _whitened(before: FloatArray, now: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return both sides whitened by their pooled covariance: the divergence stays, balls fit the density better."""
    if not before.shape[0] or not now.shape[0]:
        return before, now
    centre = (before.mean(axis=0) + now.mean(axis=0)) / 2
    pooled = np.concatenate([before, now]) - centre
    variances, directions = np.linalg.eigh(pooled.T @ pooled / pooled.shape[0])
    kept = variances > max(RELATIVE_FLOOR * variances[-1], RELATIVE_FLOOR**2 * (1 + float((centre**2).sum())))
    maps = directions[:, kept] / np.sqrt(variances[kept])
    return np.asarray((before - centre) @ maps), np.asarray((now - centre) @ maps)


def _drawn(mean: FloatArray, covariance: FloatArray, *, n: int, rng: np.random.Generator) -> FloatArray:
    return np.asarray(mean + rng.standard_normal((n, mean.size)) @ np.linalg.cholesky(covariance).T)


def _ball_kl(before: FloatArray, now: FloatArray, neighbours: int) -> float:
    """Return the mean over current rows of psi(l) - psi(k), plus log m/(n - 1): counts within one ball a row."""
    n, m = now.shape[0], before.shape[0]
    total = float(np.log(m / (n - 1)))
    for start in range(0, n, TILE):
        tile = now[start : start + TILE]
        own, other = _squared(tile, now), _squared(tile, before)
        own[np.arange(tile.shape[0]), np.arange(start, start + tile.shape[0])] = np.inf
        radii = [np.partition(side, neighbours - 1, axis=1)[:, neighbours - 1] for side in (own, other)]
        reach = np.maximum(*radii)[:, None] * (1 + RELATIVE_FLOOR) + RELATIVE_FLOOR
        total += float(np.sum(digamma((own <= reach).sum(axis=1)) - digamma((other <= reach).sum(axis=1)))) / n
    return total


def _squared(rows: FloatArray, others: FloatArray) -> FloatArray:
    return np.asarray((rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * rows @ others.T)


def knn_kl_test(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    alpha: float,
    rng: np.random.Generator,
    neighbours: int = 2 * NEIGHBOURS,
    permutations: int = 1999,
) -> DetectorResult | TooLittleData:
    """Test for drift by the same divergence with one ball a row that holds `neighbours` pooled rows, in nats.

    The balls do not depend on which side a row is on, so they are found once, dealing sides anew is one sparse matrix
    product for all permutations, and the p-value is exact for exchangeable rows. The statistic is taken less its
    permutation mean, so it reads 0 without drift. Rows are shuffled first: else equal rows would be neighbours in the
    order they came, reference first. Source: Henze 1988 and Schilling 1986 for the test; Phipson & Smyth 2010.
    """
    probability("alpha", alpha)
    before, now = _sides(reference, current)
    smallest = min(before.shape[0], now.shape[0])
    if smallest <= neighbours:
        return TooLittleData("rows a side for nearest neighbours", got=smallest, needed=neighbours + 1)
    distinct = np.unique(np.concatenate([before, now]), axis=0).shape[0]
    if distinct <= neighbours:
        return TooLittleData("distinct rows for nearest neighbours", got=distinct, needed=neighbours + 1)
    pooled = np.concatenate(_whitened(before, now))
    graph = _neighbour_graph(pooled, neighbours, rng=rng)
    near = np.arange(neighbours + 1)
    odds = digamma(near + HALF) - digamma(neighbours - near + HALF)

    def statistic(assignment: FloatArray) -> FloatArray:
        counts = np.rint(graph @ assignment.T).astype(np.int64)
        return np.asarray((odds[counts] * assignment.T).sum(axis=0) / assignment.sum(axis=1))

    observed, null = permute_rows(
        statistic, reference_n=before.shape[0], current_n=now.shape[0], permutations=permutations, rng=rng
    )
    p, centre = p_value(observed, null), float(null.mean())
    return DetectorResult(
        "kl_knn", observed - centre, "nats", p, critical_value(null, alpha=alpha) - centre, p <= alpha
    )


def _neighbour_graph(rows: FloatArray, neighbours: int, *, rng: np.random.Generator) -> sparse.csr_matrix:
    """Return the (N, N) 0/1 matrix of each row's nearest others; ties are broken at random."""
    order = rng.permutation(rows.shape[0])
    shuffled = rows[order]
    found: list[IntArray] = []
    for start in range(0, rows.shape[0], TILE):
        tile = shuffled[start : start + TILE]
        squared = np.round(_squared(tile, shuffled), 9)
        squared[np.arange(tile.shape[0]), np.arange(start, start + tile.shape[0])] = np.inf
        found.append(np.argpartition(squared, neighbours - 1, axis=1)[:, :neighbours])
    columns = order[np.concatenate(found)].ravel()
    ends = np.repeat(order, neighbours)
    return sparse.csr_matrix((np.ones(columns.size), (ends, columns)), shape=(rows.shape[0], rows.shape[0]))
