"""The reference's own windows, judged as later ones are: what run lengths take a usual stream to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.calibration import MINIMUM_CYCLES, MINIMUM_WINDOWS
from detectors.compare import compare_sketches
from detectors.results import Comparison
from detectors.sketch import Sketch, merge, without
from detectors.variation import WEEK_HOURS
from monitor.jobs.baseline import Observations, fit_observations, fold_observations

MOST_WINDOWS = 8 * WEEK_HOURS  # of the latest ones; about 0.05 s each


@dataclass(frozen=True, slots=True)
class ReferenceStream:
    """p-values of a reference's windows in order, None where one had too few texts; none at all for a reason.

    Window number w since 1970 spans hours [w, w + 1) * window_hours, UTC; the first has number `first`. texts is the
    median of a judged window's.
    """

    window_hours: int
    first: int
    texts: float
    p_values: tuple[float | None, ...]
    reason: str = ""

    def as_summary(self) -> dict[str, Any]:
        """Return what a baseline's summary keeps."""
        return {
            "window_hours": self.window_hours,
            "first": self.first,
            "texts": self.texts,
            "p_values": list(self.p_values),
            "reason": self.reason,
        }

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any] | None) -> "ReferenceStream | None":
        """Read a baseline's summary; None where the baseline was not asked for its windows."""
        return None if summary is None else cls(**{**summary, "p_values": tuple(summary["p_values"])})


def season_windows(window_hours: int) -> int:
    """Return after how many windows the hours of the week come again: 7 days, 168 hours, 1 week.

    >>> [season_windows(hours) for hours in (24, 1, 168, 36)]
    [7, 168, 1, 14]
    """
    return WEEK_HOURS // gcd(WEEK_HOURS, window_hours)


def windows_needed(window_hours: int) -> int:
    """Return how many windows a reference must span before run lengths can be read off it."""
    return max(MINIMUM_WINDOWS, MINIMUM_CYCLES * season_windows(window_hours))


def reference_stream(
    observed: Observations,
    *,
    window_hours: int,
    alpha: float,
    permutations: int,
    minimum: int,
    rng: np.random.Generator,
) -> ReferenceStream:
    """Judge every window of the reference, with all its texts, against the other weeks of its half of the weeks.

    Weeks (a season of windows) fall alternately into two halves. A basis is fitted on either half, and each window of
    the other half is judged against the rest of that half: as a later window is judged by a basis and against texts
    that hold nothing of its days. At most the latest 1,344 windows are judged, those below `minimum` texts not.
    Raises detectors.errors.DetectorInputError for constant vectors.
    """

    def nothing(reason: str) -> ReferenceStream:
        return ReferenceStream(window_hours, 0, 0.0, (), reason)

    if observed.hours is None or not len(observed):
        return nothing("the reference has no timestamps")
    numbers = observed.hours // window_hours
    spanned, needed = int(np.ptp(numbers)) + 1, windows_needed(window_hours)
    if spanned < needed:
        return nothing(f"the reference spans {spanned} windows of {window_hours} h, {needed} are needed")
    first = int(numbers.max()) + 1 - min(spanned, MOST_WINDOWS)
    p_values, sizes = _judged(
        observed,
        numbers,
        first=first,
        season=season_windows(window_hours),
        minimum=minimum,
        alpha=alpha,
        permutations=permutations,
        rng=rng,
    )
    known = sum(p is not None for p in p_values)
    if known < MINIMUM_WINDOWS:
        return nothing(f"{known} windows of the reference hold {minimum} texts or more, {MINIMUM_WINDOWS} are needed")
    return ReferenceStream(window_hours, first, float(np.median(sizes)), p_values)


def _judged(
    observed: Observations,
    numbers: npt.NDArray[np.int64],
    *,
    first: int,
    season: int,
    minimum: int,
    alpha: float,
    permutations: int,
    rng: np.random.Generator,
) -> tuple[tuple[float | None, ...], list[int]]:
    """Return the p-value of every window from number `first`, and the texts of those that have one."""
    found: list[float | None] = [None] * (int(numbers.max()) + 1 - first)
    sizes: list[int] = []
    odd = numbers // season % 2 == 1
    for half in (odd, ~odd):
        if np.count_nonzero(half) < 2 * minimum or np.count_nonzero(~half) < 2 * minimum:
            continue
        parts = _sketches(observed, numbers, half, rng=rng)
        whole = merge(list(parts.values()))
        for number, part in parts.items():
            if part.n < minimum or number < first:
                continue
            compared = compare_sketches(
                without(whole, part), part, alpha=alpha, permutations=permutations, minimum=minimum, rng=rng
            )
            if isinstance(compared, Comparison):
                found[number - first] = compared.verdict.p_value
                sizes.append(part.n)
    return tuple(found), sizes


def _sketches(
    observed: Observations, numbers: npt.NDArray[np.int64], half: npt.NDArray[np.bool_], *, rng: np.random.Generator
) -> dict[int, Sketch]:
    """Return a sketch of every window of one half by its number, under a basis fitted on the other half."""
    basis = fit_observations(observed, np.flatnonzero(~half), rng=rng)
    row_ids, own = np.arange(len(observed), dtype=np.int64), np.flatnonzero(half)
    order = own[np.argsort(numbers[own], kind="stable")]
    distinct, begins = np.unique(numbers[order], return_index=True)
    return {
        int(number): fold_observations(basis, observed, row_ids=row_ids, chosen=np.sort(chosen))
        for number, chosen in zip(distinct, np.split(order, begins[1:]), strict=True)
    }
