"""Second opinions on a window: other tests of the sampled rows, told beside the verdict and never part of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.classifier import ClassifierResult, classifier
from detectors.errors import DetectorInputError
from detectors.mmd import MmdResult, mmd
from detectors.neighbours import knn_kl, knn_kl_test
from detectors.permutation import enough_permutations
from detectors.results import DetectorResult, TooLittleData
from detectors.sketch import Sketch
from monitor.policy import OpinionName

PERMUTATIONS = 999

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """One test's answer at the verdict's alpha, by itself.

    effect : of mmd the correlation ratio of side and position, 0 to 1; of classifier its area under the ROC curve, the
    share of pairs of a reference and a current text that it orders right; of knn_kl the divergence in nats, None where
    there are too few rows to estimate it.
    """

    name: OpinionName
    statistic: float
    unit: str
    p_value: float
    drift: bool
    effect: float | None


def second_opinions(
    reference: Sketch, current: Sketch, *, names: Sequence[OpinionName], alpha: float, rng: np.random.Generator
) -> tuple[SecondOpinion, ...]:
    """Ask the tests named, in their order, on the sketches' sampled rows; those that have too few rows say nothing.

    At least 999 permutations are drawn, and never too few to reach alpha: at 2,048 rows a side 0.4 s for mmd and for
    classifier and 0.7 s for knn_kl, on one thread.
    """
    drawn = enough_permutations(PERMUTATIONS, alpha=alpha)
    found = (
        _ASKED[name](reference.rows, current.rows, alpha=alpha, permutations=drawn, rng=rng)
        for name in dict.fromkeys(names)
    )
    return tuple(one for one in found if one is not None)


def _mmd(before: Rows, now: Rows, *, alpha: float, permutations: int, rng: np.random.Generator) -> SecondOpinion | None:
    found = mmd(before, now, rng=rng, permutations=permutations)
    return None if isinstance(found, TooLittleData) else _told("mmd", found, alpha=alpha, effect=found.effect_size)


def _classifier(
    before: Rows, now: Rows, *, alpha: float, permutations: int, rng: np.random.Generator
) -> SecondOpinion | None:
    found = classifier(before, now, rng=rng, permutations=permutations)
    return None if isinstance(found, TooLittleData) else _told("classifier", found, alpha=alpha, effect=found.statistic)


def _knn_kl(
    before: Rows, now: Rows, *, alpha: float, permutations: int, rng: np.random.Generator
) -> SecondOpinion | None:
    found = knn_kl_test(before, now, alpha=alpha, permutations=permutations, rng=rng)
    if isinstance(found, TooLittleData):
        return None
    try:
        nats: float | None = knn_kl(before, now, rng=rng)
    except DetectorInputError:  # too few rows for its dimension: the test still holds
        nats = None
    return _told("knn_kl", found, alpha=alpha, effect=nats)


def _told(
    name: OpinionName, found: MmdResult | ClassifierResult | DetectorResult, *, alpha: float, effect: float | None
) -> SecondOpinion:
    return SecondOpinion(name, found.statistic, found.unit, found.p_value, found.p_value <= alpha, effect)


_ASKED: dict[OpinionName, Callable[..., SecondOpinion | None]] = {
    "mmd": _mmd,
    "classifier": _classifier,
    "knn_kl": _knn_kl,
}
