"""Means at a single look or at every look, by what was asked."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.estimates import Estimate, NotEstimated
from detectors.weighted import Measure, hajek_mean, mean_estimate, mean_sequence, ratio_estimate
from monitor.quality.examples import Asked

NO_SEQUENCE = "no interval is known that holds at every look; ask for a single look"
ONE_LOOK = ", at one look: the mean changed along the labels"
UNEQUAL = "rows of unequal inclusion probability need a declared least one for an interval at every look"


def mean_measure(name: str, values: npt.NDArray[np.float64], chances: npt.NDArray[np.float64], asked: Asked) -> Measure:
    """Return the mean of values (n,) in [0, 1], in the order in which they became known."""
    if asked.looks == "single" or not values.size:
        return mean_estimate(name, values, inclusion_probability=chances, alpha=asked.alpha)
    least = asked.least_inclusion_probability
    weighed: dict[str, Any] = {}
    if not alike(chances):
        if least is None or least > chances.min():
            return NotEstimated(name, UNEQUAL, int(values.size))
        weighed = {"inclusion_probability": chances, "least_inclusion_probability": least}
    found = mean_sequence(name, values, alpha=asked.alpha, **weighed)
    return found if holds(found, hajek_mean(values, chances)) else at_one_look(name, values, chances, asked.alpha)


def holds(found: Measure, value: float) -> bool:
    """Whether a sequence still holds the mean of all rows: it does not where the mean changed along them."""
    return isinstance(found, Estimate) and abs(found.value - value) < 1e-9


def at_one_look(name: str, values: npt.NDArray[np.float64], chances: npt.NDArray[np.float64], alpha: float) -> Measure:
    """Return the mean with a single look's interval, saying that no sequence holds: labels came in an order."""
    found = mean_estimate(name, values, inclusion_probability=chances, alpha=alpha)
    return replace(found, method=f"{found.method}{ONE_LOOK}") if isinstance(found, Estimate) else found


def ratio_measure(
    name: str,
    parts: npt.NDArray[np.float64],
    wholes: npt.NDArray[np.float64],
    chances: npt.NDArray[np.float64],
    asked: Asked,
) -> Measure:
    """Return the ratio of totals of parts and wholes (n,), which is known at a single look alone."""
    if asked.looks == "every":
        return NotEstimated(name, NO_SEQUENCE, int((wholes > 0).sum()))
    return ratio_estimate(name, parts, wholes, inclusion_probability=chances, alpha=asked.alpha)


def alike(chances: npt.NDArray[np.float64]) -> bool:
    """Return whether every row was drawn with the same probability."""
    return bool(chances.size == 0 or np.ptp(chances) <= 1e-9)
