"""A usual Monday of a baseline's weeks, a new mix, and a reference that cannot tell."""

from dataclasses import replace

import numpy as np
import pytest

from detectors.harm import grade_by_labels
from detectors.results import DetectorResult, Verdict
from detectors.variation import HourlyTotals
from monitor.jobs.drift import Judgement
from monitor.jobs.variation import UsualVariation, cells_moved, hourly_counts, hourly_summary, usual_variation

CELLS, WEEKS = 6, 8
RNG = np.random.default_rng(2)
WEEKDAYS = RNG.dirichlet(np.full(CELLS, 2.0), size=7)


def texts_of(
    hours: np.ndarray, *, an_hour: int, seed: int, weekday: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    repeated = np.repeat(hours, an_hour)
    days = repeated // 24 % 7 if weekday is None else np.full(repeated.size, weekday)
    cells = np.array([rng.choice(CELLS, p=WEEKDAYS[day]) for day in days])
    return repeated, cells


def summary(*, an_hour: int = 10, weeks: int = WEEKS):
    return hourly_summary(*texts_of(np.arange(weeks * 168), an_hour=an_hour, seed=3), size=CELLS)


def day(*, an_hour: int, seed: int = 4, weekday: int | None = None) -> HourlyTotals:
    hours, cells = texts_of(np.arange(24) + 48 + 20 * 168, an_hour=an_hour, seed=seed, weekday=weekday)
    return hourly_counts(hours, np.eye(CELLS, dtype=int)[cells])


def test_a_usual_day_is_usual_and_another_weekdays_mix_is_not() -> None:
    known = summary()
    usual = usual_variation(known, day(an_hour=10), rng=np.random.default_rng(0))
    other = usual_variation(known, day(an_hour=10, weekday=5), rng=np.random.default_rng(0))
    assert usual is not None
    assert other is not None
    assert (usual.usual, other.usual) == (True, False)
    assert usual.reference_blocks == WEEKS * 7


def test_a_reference_that_cannot_tell_the_usual_is_not_asked() -> None:
    rng = np.random.default_rng(0)
    assert usual_variation(None, day(an_hour=10), rng=rng) is None
    assert usual_variation(summary(an_hour=2), day(an_hour=10), rng=rng) is None  # strays by chance alone
    assert summary(weeks=3) is None
    assert hourly_summary(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), size=CELLS) is None


def test_a_reference_with_too_few_whole_days_is_not_asked() -> None:
    hours, cells = texts_of(np.arange(4 * 168), an_hour=10, seed=3)
    kept = (hours // 24 % 7 < 2) | (hours % 24 != 5)  # of all weekdays but two the hour from 5 to 6 is missing
    known = hourly_summary(hours[kept], cells[kept], size=CELLS)
    begins = np.arange(24) + 20 * 168
    found = hourly_counts(begins, np.full((24, CELLS), 1))
    assert usual_variation(known, found, rng=np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("cells_p", "novel", "asked"), [(0.001, False, True), (0.001, True, False), (0.4, False, False)]
)
def test_only_a_moved_mix_without_anything_new_is_asked(cells_p: float, novel: bool, asked: bool) -> None:
    found = [
        DetectorResult("kl_cells", 0.1, "nats", cells_p, 0.05, cells_p < 0.01),
        DetectorResult("novelty", 0.1, "score", 0.001 if novel else 0.5, 0.05, novel),
    ]
    assert cells_moved(found) is asked


def test_hours_add_up_whatever_their_order() -> None:
    found = hourly_counts([7, 5, 7], np.array([[1, 0], [2, 2], [0, 3]]))
    assert (found.hours.tolist(), found.n.tolist(), found.totals.tolist()) == ([5, 7], [4.0, 4.0], [[2, 2], [1, 3]])


def test_a_usual_drift_that_costs_accuracy_wakes_someone() -> None:
    drifted = Judgement("ok", 100, 100, (), Verdict(drift=True, p_value=0.001, alpha=0.01), (), ())
    usual = replace(drifted, usual_variation=UsualVariation(0.4, 0.01, 90))
    harm = grade_by_labels([1.0] * 300, baseline_errors=10, baseline_n=300, tolerance=0.02)
    assert [one.actionable for one in (drifted, usual, replace(usual, harm=harm))] == [True, False, True]
