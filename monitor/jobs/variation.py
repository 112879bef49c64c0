"""The usual Monday: whether a drifted window strays no further than the reference's own hours and weekdays do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.results import DetectorResult, TooLittleData
from detectors.variation import MINIMUM_WEEKS, WEEK_HOURS, HourlyTotals, natural_variation_test

USUAL = 0.05  # a drifted window above it is within what the reference's own hours do
FEWEST = 0.5  # reference texts a week for each of the window's: with fewer, chance alone would excuse real drift


@dataclass(frozen=True, slots=True)
class UsualVariation:
    """How usual a window is for its hours of the week: p, how finely p can be told, and from how many blocks."""

    p_value: float
    finest_p_value: float
    reference_blocks: int

    @property
    def usual(self) -> bool:
        """Whether the window strays no further than the reference's own hours do."""
        return self.p_value > USUAL


def hourly_counts(hours: Sequence[int] | npt.NDArray[np.int64], counts: npt.NDArray[np.integer]) -> HourlyTotals:
    """Add up the cell counts (n, k) of texts or sketches of the same hour (n,)."""
    distinct, places = np.unique(np.asarray(hours, dtype=np.int64), return_inverse=True)
    totals = np.zeros((distinct.size, counts.shape[1]))
    np.add.at(totals, places, counts)
    return HourlyTotals(distinct, totals.sum(axis=1), totals)


def hourly_summary(hours: npt.NDArray[np.int64], cells: npt.NDArray[np.int64], *, size: int) -> dict[str, Any] | None:
    """Return what a baseline's summary keeps of texts' hours (n,) and cells (n,); None below four weeks."""
    if not hours.size or int(np.ptp(hours)) + 1 < MINIMUM_WEEKS * WEEK_HOURS:
        return None
    distinct, places = np.unique(hours, return_inverse=True)
    counts = np.zeros((distinct.size, size), dtype=np.int64)
    np.add.at(counts, (places, cells), 1)
    return {"hours": distinct.tolist(), "counts": counts.tolist()}


def cells_moved(detectors: Sequence[DetectorResult]) -> bool:
    """Whether the mix of cells moved and nothing is new: only then can the usual mix of an hour explain a drift."""
    novel = any(one.name == "novelty" and one.drift for one in detectors)
    return not novel and any(one.name == "kl_cells" and one.p_value <= USUAL for one in detectors)


def usual_variation(
    summary: Mapping[str, Any] | None, current: HourlyTotals, *, rng: np.random.Generator
) -> UsualVariation | None:
    """Test a window's hourly cell counts against a baseline's; None where the baseline has too little to tell.

    A sparse reference strays far by chance alone: one with fewer than half the window's texts in such hours of a week
    is not asked, nor one with too few blocks to tell a window from the usual at all.
    """
    if summary is None or not current.n.any():
        return None
    reference = hourly_counts(summary["hours"], np.array(summary["counts"]))
    weeks = (int(np.ptp(reference.hours)) + 1) / WEEK_HOURS
    alike = np.isin(reference.hours % WEEK_HOURS, current.hours % WEEK_HOURS)
    windows = max(1.0, (int(np.ptp(current.hours)) + 1) / WEEK_HOURS)  # of more than a week hold each hour so often
    if reference.n[alike].sum() / weeks < FEWEST * current.n.sum() / windows:
        return None
    found = natural_variation_test(reference, current, rng=rng)
    if isinstance(found, TooLittleData) or found.finest_p_value > USUAL:
        return None
    return UsualVariation(found.p_value, found.finest_p_value, found.reference_blocks)
