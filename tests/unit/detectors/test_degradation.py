import numpy as np
import pytest

from detectors.confidence import exact_interval
from detectors.degradation import (
    ODDS,
    DegradationRule,
    degradation_rule,
    start_degradation,
    update_degradation,
)
from detectors.errors import DetectorInputError

RULE = degradation_rule(baseline_errors=50, baseline_n=1000, tolerance=0.02)


def losses(ratio: float, n: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < ratio).astype(float)


def test_the_limit_is_the_baselines_upper_bound_and_the_tolerance() -> None:
    assert pytest.approx(exact_interval(50, 1000, alpha=0.05).upper + 0.02) == RULE.limit
    assert degradation_rule(baseline_errors=5, baseline_n=100, tolerance=0.02).limit > RULE.limit
    assert degradation_rule(baseline_errors=9, baseline_n=9, tolerance=0.5).limit == 0.99


def test_one_incident_opens_and_closes_once_however_long_it_lasts() -> None:
    stream = np.concatenate([losses(0.05, 1000), losses(0.3, 3000, 1), losses(0.03, 3000, 2)])
    state, turns = update_degradation(start_degradation(), stream, rule=RULE)
    assert [(turn.incident, turn.opened) for turn in turns] == [(1, True), (1, False)]
    assert 1000 < turns[0].at < 1300
    assert 4000 < turns[1].at < 7000
    assert (state.open, state.incidents, state.labels) == (False, 1, 7000)


def test_no_labels_leave_an_incident_open() -> None:
    state, _ = update_degradation(start_degradation(), np.ones(100), rule=RULE)
    assert state.open
    assert update_degradation(state, [], rule=RULE) == (state, ())


def test_labels_in_parts_are_judged_as_all_at_once() -> None:
    stream = np.concatenate([losses(0.05, 700), losses(0.4, 900, 1), losses(0.0, 2500, 2), losses(0.5, 500, 3)])
    whole, turns = update_degradation(start_degradation(), stream, rule=RULE)
    state, at, found = start_degradation(), 0, []
    for part in np.split(stream, [1, 2, 650, 811, 1900, 4000]):
        state, some = update_degradation(state, part, rule=RULE)
        found += [(turn.incident, turn.opened, turn.at + at) for turn in some]
        at += part.size
    assert found == [(turn.incident, turn.opened, turn.at) for turn in turns]
    assert len(found) == 3
    assert (state.open, state.labels, state.looked) == (whole.open, whole.labels, whole.looked)
    assert state.log_capitals == pytest.approx(whole.log_capitals)


def test_the_capital_is_the_mixture_over_change_points_of_its_definition() -> None:
    stream, limit = losses(0.2, 40, 5), 0.15
    state, _ = update_degradation(start_degradation(), stream, rule=DegradationRule(limit, 1e-9))
    waiting = [1 / (1 + np.log1p(t)) for t in range(42)]
    total = waiting[41]
    for start in range(41):
        for factor in ODDS:
            odds = factor * limit / (1 - limit)
            ratio = odds / (1 + odds)
            likelihoods = np.where(stream[start:] == 1, ratio / limit, (1 - ratio) / (1 - limit))
            total += (waiting[start] - waiting[start + 1]) * likelihoods.prod() / len(ODDS)
    assert state.log_e_value == pytest.approx(np.log(total))


def test_rows_drawn_unequally_raise_no_alarm_where_the_naive_error_ratio_would() -> None:
    rng = np.random.default_rng(6)
    wrong = rng.random(20_000) < 0.05
    chances = np.where(wrong, 0.9, 0.3)
    drawn = rng.random(20_000) < chances
    rule = degradation_rule(baseline_errors=50, baseline_n=1000, tolerance=0.02, least_inclusion_probability=0.3)
    naive, _ = update_degradation(start_degradation(), wrong[drawn], rule=rule)
    weighed, _ = update_degradation(start_degradation(), wrong[drawn], rule=rule, inclusion_probability=chances[drawn])
    assert naive.incidents == 1
    assert weighed.incidents == 0
    worse = rng.random(20_000) < 0.3
    chances = np.where(worse, 0.9, 0.3)
    drawn = rng.random(20_000) < chances
    found, _ = update_degradation(start_degradation(), worse[drawn], rule=rule, inclusion_probability=chances[drawn])
    assert found.open


def test_rules_that_cannot_be_are_named() -> None:
    with pytest.raises(DetectorInputError, match="tolerance is a difference"):
        degradation_rule(baseline_errors=1, baseline_n=10, tolerance=1.0)
    with pytest.raises(DetectorInputError, match="least_inclusion_probability lies in"):
        degradation_rule(baseline_errors=1, baseline_n=10, tolerance=0.1, least_inclusion_probability=0.0)
    with pytest.raises(DetectorInputError, match="11 of 10"):
        degradation_rule(baseline_errors=11, baseline_n=10, tolerance=0.1)
    with pytest.raises(DetectorInputError, match=r"got 2\.0 at 0"):
        update_degradation(start_degradation(), [2.0], rule=RULE)
