"""Judge a window's sketch against the reference sketch: five detectors, one verdict that keeps alpha."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detectors.checks import FloatArray, IntArray
from detectors.cosine import lifted_cosine_distance
from detectors.errors import DetectorInputError
from detectors.kl import cells_kl, counts_js, gaussian_kl, shrunk, smoothed
from detectors.permutation import critical_value, p_value, permute_rows, permuted_counts
from detectors.results import CellShift, Comparison, DetectorResult, TooLittleData, Verdict
from detectors.sketch import Sketch

MINIMUM = 50


@dataclass(frozen=True, slots=True)
class _Tested:
    name: str
    unit: str
    observed: float
    null: FloatArray


def compare_sketches(
    reference: Sketch,
    current: Sketch,
    *,
    alpha: float,
    rng: np.random.Generator,
    permutations: int = 1999,
    minimum: int = MINIMUM,
) -> Comparison | TooLittleData:
    """Compare two sketches of one basis.

    Every null is a permutation null: exact for exchangeable texts. The combined p-value is min(1, m · min p), valid
    under any dependence between the m detectors; each detector alarms at alpha / m. Cost does not grow with the
    number of texts. Raises DetectorInputError for sketches of unlike bases or alpha outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise DetectorInputError(f"alpha lies in (0, 1), got {alpha}")
    if reference.basis_digest != current.basis_digest:
        raise DetectorInputError(
            f"sketches of unlike bases are never compared: {reference.basis_digest}, {current.basis_digest}"
        )
    for side, sketch in (("reference", reference), ("current", current)):
        if sketch.n < minimum:
            return TooLittleData(f"{side} texts", got=sketch.n, needed=minimum)
    tested = _tested(reference, current, permutations=permutations, rng=rng)
    share = alpha / len(tested)
    results = tuple(_result(one, alpha=share) for one in tested)
    combined = min(1.0, len(results) * min(result.p_value for result in results))
    drift = any(result.drift for result in results)
    return Comparison(reference.n, current.n, results, Verdict(drift, combined, alpha), cell_shifts(reference, current))


def _tested(reference: Sketch, current: Sketch, *, permutations: int, rng: np.random.Generator) -> list[_Tested]:
    counts: list[tuple[str, Callable[[FloatArray, FloatArray], FloatArray], IntArray, IntArray]] = [
        ("kl_cells", cells_kl, reference.cell_counts, current.cell_counts)
    ]
    if reference.class_counts.size > 1 and reference.class_counts.sum() and current.class_counts.sum():
        counts.append(("js_classes", counts_js, reference.class_counts, current.class_counts))
    if reference.confidence_counts.sum() and current.confidence_counts.sum():
        counts.append(("js_confidence", counts_js, reference.confidence_counts, current.confidence_counts))
    tested = [
        _Tested(name, "nats", *_count_test(statistic, before, now, permutations=permutations, rng=rng))
        for name, statistic, before, now in counts
    ]
    rows = np.concatenate([reference.rows, current.rows]).astype(np.float64)
    sizes = (reference.rows.shape[0], current.rows.shape[0])
    for name, unit, statistic in (
        ("kl_gaussian", "nats", _gaussian_statistic(rows)),
        ("cosine", "distance", _cosine_statistic(rows)),
    ):
        observed, null = permute_rows(
            statistic, reference_n=sizes[0], current_n=sizes[1], permutations=permutations, rng=rng
        )
        tested.append(_Tested(name, unit, observed, null))
    return tested


def _count_test(
    statistic: Callable[[FloatArray, FloatArray], FloatArray],
    reference: IntArray,
    current: IntArray,
    *,
    permutations: int,
    rng: np.random.Generator,
) -> tuple[float, FloatArray]:
    drawn = permuted_counts(reference, current, permutations=permutations, rng=rng)
    pooled = reference + current
    observed = statistic(reference.astype(np.float64), current.astype(np.float64))
    return float(observed), statistic((pooled - drawn).astype(np.float64), drawn.astype(np.float64))


def _cosine_statistic(rows: FloatArray) -> Callable[[FloatArray], FloatArray]:
    total = rows.sum(axis=0)

    def statistic(assignment: FloatArray) -> FloatArray:
        n = assignment.sum(axis=1, keepdims=True)
        current = assignment @ rows
        return lifted_cosine_distance((total - current) / (rows.shape[0] - n), current / n)

    return statistic


def _gaussian_statistic(rows: FloatArray) -> Callable[[FloatArray], FloatArray]:
    k = rows.shape[1]
    upper = np.triu_indices(k)
    features = np.concatenate([rows, rows[:, upper[0]] * rows[:, upper[1]]], axis=1)
    total = features.sum(axis=0)

    def moments(sums: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
        means = sums / n
        mean = means[:, :k]
        second = np.empty((sums.shape[0], k, k))
        second[:, upper[0], upper[1]] = means[:, k:]
        second[:, upper[1], upper[0]] = means[:, k:]
        return mean, shrunk(second - mean[:, :, None] * mean[:, None, :], float(n[0, 0]))

    def statistic(assignment: FloatArray) -> FloatArray:
        n = assignment.sum(axis=1, keepdims=True)
        sums = assignment @ features
        mean_p, cov_p = moments(sums, n)
        mean_q, cov_q = moments(total - sums, rows.shape[0] - n)
        return gaussian_kl(mean_p, cov_p, mean_q, cov_q)

    return statistic


def _result(tested: _Tested, *, alpha: float) -> DetectorResult:
    p = p_value(tested.observed, tested.null)
    return DetectorResult(
        name=tested.name,
        statistic=tested.observed,
        unit=tested.unit,
        p_value=p,
        threshold=critical_value(tested.null, alpha=alpha),
        drift=p <= alpha,
    )


def cell_shifts(reference: Sketch, current: Sketch) -> tuple[CellShift, ...]:
    """Return every cell's shift, those that grew most (in nats of the divergence) first."""
    before = reference.cell_counts / reference.n
    now = current.cell_counts / current.n
    p, q = smoothed(current.cell_counts.astype(np.float64)), smoothed(reference.cell_counts.astype(np.float64))
    contributions = p * np.log(p / q)
    order = np.argsort(-contributions, kind="stable")
    return tuple(CellShift(int(i), float(before[i]), float(now[i]), float(contributions[i])) for i in order)
