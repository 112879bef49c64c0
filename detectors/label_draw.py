"""Which texts to have labelled: several draws of unequal chances, and the chance of each text over all of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.checks import FloatArray
from detectors.errors import DetectorInputError


@dataclass(frozen=True, slots=True)
class LabelDraw:
    """Which texts each part of the design drew, (n,) of bool by name, and every text's chance of being drawn, (n,)."""

    drawn: Mapping[str, npt.NDArray[np.bool_]]
    probability: FloatArray


def draw_for_labelling(sizes: Mapping[str, FloatArray], *, n: Mapping[str, int], rng: np.random.Generator) -> LabelDraw:
    """Draw n[k] texts in proportion to sizes[k], (texts,) >= 0, independently for every part k of the design.

    A text that several parts draw is drawn once, so its chance is pi = 1 - prod(1 - pi_k), and the union holds at most
    sum(n) texts. A part whose sizes are all 0 draws nothing. Within a part the number drawn is fixed: systematic
    sampling in random order has exactly the chances asked for (Madow 1949; Hartley & Rao 1962).
    Raises DetectorInputError for sizes that are negative or not finite.
    """
    drawn, missed = {}, np.ones(next(iter(sizes.values())).shape)
    for name, size in sizes.items():
        if not np.isfinite(size).all() or (size < 0).any():
            raise DetectorInputError(f"sizes of {name} must be finite and at least 0")
        chances = inclusion_probabilities(size, n=n[name])
        drawn[name] = _systematic(chances, rng=rng)
        missed = missed * (1 - chances)
    return LabelDraw(drawn, 1 - missed)


def inclusion_probabilities(size: FloatArray, *, n: int) -> FloatArray:
    """Return chances in proportion to size that sum to n, none over 1; fewer where fewer sizes are above 0.

    >>> inclusion_probabilities(np.array([8.0, 1.0, 1.0, 0.0]), n=2).tolist()
    [1.0, 0.5, 0.5, 0.0]
    """
    chances = np.zeros(size.shape)
    certain = np.zeros(size.shape, dtype=bool)
    while n > certain.sum() and (free := (size > 0) & ~certain).any():
        chances = np.where(certain, 1.0, size * ((n - certain.sum()) / size[free].sum()))
        over = free & (chances >= 1)
        if not over.any():
            return chances
        certain |= over
    return certain.astype(np.float64)


def _systematic(chances: FloatArray, *, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    order = rng.permutation(chances.size)
    reached = np.floor(np.cumsum(chances[order]) + rng.random() + 1e-12)
    drawn = np.zeros(chances.shape, dtype=bool)
    drawn[order] = np.diff(reached, prepend=0.0) > 0
    return drawn
