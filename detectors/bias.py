"""Are groups treated alike: rates by group beside a reference group, and a verdict that controls its false alarms.

A comparison is one rate of one group beside the reference group's. Its verdict is one of three: the rates differ
(Holm's adjusted p-value within alpha, and the difference not shown to be within the margin), they differ by no more
than the margin (the simultaneous interval lies inside), or there is too little evidence, with the rows it would take.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from detectors.checks import FloatArray, probability
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated
from detectors.rates import difference_bounds, difference_p_value, rate_bounds, ratio_bounds, rows_to_show
from detectors.weighted import rows_worth

METRICS = ("selection_rate", "tpr", "fpr", "fnr", "precision", "accuracy")


class BiasVerdict(StrEnum):
    """What a comparison, or all of them, came to."""

    DISPARITY = "disparity"
    NO_DISPARITY = "no disparity beyond the margin"
    INSUFFICIENT = "insufficient evidence"


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """Confusion counts (G,) of named groups; without truths `known` is False and tp + fp counts the selected.

    Of rows drawn with unequal chances the counts are sums of weights, and `squares` (4, G) those of squared weights and
    `drawn` (4, G) the rows themselves, of tp, fp, fn and tn.
    """

    names: tuple[str, ...]
    tp: FloatArray
    fp: FloatArray
    fn: FloatArray
    tn: FloatArray
    known: bool
    squares: FloatArray | None = None
    drawn: FloatArray | None = None

    @property
    def n(self) -> FloatArray:
        """Rows (G,) of each group, or what they stand for."""
        return self.tp + self.fp + self.fn + self.tn

    def rate(self, metric: str) -> tuple[FloatArray, FloatArray]:
        """Return hits (G,) and rows (G,) of one of METRICS.

        Weighted rows count as the equally weighted ones that this rate is worth; see `detectors.weighted.rows_worth`.
        """
        hit, whole = (np.array(one) for one in _PARTS[metric])
        counts = np.array([self.tp, self.fp, self.fn, self.tn])
        hits, rows = hit @ counts, whole @ counts
        if self.squares is None or self.drawn is None:
            return hits, rows
        return _worth(hits, rows, hit @ self.squares, whole @ self.squares, whole @ self.drawn)


_PARTS = {  # of tp, fp, fn, tn: those that hit, and those that count
    "selection_rate": ((1, 1, 0, 0), (1, 1, 1, 1)),
    "tpr": ((1, 0, 0, 0), (1, 0, 1, 0)),
    "fpr": ((0, 1, 0, 0), (0, 1, 0, 1)),
    "fnr": ((0, 0, 1, 0), (1, 0, 1, 0)),
    "precision": ((1, 0, 0, 0), (1, 1, 0, 0)),
    "accuracy": ((1, 0, 0, 1), (1, 1, 1, 1)),
}


def _worth(
    hits: FloatArray, whole: FloatArray, hit_squares: FloatArray, squares: FloatArray, drawn: FloatArray
) -> tuple[FloatArray, FloatArray]:
    some = drawn > 0
    safe = np.where(some, whole, 1.0)
    share, worth = rows_worth(hits, safe, hit_squares, np.where(some, squares, 1.0), np.maximum(drawn, 1))
    effective = np.where(some, np.minimum(worth, drawn), 0.0)
    effective = np.where(some, np.maximum(effective, 1.0), 0.0)
    return share * effective, effective


def group_counts(
    names: Sequence[str],
    codes: npt.ArrayLike,
    selected: npt.ArrayLike,
    truths: npt.ArrayLike | None = None,
    *,
    inclusion_probability: npt.ArrayLike | None = None,
) -> GroupCounts:
    """Count rows (n,) by group: codes index names, selected and truths are 0 or 1. Time O(n).

    >>> found = group_counts(["a", "b"], [0, 0, 1], [1, 0, 1], [1, 1, 0])
    >>> found.tp.tolist(), found.fp.tolist(), found.fn.tolist()
    ([1.0, 0.0], [0.0, 1.0], [1.0, 0.0])
    """
    code, chosen = np.asarray(codes, dtype=np.int64), np.asarray(selected, dtype=np.int64)
    true = np.zeros_like(chosen) if truths is None else np.asarray(truths, dtype=np.int64)
    if not code.shape == chosen.shape == true.shape or code.ndim != 1:
        raise DetectorInputError(f"codes, selected and truths need one length, got {code.shape}, {chosen.shape}")
    if code.size and (code.min() < 0 or code.max() >= len(names)):
        raise DetectorInputError(f"codes must be in [0, {len(names)}), got {code.min()} to {code.max()}")
    place = 4 * code + 2 * chosen + true
    size = 4 * len(names)
    squares: FloatArray | None = None
    drawn: FloatArray | None = None
    if inclusion_probability is None:
        counts = np.bincount(place, minlength=size).astype(np.float64).reshape(-1, 4)
    else:
        weights = 1 / np.asarray(inclusion_probability, dtype=np.float64)
        if weights.shape != code.shape or not np.isfinite(weights).all() or (weights < 1).any():
            raise DetectorInputError("inclusion probabilities must lie in (0, 1], one per row")
        counts = np.bincount(place, weights, size).astype(np.float64).reshape(-1, 4)
        squares = np.bincount(place, weights**2, size).astype(np.float64).reshape(-1, 4).T[::-1]
        drawn = np.bincount(place, minlength=size).astype(np.float64).reshape(-1, 4).T[::-1]
    tn, fn, fp, tp = counts.T
    # cells stand as tn, fn, fp, tp; reversed they are tp, fp, fn, tn
    return GroupCounts(tuple(names), tp, fp, fn, tn, truths is not None, squares, drawn)


@dataclass(frozen=True, slots=True)
class Compared:
    """One rate of one group beside the reference group's.

    difference and ratio are group minus, and over, reference; their intervals stand at the audit's share of alpha.
    needed is the number of rows of the rate that would show a gap of the margin; None: no number would, or it is known.
    """

    metric: str
    group: str
    rate: Estimate | NotEstimated
    difference: Estimate | NotEstimated
    ratio: Estimate | NotEstimated
    p_value: float
    adjusted_p_value: float
    verdict: BiasVerdict
    needed: int | None


@dataclass(frozen=True, slots=True)
class BiasAudit:
    """All comparisons, the verdict over them, the reference group, and the alpha of this look."""

    reference: str
    verdict: BiasVerdict
    alpha: float
    margin: float
    references: tuple[Estimate | NotEstimated, ...]
    comparisons: tuple[Compared, ...]


def look_alpha(alpha: float, look: int) -> float:
    """Return what the k-th audit of one model may spend, k >= 1, so that all of them together keep alpha.

    alpha / (k (k + 1)), which sums to alpha over any number of looks.

    >>> look_alpha(0.05, 1), round(sum(look_alpha(0.05, k) for k in range(1, 366)), 4)
    (0.025, 0.0499)
    """
    if look < 1:
        raise DetectorInputError(f"looks count from 1, got {look}")
    return probability("alpha", alpha) / (look * (look + 1))


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Return adjusted p-values (m,): at most alpha with chance alpha of any false one. Source: Holm 1979.

    >>> holm([0.01, 0.04, 0.03]).round(4).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def audit_groups(
    counts: GroupCounts,
    *,
    reference: str,
    metrics: Sequence[str] = METRICS,
    alpha: float = 0.05,
    margin: float = 0.1,
) -> BiasAudit:
    """Compare every group's rates with the reference group's. Without truths only the selection rate is compared.

    alpha : chance that any comparison is falsely called a disparity, see `look_alpha` for repeated audits; margin in
    (0, 1) : the difference of rates that is worth showing. Raises DetectorInputError for an unknown group or metric.

    >>> counts = group_counts(["a", "b"], [0] * 200 + [1] * 200, [1] * 150 + [0] * 50 + [1] * 90 + [0] * 110)
    >>> found = audit_groups(counts, reference="a")
    >>> found.verdict.value, round(found.comparisons[0].difference.value, 2)
    ('disparity', -0.3)
    """
    probability("alpha", alpha)
    if reference not in counts.names or not 0 < margin < 1:
        raise DetectorInputError(f"reference {reference!r} must be a group, and margin {margin} in (0, 1)")
    unknown = [one for one in metrics if one not in METRICS]
    if unknown or not metrics:
        raise DetectorInputError(f"metrics are of {', '.join(METRICS)}, got {', '.join(unknown) or 'none'}")
    asked = tuple(metrics) if counts.known else ("selection_rate",)
    base = counts.names.index(reference)
    pairs = [(metric, g) for metric in asked for g in range(len(counts.names)) if g != base]
    tests = _p_values(counts, pairs, base)
    comparable = [not np.isnan(p) for p in tests]
    adjusted = np.ones(len(pairs))
    adjusted[comparable] = holm(tests[comparable])
    share = alpha / max(sum(comparable), 1)
    compared = tuple(
        _compare(counts, metric, g, base, p=float(p), adjusted=float(a), alpha=alpha, share=share, margin=margin)
        for (metric, g), p, a in zip(pairs, tests, adjusted, strict=True)
    )
    references = tuple(_rate(counts, metric, base, alpha=0.05) for metric in asked)
    return BiasAudit(reference, _overall(compared), alpha, margin, references, compared)


def _p_values(counts: GroupCounts, pairs: Sequence[tuple[str, int]], base: int) -> FloatArray:
    """Return p-values (m,), NaN where a side has no row."""
    rates = {metric: counts.rate(metric) for metric, _ in pairs}
    held = [(rates[one][0][g], rates[one][1][g], rates[one][0][base], rates[one][1][base]) for one, g in pairs]
    table = np.array(held, dtype=np.float64).reshape(-1, 4)
    found = np.full(len(pairs), np.nan)
    some = (table[:, 1] >= 1) & (table[:, 3] >= 1)
    if some.any():
        found[some] = difference_p_value(*table[some].T)
    return found


def _rate(counts: GroupCounts, metric: str, g: int, *, alpha: float) -> Estimate | NotEstimated:
    hits, n = (float(one[g]) for one in counts.rate(metric))
    name = f"{metric}[{counts.names[g]}]"
    if n < 1:
        return NotEstimated(name, "no row of this kind", 0, 1)
    low, high = rate_bounds(hits, n, alpha=alpha)
    return Estimate(name, hits / n, float(low), float(high), round(n), "wilson, exact where counts are tiny", alpha)


def _compare(
    counts: GroupCounts,
    metric: str,
    g: int,
    base: int,
    *,
    p: float,
    adjusted: float,
    alpha: float,
    share: float,
    margin: float,
) -> Compared:
    name = counts.names[g]
    rate = _rate(counts, metric, g, alpha=0.05)
    (hits, rows) = counts.rate(metric)
    if np.isnan(p):
        missing = name if rows[g] < 1 else counts.names[base]
        none = NotEstimated(f"{metric}_difference", f"group {missing!r} has no row of this kind", 0, 1)
        return Compared(metric, name, rate, none, none, 1.0, 1.0, BiasVerdict.INSUFFICIENT, None)
    table = (hits[g], rows[g], hits[base], rows[base])
    low, high = (float(one) for one in difference_bounds(*table, alpha=share))
    ratio, ratio_low, ratio_high = (float(one) for one in ratio_bounds(*table, alpha=share))
    n = round(float(rows[g]))
    base_rate = float(hits[base] / rows[base])
    difference = Estimate(f"{metric}_difference", float(hits[g] / rows[g]) - base_rate, low, high, n, "newcombe", share)
    verdict, needed = BiasVerdict.INSUFFICIENT, None
    if -margin <= low and high <= margin:
        verdict = BiasVerdict.NO_DISPARITY
    elif adjusted <= alpha:
        verdict = BiasVerdict.DISPARITY
    else:
        needed = rows_to_show(margin, base_rate=base_rate, base_n=int(rows[base]), alpha=share)
    return Compared(
        metric,
        name,
        rate,
        difference,
        Estimate(f"{metric}_ratio", ratio, ratio_low, ratio_high, n, "log-katz, + 1/2", share),
        p,
        adjusted,
        verdict,
        needed,
    )


def _overall(compared: Sequence[Compared]) -> BiasVerdict:
    verdicts = {one.verdict for one in compared}
    if BiasVerdict.DISPARITY in verdicts:
        return BiasVerdict.DISPARITY
    if verdicts == {BiasVerdict.NO_DISPARITY}:
        return BiasVerdict.NO_DISPARITY
    return BiasVerdict.INSUFFICIENT


@dataclass(frozen=True, slots=True)
class WorstGap:
    """The greatest difference of a rate between any two groups, with its interval."""

    gap: Estimate
    highest: str
    lowest: str


def worst_gap(counts: GroupCounts, metric: str, *, alpha: float = 0.05) -> WorstGap | NotEstimated:
    """Return the greatest gap of a rate between groups, with an interval that holds whichever groups they are.

    From every group's own bounds at alpha over the number of groups, so it is careful; resampling the counts would
    hold far too seldom, because the greatest of many noisy rates is too great. Groups without a row of the rate are
    left out. Time O(G), whatever the number of rows.
    """
    hits, rows = counts.rate(metric)
    kept = np.flatnonzero(rows >= 1)
    if kept.size < 2:
        return NotEstimated(f"{metric}_gap", "fewer than two groups have rows of this kind", int(kept.size), 2)
    rates = hits[kept] / rows[kept]
    low, high = rate_bounds(hits[kept], rows[kept], alpha=probability("alpha", alpha) / kept.size)
    value = float(rates.max() - rates.min())
    least, most = max(0.0, float(low.max() - high.min())), min(1.0, float(high.max() - low.min()))
    estimate = Estimate(
        f"{metric}_gap", value, min(least, value), max(most, value), int(rows[kept].sum()), "simultaneous bounds", alpha
    )
    return WorstGap(estimate, counts.names[int(kept[rates.argmax()])], counts.names[int(kept[rates.argmin()])])
