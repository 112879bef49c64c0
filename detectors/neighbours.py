"""Kullback–Leibler divergence by nearest neighbours: no cells, no Gaussians, but at most 64 dimensions."""

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import brentq
from scipy.special import digamma

from detectors.checks import FloatArray, IntArray, matrix, probability
from detectors.errors import DetectorInputError
from detectors.kl import HALF, gaussian_kl, shrunk, unbiased_gaussian_kl
from detectors.permutation import critical_value, dealt_in_blocks, p_value
from detectors.results import DetectorResult, TooLittleData

NEIGHBOURS = 10
MAX_DIMENSION = 64  # beyond, neither form reads a divergence at any affordable n: docs/math/kl.md
TILE = 256
BLOCK = 250
RELATIVE_FLOOR = 1e-9


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
    right for Gaussians and partial for others. Time O(twins · n(n + m)d), memory O(256(n + m)).
    Source: Wang, Kulkarni & Verdú 2009, eq. 25 (the shared ball); Pérez-Cruz 2008; docs/math/kl.md for the twins.
    Raises DetectorInputError for unlike or too wide matrices, too few rows, or rows without variation.
    """
    before, now = _whitened(*_sides(reference, current))
    smallest, needed = min(before.shape[0], now.shape[0]), max(neighbours, before.shape[1] + 2) + 1
    if neighbours < 1 or twins < 1 or smallest < needed:
        raise DetectorInputError(
            f"knn_kl needs neighbours >= 1, twins >= 1 and {needed} rows a side, got {neighbours}, {twins}, {smallest}"
        )
    if before.shape[1] == 0:
        raise DetectorInputError(f"the {before.shape[0] + now.shape[0]} rows are all the same: nothing to compare")
    fits, closed = _gaussian_twins(before, now)
    read = 0.0
    for _ in range(twins):
        drawn = [_drawn(*fit, n=side.shape[0], rng=rng) for fit, side in zip(fits, (before, now), strict=True)]
        read += _ball_kl(drawn[0], drawn[1], neighbours) / twins
    return _ball_kl(before, now, neighbours) - read + closed


def _sides(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    before = matrix("reference", reference)
    now = matrix("current", current, columns=before.shape[1])
    if not 1 <= before.shape[1] <= MAX_DIMENSION:
        raise DetectorInputError(f"project to at most {MAX_DIMENSION} dimensions first, got {before.shape[1]}")
    return before, now


def _whitened(before: FloatArray, now: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return both sides whitened by their pooled covariance: the divergence stays, balls fit the density better.

    Mean and covariance are of the pooled rows, whoever is who: else the test's balls would know the sides.
    """
    if not before.shape[0] or not now.shape[0]:
        return before, now
    pooled = np.concatenate([before, now])
    centre = pooled.mean(axis=0)
    pooled -= centre
    variances, directions = np.linalg.eigh(pooled.T @ pooled / pooled.shape[0])
    kept = variances > max(RELATIVE_FLOOR * variances[-1], RELATIVE_FLOOR**2 * (1 + float((centre**2).sum())))
    maps = directions[:, kept] / np.sqrt(variances[kept])
    return np.asarray((before - centre) @ maps), np.asarray((now - centre) @ maps)


def _gaussian_twins(
    before: FloatArray, now: FloatArray
) -> tuple[tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]], float]:
    """Return a Gaussian for either side and their divergence: the fits, drawn together until it is the unbiased one.

    The fits themselves lie too far apart, by their own chance: at d = 32 and 1,000 rows a side by 0.6 nats.
    """
    own = [(side.mean(axis=0), shrunk(np.atleast_2d(np.cov(side.T)), side.shape[0])) for side in (before, now)]
    middle = [(own[0][i] + own[1][i]) / 2 for i in (0, 1)]
    wanted = unbiased_gaussian_kl(*own[1], *own[0], n_p=now.shape[0], n_q=before.shape[0])

    def drawn_together(share: float) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        first, second = ([share * m + (1 - share) * x for x, m in zip(fit, middle, strict=True)] for fit in own)
        return (first[0], first[1]), (second[0], second[1])

    def excess(share: float) -> float:
        reference, current = drawn_together(share)
        return float(gaussian_kl(*current, *reference)) - max(wanted, 0.0)

    share = 0.0 if excess(0.0) <= 0 else 1.0 if wanted <= 0 else float(brentq(excess, 0.0, 1.0, xtol=1e-6))
    fits = drawn_together(share)
    return fits, float(gaussian_kl(*fits[1], *fits[0]))


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
    """Test for drift by the log-odds of sides among each row's `neighbours` nearest pooled rows, in deviations.

    Two divergences are read off the same balls: of the current rows from the reference and of the reference rows from
    the current. New texts that lie scattered show only in the second, a mix that narrows only in the first, so the
    statistic is the larger of both, each in standard deviations of its permutation null. The balls do not depend on
    sides: they are found once, dealing sides anew is a sparse matrix product, and the p-value is exact for
    exchangeable rows. Rows are shuffled first: else equal rows would be neighbours in the order they came, reference
    first. The unit is the drawn null's own deviation, so another order of the rows moves the statistic as another seed
    does, by about 1/sqrt(permutations). Source: Henze 1988 and Schilling 1986 for the test; Phipson & Smyth 2010 for p;
    docs/math/kl.md for both.
    """
    probability("alpha", alpha)
    before, now = _sides(reference, current)
    smallest = min(before.shape[0], now.shape[0])
    if smallest <= neighbours:
        return TooLittleData("rows a side for nearest neighbours", got=smallest, needed=neighbours + 1)
    distinct = np.unique(np.concatenate([before, now]), axis=0).shape[0]
    if distinct <= neighbours:
        return TooLittleData("distinct rows for nearest neighbours", got=distinct, needed=neighbours + 1)
    graph = _neighbour_graph(np.concatenate(_whitened(before, now)), neighbours, rng=rng)
    sides = np.repeat([0.0, 1.0], [before.shape[0], now.shape[0]])
    permuted = dealt_in_blocks(sides, permutations=permutations, block=BLOCK, rng=rng)
    observed, null = sides[None, :], [_two_odds(graph, assignment, neighbours) for assignment in permuted]
    both = np.concatenate([_two_odds(graph, observed, neighbours), *null])  # all are standardised alike
    spread = both.std(axis=0)
    standard = ((both - both.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).max(axis=1)
    p = p_value(float(standard[0]), standard[1:])
    threshold = critical_value(standard[1:], alpha=alpha)
    return DetectorResult("kl_knn", float(standard[0]), "deviations", p, threshold, p <= alpha)


def _two_odds(graph: sparse.csr_matrix, assignment: FloatArray, neighbours: int) -> FloatArray:
    """Return (b, 2) the mean log-odds of "current" around current rows, and of "reference" around reference rows."""
    near = np.arange(neighbours + 1)
    odds = (digamma(near + HALF) - digamma(neighbours - near + HALF))[np.rint(graph @ assignment.T).astype(np.int64)]
    now, before = assignment.T, 1 - assignment.T
    around_now, around_before = (odds * now).sum(axis=0) / now.sum(axis=0), (odds * before).sum(axis=0)
    return np.stack([around_now, -around_before / before.sum(axis=0)], axis=1)


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
