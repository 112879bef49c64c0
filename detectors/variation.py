"""Natural variation: what the reference's own hours and weekdays do, so that the usual Monday is not drift."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from detectors.checks import FloatArray, IntArray, matrix, p_values, probability, vector
from detectors.errors import DetectorInputError
from detectors.permutation import p_value
from detectors.results import TooLittleData

WEEK_HOURS = 168
DAY_HOURS = 24
MINIMUM_WEEKS = 4
SHARE_FLOOR = 1e-3  # a cell the reference hardly ever saw is worth a thousandth


class Practical(StrEnum):
    """Whether a difference is there and whether it is large enough to wake someone."""

    LARGE = "significant and large enough"
    SMALL = "significant but small"
    NOT_SIGNIFICANT = "not significant"


def practical_difference(*, p_value: float, alpha: float, effect: float, floor: float) -> Practical:
    """Return what a p-value and an effect (same unit as its floor, larger is worse) mean together.

    >>> practical_difference(p_value=0.001, alpha=0.01, effect=0.02, floor=0.05).value
    'significant but small'
    """
    p = float(p_values("p_value", [p_value])[0])
    if not (np.isfinite(effect) and np.isfinite(floor) and floor >= 0):
        raise DetectorInputError(f"effect must be finite and floor finite and not negative, got {effect} and {floor}")
    if p > probability("alpha", alpha):
        return Practical.NOT_SIGNIFICANT
    return Practical.LARGE if effect >= floor else Practical.SMALL


@dataclass(frozen=True, slots=True)
class HourlyTotals:
    """Counts of cells (H, k) in H distinct UTC hours since 1970 (H,), and the number of texts (H,) in each."""

    hours: IntArray
    n: FloatArray
    totals: FloatArray


@dataclass(frozen=True, slots=True)
class VariationTest:
    """A window against the reference's same hours of the week, with how finely p can be told apart at all."""

    statistic: float
    p_value: float
    finest_p_value: float
    reference_blocks: int


def share_distance(expected: FloatArray, observed: FloatArray) -> FloatArray:
    """Return the chi-square distance of shares (..., k), in [0, inf). Source: Pearson 1900.

    >>> float(share_distance(np.array([0.5, 0.5]), np.array([0.6, 0.4])).round(6))
    0.04
    """
    return np.asarray(np.sum((observed - expected) ** 2 / np.maximum(expected, SHARE_FLOOR), axis=-1))


def natural_variation_test(
    reference: HourlyTotals,
    current: HourlyTotals,
    *,
    rng: np.random.Generator,
    draws: int = 1999,
    block_hours: int = DAY_HOURS,
) -> VariationTest | TooLittleData:
    """Test a window of hours against the same hours of the week of the reference.

    What is expected is the reference's mean at the window's own hours of the week, weighted by the window's texts.
    How far a usual window strays is drawn in whole blocks of the reference (days, or a divisor of 24 hours): each
    block's departure from the same hours of the *other* weeks, its own dependence within kept. Blocks of all weekdays
    are pooled, so 13 weeks give 91 departures to draw a day from. A block of more texts than the window's strays less
    by chance alone, so its departure is widened by the root of the ratio.
    p = (1 + #{T* >= T})/(draws + 1), and never below 1/(1 + the number of windows that could be drawn).
    Source: Künsch 1989 (blocks); Politis & Romano 1994; docs/math/calibration.md.
    """
    before, now = _checked("reference", reference), _checked("current", current)
    if before.totals.shape[1] != now.totals.shape[1]:
        raise DetectorInputError(f"totals differ in width: {before.totals.shape[1]} and {now.totals.shape[1]}")
    if block_hours < 1 or DAY_HOURS % block_hours or draws < 1:
        raise DetectorInputError(f"block_hours divides 24 and draws >= 1, got {block_hours} and {draws}")
    weeks = _weeks_behind(before, now)
    if weeks < MINIMUM_WEEKS:
        return TooLittleData("reference weeks at the window's hours", got=weeks, needed=MINIMUM_WEEKS)
    slots = now.hours % WEEK_HOURS
    texts, totals = _slot_totals(before)
    expected = (now.n[:, None] * totals[slots] / texts[slots][:, None]).sum(axis=0) / now.n.sum()
    observed = now.totals.sum(axis=0) / now.n.sum()
    departures, possible, blocks = _drawn_departures(before, now, block_hours=block_hours, draws=draws, rng=rng)
    if not blocks:
        return TooLittleData("reference blocks of the window's hours", got=0, needed=MINIMUM_WEEKS)
    null = share_distance(expected, expected + departures)
    reached = float(share_distance(expected, observed))
    finest = 1 / (1 + min(possible, float(draws)))
    return VariationTest(reached, max(p_value(reached, null), finest), finest, blocks)


