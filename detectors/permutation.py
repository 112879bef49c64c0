"""One permutation engine: exact nulls for counts and for rows, p = (1 + #{T* >= T}) / (B + 1)."""

from collections.abc import Callable

import numpy as np

from detectors.checks import FloatArray, IntArray

NUMPY_LIMIT = 10**9  # Generator.multivariate_hypergeometric takes fewer observations than this
TIE = 1e-12  # two statistics closer than this, relatively, are the same number computed in another order


def p_value(observed: float, null: FloatArray) -> float:
    """Return (1 + #{T* >= T}) / (B + 1): never 0, valid for every B.

    null : shape (B,). Source: Phipson & Smyth 2010, eq. 2.

    >>> p_value(2.0, np.array([1.0, 2.0, 3.0]))
    0.75
    """
    slack = TIE * max(1.0, abs(observed))
    return float((1 + np.count_nonzero(null >= observed - slack)) / (null.size + 1))


def critical_value(null: FloatArray, *, alpha: float) -> float:
    """Return the smallest statistic that is significant at alpha (just above the null when B is too small for any)."""
    allowed = int(np.floor(alpha * (null.size + 1) + 1e-9)) - 1
    ordered = np.sort(null)[::-1]
    highest = float(ordered[min(max(allowed, 0), null.size - 1)])
    return highest + 2 * TIE * max(1.0, abs(highest))


def permuted_counts(reference: IntArray, current: IntArray, *, permutations: int, rng: np.random.Generator) -> IntArray:
    """Draw what `current` (k,) would be if the pooled observations were dealt anew; returns (B, k).

    Dealing n of N labelled observations anew changes counts only through the margins, so the draw is
    multivariate hypergeometric: an exact permutation of rows at a cost that does not grow with them.
    numpy's sampler ends below 10^9 observations; `thinned_counts` draws from the same distribution above.
    """
    pooled, drawn = reference + current, int(current.sum())
    if int(pooled.sum()) < NUMPY_LIMIT:
        return rng.multivariate_hypergeometric(pooled, drawn, size=permutations, method="marginals")
    return thinned_counts(pooled, drawn, permutations=permutations, rng=rng)


def thinned_counts(pooled: IntArray, drawn: int, *, permutations: int, rng: np.random.Generator) -> IntArray:
    """Draw multivariate hypergeometric counts (B, k) of `drawn` observations out of `pooled` (k,), of any number.

    As long as a draw holds d too few, each observation outside is taken with probability d / (their number); while it
    holds d too many, each one inside is put back likewise. In counts both are binomials per cell. What is taken or
    put back depends on numbers alone and never on which observations they are, so after every step each set of the
    size reached is equally likely, and so is each set of `drawn` at the end: the draw is exact, up to the rounding
    of the binomial's probability (relative 1e-16). A step leaves |d| of the order of its square root: from 10^9 to
    0 in some 20 steps, O(B k) each.

    >>> thinned_counts(np.array([3, 0, 2]), 5, permutations=2, rng=np.random.default_rng(0)).tolist()
    [[3, 0, 2], [3, 0, 2]]
    """
    inside = np.zeros((permutations, pooled.size), dtype=np.int64)
    while (unsettled := np.flatnonzero(inside.sum(axis=1) != drawn)).size:
        now = inside[unsettled]
        lacking = drawn - now.sum(axis=1)
        pool = np.where(lacking[:, None] > 0, pooled - now, now)
        moved = rng.binomial(pool, (np.abs(lacking) / pool.sum(axis=1))[:, None])
        inside[unsettled] = now + np.sign(lacking)[:, None] * moved
    return inside


def permute_rows(
    statistic: Callable[[FloatArray], FloatArray],
    *,
    reference_n: int,
    current_n: int,
    permutations: int,
    rng: np.random.Generator,
    block: int = 250,
) -> tuple[float, FloatArray]:
    """Return the observed statistic and its null under permutation of the pooled rows, reference first.

    statistic takes an assignment matrix (b, N) of 0 and 1, 1 marking "current", and returns (b,); it evaluates a
    block of permutations in one matrix product.
    """
    total = reference_n + current_n
    actual = np.zeros((1, total))
    actual[0, reference_n:] = 1.0
    observed = float(statistic(actual)[0])
    null = np.empty(permutations)
    for start in range(0, permutations, block):
        assignment = np.repeat(actual, min(block, permutations - start), axis=0)
        null[start : start + block] = statistic(rng.permuted(assignment, axis=1))
    return observed, null
