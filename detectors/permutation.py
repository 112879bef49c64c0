"""One permutation engine: exact nulls for counts and for rows, p = (1 + #{T* >= T}) / (B + 1)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtri, ndtri_exp

from detectors.checks import FloatArray, IntArray
from detectors.errors import DetectorInputError

NUMPY_LIMIT = 10**9  # Generator.multivariate_hypergeometric takes fewer observations than this
TIE = 1e-12  # two statistics closer than this, relatively, are the same number computed in another order
SCORE_TIE = 1e-9  # likewise for scores: a standardised statistic has lost a few digits
CALIBRATION = 200  # permutations that put the statistics of a family on one scale
EXCEEDANCES = 20  # a p-value that is not small is told after this many exceedances: its relative error is 1/sqrt(20)
FIRST_BLOCK = 100
LARGEST_BLOCK = 500
UNITS = 256  # pooled rows are permuted in about this many equal blocks
UNITS_OF_A_SIDE = 32

Draw = Callable[[int], FloatArray]
Mark = TypeVar("Mark", bound=np.generic)


def p_value(observed: float, null: FloatArray, *, tie: float = TIE) -> float:
    """Return (1 + #{T* >= T}) / (B + 1): never 0, valid for every B.

    null : shape (B,); statistics closer than `tie`, relatively, are equal. Source: Phipson & Smyth 2010, eq. 2.

    >>> p_value(2.0, np.array([1.0, 2.0, 3.0]))
    0.75
    """
    slack = tie * max(1.0, abs(_finite(observed)))
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


def enough_permutations(permutations: int, *, alpha: float) -> int:
    """Return at least as many as let a p-value, never less than 1/(B + 1), reach alpha with a factor of 2 to spare.

    >>> enough_permutations(999, alpha=0.001)
    1999
    """
    return max(permutations, math.ceil(2 / alpha) - 1)


def dealt(marks: npt.NDArray[Mark], count: int, *, rng: np.random.Generator) -> npt.NDArray[Mark]:
    """Return `count` random permutations (count, u) of the marks (u,) that say which side each unit is on."""
    return rng.permuted(np.broadcast_to(marks, (count, marks.size)), axis=1)


def dealt_in_blocks(
    marks: npt.NDArray[Mark], *, permutations: int, block: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[Mark]]:
    """Yield `permutations` of the marks (u,), at most `block` at a time: (b, u)."""
    for start in range(0, permutations, block):
        yield dealt(marks, min(block, permutations - start), rng=rng)


def sequential_p_value(observed: float, draw: Draw, *, permutations: int, enough: int) -> float:
    """Return the p-value of one statistic, drawing no more than it takes: at the `enough`-th exceedance it is told.

    draw(b) returns the statistics of b random permutations (b, 1). With h = enough the p-value is h / l when the h-th
    exceedance comes at permutation l, else (1 + exceedances) / (B + 1). Source: Besag & Clifford 1991, eq. 2.
    """
    _, exceeds = _sampled(np.array([_finite(observed)]), draw, permutations=permutations, enough=enough)
    return _sequential_p(exceeds[:, 0], permutations=permutations, enough=enough)


def _finite(statistic: float) -> float:
    """Return a statistic; one that is not finite exceeds nothing, and would pass for the rarest of all."""
    if not math.isfinite(statistic):
        raise DetectorInputError(f"a statistic must be finite to have a p-value, got {statistic}")
    return statistic


@dataclass(frozen=True, slots=True)
class Tested:
    """One statistic of a family: its value, its own p-value, and threshold and decision at the family's alpha."""

    observed: float
    p_value: float
    threshold: float
    drift: bool


@dataclass(frozen=True, slots=True)
class Family:
    """A family's p-value, valid for "no drift in any of it", and its members in their order."""

    p_value: float
    tests: tuple[Tested, ...]


@dataclass(frozen=True, slots=True)
class RowTest:
    """A statistic of feature sums: features (N, w) of the pooled rows, reference first.

    statistic takes the sums over the reference (b, w) and over the current side (b, w) and returns (b,).
    """

    features: FloatArray
    statistic: Callable[[FloatArray, FloatArray], FloatArray]


def joint_test(
    tests: Sequence[RowTest],
    *,
    reference_n: int,
    current_n: int,
    weights: FloatArray,
    alpha: float,
    permutations: int,
    rng: np.random.Generator,
) -> Family:
    """Test all statistics with the same permutations of the pooled rows: see `family_test` for the verdict.

    All features stand in one matrix, so a block of permutations is one matrix product. With many rows the permuted
    units are equal blocks of neighbouring rows of one side (about 256 together) and, apart from them, the rows left
    over: a subgroup of all permutations, so p-values stay exact for exchangeable rows (Hemerik & Goeman 2018, th. 1)
    while 1,000 permutations of 4,096 rows cost one product of (1,000, 256) and (256, w).
    """
    groups = _unit_groups([test.features for test in tests], reference_n=reference_n, current_n=current_n)
    total = np.sum([units.sum(axis=0) for _, units in groups], axis=0)
    ends = np.cumsum([test.features.shape[1] for test in tests])[:-1]

    def evaluate(current: FloatArray) -> FloatArray:
        sides = zip(tests, np.split(total - current, ends, axis=1), np.split(current, ends, axis=1), strict=True)
        return np.column_stack([test.statistic(before, now) for test, before, now in sides])

    def draw(count: int) -> FloatArray:
        sums = [dealt(marks, count, rng=rng) @ units for marks, units in groups if marks.size]
        return evaluate(np.sum(sums, axis=0))

    observed = evaluate(np.sum([marks[None, :] @ units for marks, units in groups], axis=0))[0]
    return family_test(observed, draw, weights=weights, alpha=alpha, permutations=permutations)


def _unit_groups(
    features: Sequence[FloatArray], *, reference_n: int, current_n: int
) -> list[tuple[FloatArray, FloatArray]]:
    """Return blocks and left-over rows, each as marks (u,), 1 for current, and the sums of all features (u, w)."""
    size = max(1, min((reference_n + current_n) // UNITS, min(reference_n, current_n) // UNITS_OF_A_SIDE))
    wholes = reference_n // size, current_n // size
    starts = np.concatenate([np.arange(wholes[0]) * size, reference_n + np.arange(wholes[1]) * size])
    left = np.concatenate(
        [np.arange(wholes[0] * size, reference_n), np.arange(reference_n + wholes[1] * size, reference_n + current_n)]
    )
    blocks = [sum(part[starts + step] for step in range(size)) for part in features]
    singles = [part[left] for part in features]
    return [
        (np.repeat([0.0, 1.0], wholes), np.concatenate(blocks, axis=1)),
        ((left >= reference_n).astype(np.float64), np.concatenate(singles, axis=1)),
    ]


def count_test(
    statistic: Callable[[FloatArray, FloatArray], FloatArray],
    reference: IntArray,
    current: IntArray,
    *,
    alpha: float,
    permutations: int,
    rng: np.random.Generator,
) -> Tested:
    """Test one statistic of counts (b,), however many texts they count, by its exact null; see `permuted_counts`.

    Raises DetectorInputError for counts of unlike shapes or a side that counts nothing.
    """
    if reference.shape != current.shape or min(reference.sum(), current.sum()) < 1:
        raise DetectorInputError(
            f"both sides must count something in the same bins, got {reference.tolist()} and {current.tolist()}"
        )
    pooled = reference + current

    def draw(count: int) -> FloatArray:
        drawn = permuted_counts(reference, current, permutations=count, rng=rng)
        return statistic((pooled - drawn).astype(np.float64), drawn.astype(np.float64))[:, None]

    observed = np.atleast_1d(statistic(reference.astype(np.float64), current.astype(np.float64)))
    return family_test(observed, draw, weights=np.ones(1), alpha=alpha, permutations=permutations).tests[0]


def family_test(observed: FloatArray, draw: Draw, *, weights: FloatArray, alpha: float, permutations: int) -> Family:
    """Judge a family of D statistics, large meaning drift, by permutations drawn for all of them together.

    observed : (D,); draw(b) returns the statistics of b random permutations (b, D); weights : (D,), summing to 1, each
    statistic's share of alpha. The family's statistic is the smallest weighted p-value, its null that of the same
    permutations: Westfall & Young 1993, sec. 2.3. It keeps alpha under any dependence and loses nothing to it.

    The first 200 permutations only choose the scale on which statistics are compared (a Pearson III fit): they see the
    pooled rows, never who is who, so the rest is exact whatever the fit. Then sampling is sequential: every statistic
    and the family get the p-value of Besag & Clifford 1991, eq. 2: h / l when the h-th exceedance comes at
    permutation l, else (1 + exceedances) / (B + 1). With h >= alpha (B + 1), as here, no statistic that could still
    be significant is ever stopped, so decisions are those of all B = `permutations` permutations.
    """
    for statistic in observed:
        _finite(float(statistic))
    scale = _Scale.fitted(draw(CALIBRATION))

    def scored(statistics: FloatArray) -> FloatArray:
        scores = scale.scores(statistics) + np.log(weights)
        return np.column_stack([statistics, scores.max(axis=1)])

    enough = max(EXCEEDANCES, math.ceil(alpha * (permutations + 1) - 1e-9))
    actual = scored(observed[None, :])[0]
    null, exceeds = _sampled(actual, lambda count: scored(draw(count)), permutations=permutations, enough=enough)
    p_values = [_sequential_p(column, permutations=permutations, enough=enough) for column in exceeds.T]
    best = null[:, -1]
    complete = best.size == permutations
    critical = critical_value(best, alpha=alpha) if complete else -math.log(alpha)
    own = scale.scores(observed[None, :])[0] + np.log(weights)
    adjusted = [p_value(float(score), best, tie=SCORE_TIE) for score in own]
    decided = [p_values[-1] <= alpha and adjusted_p <= alpha for adjusted_p in adjusted]
    thresholds = scale.statistics(critical - np.log(weights))
    return Family(
        p_value=p_values[-1],
        tests=tuple(
            Tested(float(value), p, _agreeing(float(threshold), float(value), drift=drift), drift)
            for value, p, threshold, drift in zip(observed, p_values[:-1], thresholds, decided, strict=True)
        ),
    )


def _sampled(
    actual: FloatArray, draw: Draw, *, permutations: int, enough: int
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Draw until every column has `enough` exceedances, or all permutations; return the null and who exceeded."""
    slack = SCORE_TIE * np.maximum(1.0, np.abs(actual))
    blocks: list[FloatArray] = []
    drawn, block, counted = 0, min(FIRST_BLOCK, permutations), np.zeros(actual.size, dtype=np.int64)
    while drawn < permutations and (counted < enough).any():
        blocks.append(draw(min(block, permutations - drawn)))
        drawn += blocks[-1].shape[0]
        counted += (blocks[-1] >= actual - slack).sum(axis=0)
        block = min(2 * block, LARGEST_BLOCK)
    null = np.concatenate(blocks)
    return null, null >= actual - slack


def _sequential_p(exceeds: npt.NDArray[np.bool_], *, permutations: int, enough: int) -> float:
    hits = np.flatnonzero(exceeds)
    if hits.size >= enough:
        return float(enough / (hits[enough - 1] + 1))
    return float((1 + hits.size) / (permutations + 1))


def _agreeing(threshold: float, value: float, *, drift: bool) -> float:
    """Return the threshold, moved by rounding's worth where its inversion would contradict the decision."""
    if drift:
        return min(threshold, value)
    return threshold if threshold > value else float(np.nextafter(value, np.inf))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Pearson III fits (D,): a statistic's score is minus the logarithm of its fitted upper tail probability.

    Source: Wilson & Hilferty 1931, the cube-root transformation of a gamma variable to a normal one.
    """

    mean: FloatArray
    deviation: FloatArray
    skew: FloatArray

    @classmethod
    def fitted(cls, null: FloatArray) -> "_Scale":
        mean = null.mean(axis=0)
        deviation = np.maximum(null.std(axis=0), TIE * np.maximum(1.0, np.abs(mean)))
        skew = (((null - mean) / deviation) ** 3).mean(axis=0)
        return cls(mean, deviation, np.clip(skew, 0.05, 3.0))

    def scores(self, statistics: FloatArray) -> FloatArray:
        gaps = statistics - self.mean
        told = np.abs(gaps) > SCORE_TIE * np.maximum(1.0, np.abs(self.mean))  # less is rounding, not evidence
        standardised = np.where(told, gaps, 0.0) / self.deviation
        normal = 6 / self.skew * (np.cbrt(self.skew * standardised / 2 + 1) - 1) + self.skew / 6
        return np.asarray(-log_ndtr(-normal))

    def statistics(self, scores: FloatArray) -> FloatArray:
        normal = -ndtri_exp(np.minimum(-scores, -TIE))
        cubed = (self.skew / 6 * (normal - self.skew / 6) + 1) ** 3
        return np.asarray(self.mean + self.deviation * 2 / self.skew * (cubed - 1))


def alpha_given_baseline(alpha: float, *, reference_n: int, current_n: int, confidence: float) -> float:
    """Return the alpha at which a share `confidence` of all baselines alarms at most `alpha` of its windows.

    A baseline is drawn once and judges many windows. Of a difference of means the share rho = m / (n + m) of the
    variance (n reference, m current texts) is the baseline's own error, the same in every window: conditional on the
    baseline the false-alarm rate spreads around alpha. For a Gaussian one-sided statistic the rate stays at alpha for
    that share of baselines when the critical value is sqrt(rho) z(confidence) + sqrt(1 - rho) z(1 - alpha).
    Derivation and measurements: docs/math/verdict.md. Never more than alpha.

    >>> round(alpha_given_baseline(0.05, reference_n=300, current_n=300, confidence=0.9), 4)
    0.0193
    """
    shared = current_n / (reference_n + current_n)
    critical = math.sqrt(shared) * ndtri(confidence) - math.sqrt(1 - shared) * ndtri(alpha)
    return min(alpha, math.exp(float(log_ndtr(-critical))))
