"""How right sets of labels are, where a text may have several; and classes at every look, of one label or several."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from detectors.checks import FloatArray, probability
from detectors.confidence import confidence_sequence
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated
from detectors.weighted import (
    Measure,
    effective_wilson,
    inverse_probabilities,
    kish_n,
    mean_estimate,
    ratio_estimate,
    spread_n,
)

Labels = Sequence[Sequence[str]]
Matrix = Any  # scipy.sparse.csc_array (n, k) of 0 and 1


@dataclass(frozen=True, slots=True)
class _Sets:
    """Which of the k classes that occur n rows were given and which are right, with the shares that both have."""

    classes: Sequence[str]
    predicted: Matrix
    true: Matrix

    @property
    def both(self) -> Matrix:
        """Return the right ones."""
        return self.predicted.multiply(self.true).tocsc()

    @property
    def either(self) -> Matrix:
        """Return those of the answer or the truth."""
        return self.predicted.maximum(self.true).tocsc()


def set_quality(
    predicted: Labels, true: Labels, *, inclusion_probability: npt.ArrayLike | None = None, alpha: float = 0.05
) -> list[Measure]:
    """Return exact_match, micro_f1, macro_f1, then precision[c], recall[c], f1[c] of every class c, at a single look.

    predicted, true : n sets of labels. Rows are the unit of chance: labels of one row may depend on each other.
    F1 of a class is 2J/(1 + J) of the share J of rows right among those where answer or truth holds c, and takes its
    bounds. Raises DetectorInputError for unequal lengths. Time O(labels + n k).
    Source: Hand, Christen & Kirielle 2021 (F1 and J); Takahashi et al. 2022 (delta method of macro-F1).

    >>> exact, micro, *_ = set_quality([["a"], ["a", "b"]], [["a"], ["b"]])
    >>> exact.value, round(micro.value, 3)
    (0.5, 0.8)
    """
    sets = _sets(predicted, true)
    chances: dict[str, Any] = {"inclusion_probability": inclusion_probability, "alpha": probability("alpha", alpha)}
    shared = _per_row(sets.both)
    exact = (_per_row(sets.either) == shared).astype(np.float64)
    sizes = _per_row(sets.predicted) + _per_row(sets.true)
    found: list[Measure] = [
        mean_estimate("exact_match", exact, **chances),
        ratio_estimate("micro_f1", 2 * shared, sizes, **chances),
        _macro_f1(sets, inverse_probabilities(exact.size, inclusion_probability), alpha=alpha),
    ]
    right, either = sets.both, sets.either
    for column, name in enumerate(sets.classes):
        both = _column(right, column)
        for kind, whole in (("precision", sets.predicted), ("recall", sets.true), ("f1", either)):
            measured = ratio_estimate(f"{kind}[{name}]", both, _column(whole, column), **chances)
            found.append(_as_f1(measured) if kind == "f1" else measured)
    return found


def class_sequences(predicted: Labels, true: Labels, *, alpha: float = 0.05) -> list[Measure]:
    """Return macro_f1, then precision[c], recall[c], f1[c] of every class, with intervals that hold at every look.

    Rows stand in the order in which their truths became known and were drawn with equal chances. Of each class the
    sequence of right and wrong among its rows is bet on; macro_f1 adds up the classes at alpha/k each.
    """
    sets = _sets(predicted, true)
    by_class: list[Measure] = []
    summed: list[Measure] = []
    right, any_of = sets.both, sets.either
    for column, name in enumerate(sets.classes):
        both, either = _column(right, column), _column(any_of, column)
        for kind, whole in (("precision", sets.predicted), ("recall", sets.true)):
            by_class.append(_sequence(f"{kind}[{name}]", both[_column(whole, column) > 0], alpha=alpha))
        by_class.append(_as_f1(_sequence(f"f1[{name}]", both[either > 0], alpha=alpha)))
        summed.append(_as_f1(_sequence(name, both[either > 0], alpha=alpha / len(sets.classes))))
    parts = [one for one in summed if isinstance(one, Estimate)]
    if not parts:
        return [NotEstimated("macro_f1", "no labelled row", 0, 1)]
    value, low, high = (float(np.mean([getattr(one, side) for one in parts])) for side in ("value", "low", "high"))
    macro = Estimate("macro_f1", value, low, high, len(predicted), "betting sequences of the classes", alpha)
    return [macro, *by_class]


def _sets(predicted: Labels, true: Labels) -> _Sets:
    if len(predicted) != len(true):
        raise DetectorInputError(f"predicted and true must be equal in length, got {len(predicted)} and {len(true)}")
    names = sorted({one for side in (predicted, true) for labels in side for one in labels})
    place = {name: column for column, name in enumerate(names)}
    return _Sets(names, _membership(predicted, place), _membership(true, place))


def _membership(sets: Labels, place: dict[str, int]) -> Matrix:
    unique = [set(labels) for labels in sets]
    columns = [place[name] for labels in unique for name in labels]
    ends = np.cumsum([0, *(len(labels) for labels in unique)])
    rows = sparse.csr_array((np.ones(len(columns)), columns, ends), shape=(len(sets), len(place)))
    return rows.tocsc()


def _per_row(members: Matrix) -> FloatArray:
    return np.asarray(members.sum(axis=1), dtype=np.float64).ravel()


def _column(members: Matrix, column: int) -> FloatArray:
    dense = np.zeros(members.shape[0])
    dense[members.indices[members.indptr[column] : members.indptr[column + 1]]] = 1.0
    return dense


def _macro_f1(sets: _Sets, weights: FloatArray, *, alpha: float) -> Measure:
    """Return the mean F1 of the classes that occur, with the delta method's variance."""
    if not sets.classes:
        return NotEstimated("macro_f1", "no labelled row with a class", 0, 1)
    sizes = sets.predicted + sets.true
    whole, right = np.asarray(weights @ sizes), np.asarray(weights @ sets.both)
    f1 = 2 * right / whole
    losses = sizes.multiply(f1 / whole)
    gains = (2 * sets.both).multiply(1 / whole)
    influences = weights * (_per_row(gains) - _per_row(losses)) / len(sets.classes)
    value = float(f1.mean())
    n = spread_n(value, influences, fallback=kish_n(weights))
    low, high = effective_wilson(value, n, alpha=alpha)
    return Estimate("macro_f1", value, float(low), float(high), weights.size, "delta, wilson of effective n", alpha)


def _sequence(name: str, hits: FloatArray, *, alpha: float) -> Measure:
    if not hits.size:
        return NotEstimated(name, "no labelled row of this kind", 0, 1)
    limits, value = confidence_sequence(hits, alpha=alpha).last, float(hits.mean())
    if limits.lower <= value <= limits.upper:
        return Estimate(name, value, limits.lower, limits.upper, int(hits.size), "betting sequence", alpha)
    found = mean_estimate(name, hits, alpha=alpha)
    if isinstance(found, NotEstimated):
        return found
    return replace(found, method=f"{found.method}, at one look: the mean changed along the labels")


def _as_f1(found: Measure) -> Measure:
    """Turn a share J = tp / (tp + fp + fn) into F1 = 2J / (1 + J), which rises with it."""
    if isinstance(found, NotEstimated):
        return found
    value, low, high = (2 * one / (1 + one) for one in (found.value, found.low, found.high))
    return Estimate(found.name, value, low, high, found.n, found.method, found.alpha)
