"""Means at a single look or at every look, by what was asked."""

from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.confidence import confidence_sequence
from detectors.estimates import Estimate, NotEstimated
from detectors.weighted import Measure, hajek_mean, mean_estimate, ratio_estimate
from monitor.quality.examples import Asked

NO_SEQUENCE = "no interval is known that holds at every look; ask for a single look"
UNEQUAL = "rows of unequal inclusion probability need a declared least one for an interval at every look"
SEQUENCE = "betting sequence"


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
    limits = confidence_sequence(values, alpha=asked.alpha, **weighed).last
    value = hajek_mean(values, chances)
    low, high = min(limits.lower, value), max(limits.upper, value)
    return Estimate(name, value, low, high, int(values.size), SEQUENCE, asked.alpha)


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
