import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chi2_contingency, chisquare

from detectors.errors import DetectorInputError
from detectors.results import TooLittleData
from detectors.variation import (
    HourlyTotals,
    Practical,
    VariationTest,
    _departures,
    natural_variation_test,
    practical_difference,
    share_distance,
)

CELLS, WEEKS = 6, 13


def _traffic(rng: np.random.Generator, hours: np.ndarray, *, season: np.ndarray, shift: float = 0.0) -> HourlyTotals:
    """Texts of an hour of the week's own mix, of a volume that follows the day, with a mood that lasts a day."""
    moods = {day: rng.normal(size=CELLS) * 0.15 for day in np.unique(hours // 24)}
    logits = season[hours % 168] + np.array([moods[hour // 24] for hour in hours])
    logits[:, 0] += shift
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    n = rng.poisson(20 + 10 * np.sin(2 * np.pi * (hours % 24) / 24) + 5)
    totals = np.array([rng.multinomial(size, share) for size, share in zip(n, shares, strict=True)])
    return HourlyTotals(hours, n, totals)


def _season(rng: np.random.Generator) -> np.ndarray:
    weekday = np.repeat(rng.normal(size=(7, CELLS)) * 0.6, 24, axis=0)
    return weekday + np.tile(rng.normal(size=(24, CELLS)) * 0.4, (7, 1))


def _judged(seed: int, *, shift: float = 0.0, start: int = 0, length: int = 24) -> VariationTest:
    rng = np.random.default_rng([seed, 1])
    season = _season(rng)
    reference = _traffic(rng, np.arange(WEEKS * 168), season=season)
    window = np.arange(start, start + length) + WEEKS * 168
    found = natural_variation_test(reference, _traffic(rng, window, season=season, shift=shift), rng=rng, draws=499)
    assert isinstance(found, VariationTest)
    return found


def test_a_significant_difference_needs_its_floor_to_wake_someone() -> None:
    assert practical_difference(p_value=0.001, alpha=0.01, effect=0.1, floor=0.05) is Practical.LARGE
    assert practical_difference(p_value=0.001, alpha=0.01, effect=0.04, floor=0.05) is Practical.SMALL
    assert practical_difference(p_value=0.02, alpha=0.01, effect=0.1, floor=0.05) is Practical.NOT_SIGNIFICANT
    assert practical_difference(p_value=0.01, alpha=0.01, effect=0.05, floor=0.05) is Practical.LARGE
    for wrong in ({"p_value": 0.0}, {"alpha": 1.0}, {"effect": np.nan}, {"floor": -1.0}):
        with pytest.raises(DetectorInputError):
            practical_difference(**{"p_value": 0.5, "alpha": 0.05, "effect": 0.0, "floor": 0.0, **wrong})


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8))
def test_the_share_distance_is_scipys_chi_square_per_text(counts: list[int]) -> None:
    observed = np.array(counts, dtype=float)
    expected = np.full(observed.size, observed.mean())
    found = share_distance(expected / observed.sum(), observed / observed.sum()) * observed.sum()
    assert float(found) == pytest.approx(chisquare(observed, expected).statistic, abs=1e-9)


def test_departures_are_taken_from_the_same_hour_of_the_other_weeks() -> None:
    # hour 5 of three weeks: shares .5, .25 and .75 of ten, twenty and twenty texts
    hours, n = np.array([5, 173, 341]), np.array([10.0, 20.0, 20.0])
    totals = np.array([[5.0, 5.0], [5.0, 15.0], [15.0, 5.0]])
    found = _departures(HourlyTotals(hours, n, totals))
    assert found[0].tolist() == pytest.approx([5 - 10 * 20 / 40, 5 - 10 * 20 / 40])
    assert found[1].tolist() == pytest.approx([5 - 20 * 20 / 30, 15 - 20 * 10 / 30])


def test_the_usual_monday_is_no_drift_where_a_plain_test_says_so() -> None:
    rng = np.random.default_rng(1)
    season = _season(rng)
    reference = _traffic(rng, np.arange(WEEKS * 168), season=season)
    monday = _traffic(rng, np.arange(24) + WEEKS * 168, season=season)
    table = np.array([reference.totals.sum(axis=0), monday.totals.sum(axis=0)])
    assert chi2_contingency(table).pvalue < 1e-6
    found = natural_variation_test(reference, monday, rng=rng)
    assert isinstance(found, VariationTest)
    assert found.p_value > 0.05
    assert found.reference_blocks == 91
    assert found.finest_p_value == pytest.approx(1 / 92)


def test_a_mix_the_reference_never_had_at_these_hours_is_drift() -> None:
    found = _judged(2, shift=1.5)
    assert found.p_value == found.finest_p_value
    longer = _judged(2, shift=1.5, length=72)
    assert longer.p_value == pytest.approx(1 / 500)


def test_a_young_reference_is_too_little_and_wrong_hours_are_named() -> None:
    rng = np.random.default_rng(5)
    season = _season(rng)
    young, window = (_traffic(rng, hours, season=season) for hours in (np.arange(3 * 168), np.arange(24) + 600 * 168))
    few = natural_variation_test(young, window, rng=rng)
    assert few == TooLittleData("reference weeks at the window's hours", got=3, needed=4)
    with pytest.raises(DetectorInputError, match="hours must be distinct, got 1 repeated"):
        natural_variation_test(young, HourlyTotals(np.array([1, 1]), np.ones(2), np.ones((2, CELLS))), rng=rng)
    with pytest.raises(DetectorInputError, match="holds no text"):
        natural_variation_test(young, HourlyTotals(np.array([1]), np.zeros(1), np.zeros((1, CELLS))), rng=rng)
    with pytest.raises(DetectorInputError, match="differ in width: 6 and 2"):
        natural_variation_test(young, HourlyTotals(np.array([1]), np.ones(1), np.ones((1, 2))), rng=rng)
    with pytest.raises(DetectorInputError, match="block_hours divides 24"):
        natural_variation_test(young, window, rng=rng, block_hours=5)
    with pytest.raises(DetectorInputError, match="one integer hour"):
        natural_variation_test(young, HourlyTotals(np.array([1.5]), np.ones(1), np.ones((1, CELLS))), rng=rng)


@pytest.mark.statistical
@pytest.mark.parametrize("length", [6, 24, 48])
def test_usual_windows_alarm_no_more_often_than_alpha(length: int) -> None:
    runs = 150
    alarms = sum(_judged(run, start=24 * (run % 7) + 7, length=length).p_value <= 0.05 for run in range(runs))
    assert 1 <= alarms <= binom.isf(1e-4, runs, 0.05)