def _checked(name: str, given: HourlyTotals) -> HourlyTotals:
    totals, n = matrix(f"{name} totals", given.totals), vector(f"{name} n", given.n, low=0.0)
    hours = np.asarray(given.hours)
    if hours.dtype.kind not in "iu" or hours.shape != (totals.shape[0],) or n.shape != hours.shape:
        raise DetectorInputError(
            f"{name} needs one integer hour and one n a row, got {hours.dtype} {hours.shape}, {n.shape}, {totals.shape}"
        )
    if np.unique(hours).size != hours.size:
        raise DetectorInputError(f"{name} hours must be distinct, got {hours.size - np.unique(hours).size} repeated")
    held = n > 0
    if not held.any():
        raise DetectorInputError(f"{name} holds no text in {hours.size} hours")
    return HourlyTotals(hours[held].astype(np.int64), n[held], totals[held])


def _weeks_behind(before: HourlyTotals, now: HourlyTotals) -> int:
    """Return in how many weeks the reference saw the window's least seen hour of the week."""
    seen = np.bincount(before.hours % WEEK_HOURS, minlength=WEEK_HOURS)
    return int(seen[now.hours % WEEK_HOURS].min())


def _slot_totals(before: HourlyTotals) -> tuple[FloatArray, FloatArray]:
    """Return texts (168,) and totals (168, k) of the reference by hour of the week."""
    slots = before.hours % WEEK_HOURS
    totals = np.zeros((WEEK_HOURS, before.totals.shape[1]))
    np.add.at(totals, slots, before.totals)
    texts = np.bincount(slots, weights=before.n, minlength=WEEK_HOURS).astype(np.float64)
    return texts, totals


def _departures(before: HourlyTotals) -> FloatArray:
    """Return each hour's totals less what the same hour of the other weeks would give for as many texts, (H, k)."""
    texts, totals = _slot_totals(before)
    slots = before.hours % WEEK_HOURS
    others = np.maximum(texts[slots] - before.n, 1e-9)[:, None]
    departures = before.totals - before.n[:, None] * (totals[slots] - before.totals) / others
    departures[texts[slots] <= before.n] = 0.0  # an hour seen once has no other week to depart from
    return np.asarray(departures)


def _drawn_departures(
    before: HourlyTotals, now: HourlyTotals, *, block_hours: int, draws: int, rng: np.random.Generator
) -> tuple[FloatArray, float, int]:
    """Return departures of the window's mean (draws, k), how many windows could be drawn, and the least choice."""
    departures = _departures(before)
    texts, _ = _slot_totals(before)
    usable = texts[before.hours % WEEK_HOURS] > before.n
    drawn = np.zeros((draws, before.totals.shape[1]))
    possible, least = 1.0, before.hours.size
    for block in np.unique(now.hours // block_hours):
        inside = now.hours // block_hours == block
        weight = now.n[inside].sum()
        places = now.hours[inside] % DAY_HOURS
        matching = np.isin(before.hours % DAY_HOURS, places) & usable
        found, index, hours = np.unique(before.hours[matching] // DAY_HOURS, return_inverse=True, return_counts=True)
        sums = np.zeros((found.size, drawn.shape[1]))
        np.add.at(sums, index, departures[matching])
        held = np.bincount(index, weights=before.n[matching], minlength=found.size)
        whole = hours == places.size
        count = int(np.count_nonzero(whole))
        if not count:
            return drawn, 0.0, 0
        widened = np.sqrt(np.maximum(1.0, held[whole] / weight))
        strayed = sums[whole] / held[whole, None] * widened[:, None]
        drawn += strayed[rng.integers(0, count, size=draws)] * weight / now.n.sum()
        possible, least = min(possible * count, 1e18), min(least, count)
    return drawn, possible, least
