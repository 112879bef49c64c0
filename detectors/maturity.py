"""How much of a cohort is labelled so far, and what weights undo a lag that depends on class or on right and wrong.

Labels that come late are missing now, and where wrong answers are labelled later than right ones (or one class later
than another), the accuracy of what is labelled so far is too high. A row whose kind of label has arrived by age a with
probability F(a) stands for 1/F(a) rows, just as one drawn with that probability does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.checks import FloatArray, vector
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated

MINIMUM_MATURED = 50  # labels of a stratum whose rows are older than the horizon
LEAST_ARRIVED = 0.1  # a row then stands for at most ten; less is a guess from too few


def label_maturity(*, labelled: int, asked: int) -> Estimate | NotEstimated:
    """Return the share of a cohort's rows that were to be labelled and are so by now: a count, without chance.

    >>> label_maturity(labelled=30, asked=40).value
    0.75
    """
    if not 0 <= labelled <= asked:
        raise DetectorInputError(f"labelled lies in [0, asked], got {labelled} of {asked}")
    if not asked:
        return NotEstimated("label_maturity", "no row of this cohort is to be labelled", 0, 1)
    share = labelled / asked
    return Estimate("label_maturity", share, share, share, asked, "count")


@dataclass(frozen=True, slots=True)
class DelayDistribution:
    """P(delay <= age) as a step function: arrived[i] from delays[i] on, 0 before delays[0]; it ends at 1.

    n counts the labels it rests on, horizon is the age by which a label that comes has come.
    """

    delays: FloatArray
    arrived: FloatArray
    n: int
    horizon: float

    def at(self, ages: npt.ArrayLike) -> FloatArray:
        """Return P(delay <= age) of ages (m,)."""
        place = np.searchsorted(self.delays, np.asarray(ages, dtype=np.float64), side="right")
        return np.concatenate([[0.0], self.arrived])[place]


def delay_distribution(
    delays: npt.ArrayLike, ages: npt.ArrayLike, *, horizon: float
) -> DelayDistribution | NotEstimated:
    """Return the distribution of the delays of one stratum's labels, from labelled rows alone, young and old.

    delays (n,) are times from prediction to label, ages (n,) times from prediction to now, in one unit; a label is
    here only because delay <= age (right truncation), so the raw delays of young rows are too short. With d labels at
    delay s and R those with delay <= s <= age, P(delay <= t) is the product over s > t of 1 - d/R. A label that needs
    longer than horizon counts as never coming. At least 50 labels of rows older than the horizon are needed, or it is
    NotEstimated: the tail would be a guess. Time O(n log n). Source: Lynden-Bell 1971; Lagakos, Barraj
    & De Gruttola 1988.

    >>> young, old = [1.0] * 60 + [3.0] * 60, [1.0] * 50
    >>> found = delay_distribution(young + old, [9.0] * 120 + [2.0] * 50, horizon=5.0)
    >>> found.at([1.0, 3.0]).tolist()
    [0.5, 1.0]
    """
    waited, age = vector("delays", delays, low=0.0), vector("ages", ages, low=0.0)
    if waited.shape != age.shape:
        raise DetectorInputError(f"ages must be one per delay, got {age.size} for {waited.size}")
    if not horizon > 0:
        raise DetectorInputError(f"horizon is more than 0, got {horizon}")
    early = int(np.flatnonzero(waited > age)[0]) if (waited > age).any() else None
    if early is not None:
        raise DetectorInputError(f"a delay cannot exceed its row's age, got {waited[early]} > {age[early]} at {early}")
    within = waited <= horizon
    waited, age = waited[within], age[within]
    matured = int(np.count_nonzero(age >= horizon))
    if matured < MINIMUM_MATURED:
        return NotEstimated("label_delay", "too few labels of matured rows", matured, MINIMUM_MATURED)
    steps, here = np.unique(waited, return_counts=True)
    at_risk = np.searchsorted(np.sort(waited), steps, side="right") - np.searchsorted(np.sort(age), steps, side="left")
    later = np.cumprod((1 - here / at_risk)[:0:-1])[::-1]
    return DelayDistribution(steps, np.append(later, 1.0), waited.size, horizon)


def delay_distributions(
    delays: npt.ArrayLike, ages: npt.ArrayLike, strata: npt.ArrayLike, *, horizon: float
) -> dict[str, DelayDistribution | NotEstimated]:
    """Return `delay_distribution` for each stratum named by strata (n,), of labelled rows."""
    waited, age, kinds = np.asarray(delays), np.asarray(ages), np.asarray(strata).astype(str)
    if not waited.shape == age.shape == kinds.shape:
        raise DetectorInputError(
            f"delays, ages and strata must be equal in length, got {waited.shape}, {age.shape} and {kinds.shape}"
        )
    return {
        str(kind): delay_distribution(waited[kinds == kind], age[kinds == kind], horizon=horizon)
        for kind in np.unique(kinds)
    }


def arrival_probability(
    strata: npt.ArrayLike,
    ages: npt.ArrayLike,
    distributions: Mapping[str, DelayDistribution | NotEstimated],
    *,
    cohort_youngest: float,
) -> FloatArray | NotEstimated:
    """Return the chance (n,) that each labelled row's label had come by now: to multiply into inclusion probabilities.

    strata (n,) name each labelled row's kind, which may rest on its label (the truth, right or wrong); ages (n,) are
    the rows' own. cohort_youngest is the least age among *all* the cohort's rows, labelled or not: where of any
    stratum less than a tenth has arrived by then, or a stratum has no distribution, nothing can stand for what is
    missing, and the answer is NotEstimated. Assumes that of every stratum the same share is labelled in the end, and
    that delays are now as they were.
    """
    kinds, age = np.asarray(strata).astype(str), vector("ages", ages, low=0.0)
    if kinds.shape != age.shape:
        raise DetectorInputError(f"strata must be one per age, got {kinds.shape} for {age.shape}")
    name = "label_delay"
    for kind in sorted({*kinds.tolist(), *distributions}):
        found = distributions.get(kind)
        if found is None:
            return NotEstimated(name, f"stratum {kind!r} has no matured history", 0, MINIMUM_MATURED)
        if isinstance(found, NotEstimated):
            return NotEstimated(name, f"stratum {kind!r}: {found.reason}", found.got, found.needed)
        arrived = float(found.at([cohort_youngest])[0])
        if arrived < LEAST_ARRIVED:
            reason = f"stratum {kind!r}: {arrived:.0%} of labels come by the cohort's least age, {cohort_youngest:g}"
            return NotEstimated(name, reason, int(np.count_nonzero(kinds == kind)))
    chances = np.ones(age.size)
    for kind, found in distributions.items():
        if isinstance(found, DelayDistribution):
            chances[kinds == kind] = found.at(age[kinds == kind])
    return chances
