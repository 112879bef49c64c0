"""How right the answers of a classifier are, by labelled rows: accuracy, per class, F1, calibration; with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.checks import FloatArray, IntArray, probability
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated
from detectors.weighted import (
    Measure,
    effective_wilson,
    inverse_probabilities,
    kish_n,
    method_of,
    share_bounds,
    spread_n,
)


@dataclass(frozen=True, slots=True)
class _Coded:
    """Rows with answers and truths (n,) as numbers of the k classes, and their weights (n,)."""

    answers: IntArray
    truths: IntArray
    weights: FloatArray
    classes: tuple[str, ...]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Return which rows (n,) are answered right."""
        return np.asarray(self.answers == self.truths)


def classification_quality(
    answers: npt.ArrayLike,
    truths: npt.ArrayLike,
    *,
    inclusion_probability: npt.ArrayLike | None = None,
    classes: Sequence[str | int] | None = None,
    alpha: float = 0.05,
) -> tuple[Measure, ...]:
    """Return accuracy, macro_f1, then precision[c], recall[c] and f1[c] of every class c, at a single look.

    answers, truths : shape (n,), strings or whole numbers, one class each; classes : those to report, in this order,
    and by default all that occur, sorted. inclusion_probability : (n,) in (0, 1], the chance that the row was drawn
    *and* had its label by now (`detectors.maturity`); None means equal chances. Every share carries Wilson's interval,
    of an effective n where weights differ; F1 is 2J/(1 + J) of the share J of right rows among those where the answer
    or the truth is c, and takes J's bounds. macro_f1 is the plain mean of F1 over classes, by the delta method.
    What has no row is NotEstimated. Raises DetectorInputError for unequal lengths and for a class not among classes.
    Time O(n log n + k). Source: Takahashi et al. 2022 (macro-F1); Särndal, Swensson & Wretman 1992, sec. 5.7.

    >>> accuracy, macro, *_ = classification_quality(["a", "a", "b", "b"], ["a", "b", "b", "b"])
    >>> accuracy.name, accuracy.value, macro.name, round(macro.value, 4)
    ('accuracy', 0.75, 'macro_f1', 0.7333)
    """
    rows = _coded(answers, truths, inclusion_probability=inclusion_probability, classes=classes)
    probability("alpha", alpha)
    every = np.zeros(rows.answers.size, dtype=np.int64)
    accuracy = _shares(("accuracy",), rows, (every,), alpha=alpha)[0]
    per_class = [
        _shares([f"{name}[{c}]" for c in rows.classes], rows, members, alpha=alpha)
        for name, members in (
            ("precision", (rows.answers,)),
            ("recall", (rows.truths,)),
            ("f1", (rows.answers, rows.truths)),
        )
    ]
    by_class = [measure for three in zip(*per_class, strict=True) for measure in three]
    return (accuracy, _macro_f1(rows, alpha=alpha), *by_class)


def _coded(
    answers: npt.ArrayLike,
    truths: npt.ArrayLike,
    *,
    inclusion_probability: npt.ArrayLike | None,
    classes: Sequence[str | int] | None,
) -> _Coded:
    given, true = np.asarray(answers), np.asarray(truths)
    if given.ndim != 1 or given.shape != true.shape:
        raise DetectorInputError(
            f"answers and truths must be 1-D and equal in length, got {given.shape} and {true.shape}"
        )
    for name, array in (("answers", given), ("truths", true)):
        if array.size and array.dtype.kind not in "iubUO":
            raise DetectorInputError(f"{name} must be strings or whole numbers, got dtype {array.dtype}")
    both = np.concatenate([given.astype(str), true.astype(str)]) if given.size else np.array([], dtype=str)
    found, codes = np.unique(both, return_inverse=True)
    names = tuple(str(c) for c in (found if classes is None else classes))
    place = {name: index for index, name in enumerate(names)}
    if len(place) != len(names):
        raise DetectorInputError(f"classes must differ from one another, got {len(names) - len(place)} twice")
    unknown = [str(c) for c in found if str(c) not in place]
    if unknown:
        raise DetectorInputError(f"{len(unknown)} classes are not among the declared, such as {unknown[0]!r}")
    codes = np.array([place[str(c)] for c in found], dtype=np.int64)[codes.reshape(-1)]
    weights = inverse_probabilities(given.size, inclusion_probability)
    return _Coded(codes[: given.size], codes[given.size :], weights, names)


def _shares(names: Sequence[str], rows: _Coded, members: tuple[IntArray, ...], *, alpha: float) -> list[Measure]:
    """Return per class the share of right rows among its members: rows whose answer, or truth, or either is of it.

    A right row is of one class; a wrong one counts for the class of each of the members' codes.
    """
    size = len(names)
    right, w = rows.right, rows.weights

    def sums(weights: FloatArray, chosen: npt.NDArray[np.bool_], codes: IntArray) -> FloatArray:
        return np.bincount(codes[chosen], weights=weights[chosen], minlength=size).astype(np.float64)

    hit, hit_squares, hits = (sums(x, right, members[0]) for x in (w, w**2, np.ones_like(w)))
    miss, miss_squares, misses = (
        sum((sums(x, ~right, codes) for codes in members), np.zeros(size)) for x in (w, w**2, np.ones_like(w))
    )
    n = hits + misses
    kept = n > 0
    share, low, high, equal = share_bounds(
        hit[kept], (hit + miss)[kept], hit_squares[kept], (hit_squares + miss_squares)[kept], n[kept], alpha=alpha
    )
    if len(members) > 1:
        share, low, high = (2 * x / (1 + x) for x in (share, low, high))
    rank = np.cumsum(kept) - 1
    return [
        Estimate(
            name,
            float(share[rank[c]]),
            float(low[rank[c]]),
            float(high[rank[c]]),
            int(n[c]),
            method_of(bool(equal[rank[c]])),
            alpha,
        )
        if kept[c]
        else NotEstimated(name, "no labelled row of this kind", 0, 1)
        for c, name in enumerate(names)
    ]


def _macro_f1(rows: _Coded, *, alpha: float) -> Measure:
    """Return the mean F1 of the classes that occur, with the delta method's variance. Source: Takahashi et al. 2022."""
    n, size = rows.answers.size, len(rows.classes)
    if not n:
        return NotEstimated("macro_f1", "no labelled row", 0, 1)
    w, right = rows.weights, rows.right
    doubled = 2 * np.bincount(rows.truths[right], weights=w[right], minlength=size)
    whole = np.bincount(np.concatenate([rows.answers, rows.truths]), weights=np.tile(w, 2), minlength=size)
    occurs = np.asarray(whole > 0)
    f1 = np.divide(doubled, whole, out=np.zeros(size), where=occurs)
    per_row = np.divide(1.0, whole, out=np.zeros(size), where=occurs)
    value = float(f1[occurs].mean())
    loss = f1 * per_row
    influences = w * (right * 2 * per_row[rows.truths] - loss[rows.answers] - loss[rows.truths]) / occurs.sum()
    low, high = effective_wilson(value, spread_n(value, influences, fallback=kish_n(w)), alpha=alpha)
    return Estimate("macro_f1", value, float(low), float(high), n, "delta, wilson of effective n", alpha)
