"""Burn arithmetic: from counters to error ratios, burn rates and the budget left, as Prometheus computes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Sample = tuple[float, float]  # (time in seconds, counter value)


def increase(samples: Sequence[Sample], *, start: float, end: float) -> float | None:
    """Return a counter's increase over [start, end] with resets and extrapolation, None from fewer than two samples.

    samples : (time, value) in order of time; those outside the window do not count. Equal to `increase()` of Prometheus
    2.x: a rise is stretched to the window's ends where samples come that near (1.1 of their mean distance; else half
    that distance), never to before the counter would have been 0. Source: Prometheus, promql/functions.go,
    extrapolatedRate.

    >>> increase([(0.0, 0.0), (60.0, 6.0), (120.0, 12.0)], start=0.0, end=120.0)
    12.0
    """
    held = [one for one in samples if start <= one[0] <= end]
    if len(held) < 2:
        return None
    (first_time, first), (last_time, last) = held[0], held[-1]
    rise, before = last - first, first
    for _, value in held:
        if value < before:
            rise += before
        before = value
    sampled = last_time - first_time
    apart = sampled / (len(held) - 1)
    to_start = first_time - start
    if rise > 0 and first >= 0:
        to_start = min(to_start, sampled * first / rise)
    ends = sum(gap if gap < 1.1 * apart else apart / 2 for gap in (to_start, end - last_time))
    return rise * (sampled + ends) / sampled


@dataclass(frozen=True, slots=True)
class Burn:
    """How a window spent its error budget; ratios are None where the window had no events."""

    bad: float
    total: float
    error_budget: float

    @property
    def error_ratio(self) -> float | None:
        """Bad events over all events, in [0, 1]."""
        return min(self.bad / self.total, 1.0) if self.total > 0 else None

    @property
    def burn_rate(self) -> float | None:
        """Times faster than evenly: 1 spends exactly the budget by the end of the period."""
        ratio = self.error_ratio
        return None if ratio is None else ratio / self.error_budget

    @property
    def budget_remaining(self) -> float | None:
        """Share of the period's budget that is left, negative when it is overspent."""
        rate = self.burn_rate
        return None if rate is None else 1.0 - rate


def lower_bound(bad: float, total: float, *, z: float) -> float:
    """Return a lower confidence bound of the error ratio: Poisson's for the count of bad events, by Wilson & Hilferty.

    z : standard normal quantile of the confidence, 2.326 for 99 %. 0 where there is no evidence: one failure alone
    never looks like a burning service. From 95 % on the cube stays below the exact bound, within 3 % of it from five
    events on.
    Sources: Wilson & Hilferty 1931; Breslow & Day 1987, section 2.3 (Byar's approximation).

    >>> round(lower_bound(1, 10, z=2.326), 5), round(lower_bound(900, 1000, z=2.326), 3)
    (0.00015, 0.832)
    """
    if bad <= 0 or total <= 0:
        return 0.0
    root = 1 - 1 / (9 * bad) - z / (3 * math.sqrt(bad))
    return max(bad * root**3 / total, 0.0)


def seconds_to_fire(error_ratio: float, *, error_budget: float, factor: float, long_seconds: float) -> float | None:
    """Return how long errors at this ratio last until a window that was clean crosses its factor; None: they never do.

    >>> seconds_to_fire(1.0, error_budget=0.001, factor=14.4, long_seconds=3600)
    51.84
    """
    threshold = factor * error_budget
    return round(threshold / error_ratio * long_seconds, 9) if error_ratio > threshold else None
