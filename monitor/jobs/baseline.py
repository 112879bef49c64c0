"""Fit what a model version's later windows are compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import special

from detectors.arrays import Array, taken
from detectors.sketch import Basis, Sketch, fit_basis, fold
from monitor.jobs.variation import hourly_summary

UNKNOWN_CLASS = -1


@dataclass(frozen=True, slots=True)
class Observations:
    """Embedded texts with what the model answered and how it read them.

    vectors : (n, d), numpy, or a torch tensor if they are only folded; texts : n or none; all others one per text, or
    None. Confidences and entropies (of the predicted distribution, nats) are NaN where unknown, as is correct (1 right,
    0 wrong) without a label; token_lengths count the whole text, truncated whether it was cut; unknown_shares are of
    tokens the vocabulary lacks.
    """

    vectors: Array
    texts: Sequence[str]
    labels: Sequence[str | None] | None = None
    confidences: npt.NDArray[np.float64] | None = None
    entropies: npt.NDArray[np.float64] | None = None
    token_lengths: npt.NDArray[np.int64] | None = None
    truncated: npt.NDArray[np.bool_] | None = None
    unknown_shares: npt.NDArray[np.float64] | None = None
    correct: npt.NDArray[np.float64] | None = None
    attributes: Sequence[Mapping[str, str] | None] | None = None
    hours: npt.NDArray[np.int64] | None = None  # since 1970
    pairs: Sequence[str | None] | None = None

    def attributes_of(self, positions: npt.NDArray[np.int64]) -> list[Mapping[str, str] | None]:
        """Return the attributes of these rows; none where no row has any."""
        return [] if self.attributes is None else [self.attributes[int(i)] for i in positions]

    def __len__(self) -> int:
        return int(self.vectors.shape[0])


@dataclass(frozen=True, slots=True)
class Reference:
    """A basis and the held-out reference folded into it; texts stand in the order of `sketch.row_ids`."""

    basis: Basis
    sketch: Sketch
    texts: tuple[str, ...]
    hourly: dict[str, Any] | None = None  # cell counts of all held-out texts by hour, of four weeks or more


def held_out(texts: int) -> int:
    """Return how many of a reference's texts are compared with; the others, a third, fix the basis.

    A third: what a larger basis would see better is less than what the comparison would lose. docs/math/verdict.md
    """
    return texts - texts // 3


def class_indexes(labels: Sequence[str | None], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return each label's index in `classes`; len(classes) is "other", -1 is unknown."""
    positions = {name: position for position, name in enumerate(classes)}
    return np.array(
        [UNKNOWN_CLASS if label is None else positions.get(label, len(classes)) for label in labels], dtype=np.int64
    )


def fold_observations(
    basis: Basis, observed: Observations, *, row_ids: npt.NDArray[np.int64], chosen: npt.NDArray[np.int64]
) -> Sketch:
    """Fold the `chosen` observations into a sketch of `basis`."""
    labels = None if observed.labels is None else [observed.labels[i] for i in chosen]
    return fold(
        basis,
        taken(observed.vectors, chosen),
        row_ids=row_ids[chosen],
        classes=None if labels is None else class_indexes(labels, basis.classes),
        confidences=_chosen(observed.confidences, chosen),
        entropies=_chosen(observed.entropies, chosen),
        token_lengths=_chosen(observed.token_lengths, chosen),
        truncated=_chosen(observed.truncated, chosen),
        unknown_shares=_chosen(observed.unknown_shares, chosen),
    )


def _chosen(values: npt.NDArray[Any] | None, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
    return None if values is None else values[chosen].astype(np.float64)


def entropy_nats(probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the entropy (n,) of predicted distributions (n, C), in nats.

    >>> entropy_nats([[1.0, 0.0], [0.5, 0.5]]).round(6).tolist()
    [0.0, 0.693147]
    """
    return np.asarray(special.entr(np.asarray(probabilities, dtype=np.float64)).sum(axis=-1))


class Labelled(Protocol):
    """What is asked of an encoder here: whether it has a classification head, and what that answers."""

    labels: tuple[str, ...]
    has_head: bool


def known_entropies(scores: Sequence[Mapping[str, float] | None], *, encoder: Labelled) -> npt.NDArray[np.float64]:
    """Return the entropy of each text's scores in nats, (n,); NaN unless they cover the model's own labels.

    A server that sends only its highest scores, the rest lumped together, tells another entropy than the model's: never
    compared.
    """
    own = set(encoder.labels) if encoder.has_head else set()
    return np.array(
        [entropy_nats(list(one.values())) if one and one.keys() == own else np.nan for one in scores],
        dtype=np.float64,
    )


def fit_observations(observed: Observations, chosen: npt.NDArray[np.int64], *, rng: np.random.Generator) -> Basis:
    """Return a basis fitted on the `chosen` observations, with the classes that they name."""
    labels = [] if observed.labels is None else [observed.labels[i] for i in chosen]
    classes = sorted({label for label in labels if label is not None})
    return fit_basis(observed.vectors[chosen], rng=rng, classes=classes)


def build_reference(observed: Observations, *, rng: np.random.Generator) -> Reference:
    """Fit the basis on a random third of the reference and fold the other texts into the reference sketch.

    The parts are disjoint: texts that shaped the cells lie closer to them than new texts can, and a test
    against those would alarm without drift. So too for the classes: were they named by both, the held one
    could not hold "other" and every window with a rare class would. Raises detectors.errors.DetectorInputError for
    too few or constant vectors.
    """
    order = rng.permutation(len(observed)).astype(np.int64)
    kept = held_out(len(observed))
    fitted, held = order[kept:], np.sort(order[:kept])
    basis = fit_observations(observed, fitted, rng=rng)
    row_ids = np.arange(len(observed), dtype=np.int64)
    sketch = fold_observations(basis, observed, row_ids=row_ids, chosen=held)
    texts = tuple(observed.texts[int(i)] for i in sketch.row_ids) if observed.texts else ()
    hourly = None
    if observed.hours is not None:
        cells = basis.cell_of(basis.project(observed.vectors[held]))
        hourly = hourly_summary(observed.hours[held], cells, size=basis.centroids.shape[0])
    return Reference(basis, sketch, texts, hourly)
