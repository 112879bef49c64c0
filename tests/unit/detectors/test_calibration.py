import itertools
import json
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.signal import lfilter
from scipy.special import ndtr
from scipy.stats import binom, kstest, norm

from detectors.calibration import (
    BETS,
    STANDARD_STREAM,
    AnytimeState,
    RunLengthRule,
    RunLengthState,
    anytime_alarm,
    anytime_step,
    calibrate_run_length,
    conformal_p_value,
    innovation,
    log_bets,
    log_e_value,
    log_statistic,
    run_length_step,
    scores,
    start_anytime,
    start_run_length,
    update_anytime,
    update_run_length,
    window_alarm,
)
from detectors.errors import DetectorInputError
from detectors.results import TooLittleData

WEEK = 168
P_STREAM = st.lists(st.floats(1e-12, 1), max_size=30)


def _p(z: np.ndarray) -> np.ndarray:
    return np.maximum(ndtr(-z), 1e-300)


def _rule(threshold: float) -> RunLengthRule:
    return RunLengthRule(100.0, threshold, STANDARD_STREAM)


def test_a_window_alarms_at_alpha_and_not_above() -> None:
    assert window_alarm(0.05, alpha=0.05)
    assert not window_alarm(0.0501, alpha=0.05)


def _mean(value: Callable[[float], float]) -> float:
    points = [0, 1e-6, 1e-4, 0.01, 0.999, 1]
    return sum(quad(value, *ends, epsabs=1e-10)[0] for ends in itertools.pairwise(points))


def _bet(z: float) -> np.ndarray:
    """The four bets by their definition, each over its mean for a uniform p held to [1e-6, 0.999]."""

    def raw(bet: float, value: float) -> float:
        return float(np.exp(bet * value - bet**2 / 2))

    def held(p: float) -> float:
        return float(norm.isf(min(max(p, 1e-6), 0.999)))

    return np.array([raw(bet, z) / _mean(lambda p, bet=bet: raw(bet, held(p))) for bet in BETS])


def test_every_bet_is_a_calibrator_its_mean_over_valid_p_values_is_one() -> None:
    for i in range(len(BETS)):
        assert _mean(lambda p, i=i: float(np.exp(log_bets(scores([p])[0])[i]))) == pytest.approx(1, abs=1e-6)


def test_an_e_process_by_hand_over_two_windows() -> None:
    z = [1.0, 2.0]
    state = start_anytime()
    for value in z:
        state = update_anytime(state, float(norm.sf(value)))
    first, second = (_bet(value) for value in z)
    # 1/2 bets on both windows, 1/6 from the second, 1/3 has not started
    expected = np.mean(first * second / 2 + second / 6) + 1 / 3
    assert np.exp(state.log_e_value) == pytest.approx(expected)
    assert state.windows == 2


def test_shiryaev_roberts_by_hand_over_two_windows() -> None:
    state = start_run_length()
    for value in (1.0, 2.0):
        state = update_run_length(state, float(norm.sf(value)), rule=_rule(1e9))
    first, second = (_bet(value) for value in (1.0, 2.0))
    assert np.exp(state.log_statistic) == pytest.approx(np.mean(1 + (1 + first) * second))


def test_after_an_alarm_the_statistics_begin_anew() -> None:
    rule = _rule(5.0)
    state = start_run_length()
    while not state.alarm:
        state = update_run_length(state, 1e-3, rule=rule)
    fresh = update_run_length(start_run_length(), 0.5, rule=rule)
    after = update_run_length(state, 0.5, rule=rule)
    assert after.log_growths == pytest.approx(fresh.log_growths)
    assert not after.alarm


def test_a_capital_that_crossed_stays_an_alarm() -> None:
    state = start_anytime()
    for p in [1e-5] * 4 + [0.9] * 200:
        state = update_anytime(state, p)
    assert anytime_alarm(state, alpha=0.01)
    assert state.log_e_value < 0


@given(P_STREAM)
def test_states_are_plain_numbers_that_survive_json_and_resume(stream: list[float]) -> None:
    rule = _rule(4.0)
    anytime, runs = start_anytime(), start_run_length()
    for p in stream:
        read = json.loads(json.dumps([asdict(anytime), asdict(runs)], allow_nan=False))
        again = [AnytimeState(**{**read[0], "log_capitals": tuple(read[0]["log_capitals"])})]
        resumed = RunLengthState(**{**read[1], "log_growths": tuple(read[1]["log_growths"])})
        anytime, runs = update_anytime(anytime, p), update_run_length(runs, p, rule=rule)
        assert update_anytime(again[0], p) == anytime
        assert update_run_length(resumed, p, rule=rule) == runs
    assert np.isfinite(anytime.log_capitals).all()
    assert np.isfinite(runs.log_growths).all()


@given(P_STREAM.filter(bool), st.floats(0.01, 1))
def test_smaller_p_values_never_lower_the_evidence(stream: list[float], factor: float) -> None:
    larger = smaller = start_anytime()
    for p in stream:
        larger, smaller = update_anytime(larger, p), update_anytime(smaller, p * factor)
    assert smaller.log_e_value >= larger.log_e_value - 1e-9


def test_the_rule_resumes_after_a_gap_without_the_window_before_it() -> None:
    model = innovation(STANDARD_STREAM, 1.5, previous=None)
    assert float(model) == 1.5
    rule = calibrate_run_length(_usual(1, 2000, phi=0.6), expected_windows=50, rng=np.random.default_rng(0))
    assert isinstance(rule, RunLengthRule)
    assert rule.model.correlation == pytest.approx(0.6, abs=0.08)
    state = update_run_length(start_run_length(), 0.01, rule=rule)
    after = [update_run_length(state, 0.01, rule=rule, follows=follows).log_statistic for follows in (True, False)]
    assert after[0] < after[1]


def _usual(seed: int, n: int, *, phi: float = 0.0, season: np.ndarray | None = None) -> np.ndarray:
    return _p(_stream(np.random.default_rng(seed), n, 1, phi=phi, season=season)[:, 0])


def _stream(rng: np.random.Generator, n: int, count: int, *, phi: float, season: np.ndarray | None) -> np.ndarray:
    z = lfilter([np.sqrt(1 - phi**2)], [1, -phi], rng.normal(size=(n + 100, count)), axis=0)[100:]
    return z if season is None else z + season[np.arange(n) % season.size, None]


def test_a_season_is_learnt_and_a_short_reference_is_too_little() -> None:
    rng = np.random.default_rng(2)
    season = rng.normal(size=24)
    rule = calibrate_run_length(_usual(3, 24 * 60, season=season), expected_windows=100, rng=rng, period=24)
    assert isinstance(rule, RunLengthRule)
    assert np.corrcoef(rule.model.means, season)[0, 1] > 0.95
    few = calibrate_run_length(_usual(3, 500), expected_windows=100, rng=rng, period=WEEK)
    assert few == TooLittleData("reference windows", got=500, needed=672)
    assert calibrate_run_length([0.5] * 20, expected_windows=100, rng=rng) == TooLittleData(
        "reference windows", got=20, needed=100
    )


@pytest.mark.parametrize("p", [1.0, 0.5, 1e-9])
def test_a_stream_of_one_value_never_alarms_while_it_stays_so(p: float) -> None:
    rule = calibrate_run_length([p] * 200, expected_windows=50, rng=np.random.default_rng(0))
    assert isinstance(rule, RunLengthRule)
    state = start_run_length()
    for _ in range(200):
        state = update_run_length(state, p, rule=rule)
        assert not state.alarm


def test_what_is_no_stream_is_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DetectorInputError, match="expected_windows lies in"):
        calibrate_run_length(expected_windows=5, rng=rng)
    with pytest.raises(DetectorInputError, match="no valid test gives p = 0"):
        update_anytime(start_anytime(), 0.0)
    with pytest.raises(DetectorInputError, match="got nan at 0"):
        update_run_length(start_run_length(), float("nan"), rule=_rule(5))
    with pytest.raises(DetectorInputError, match=r"phase lies in \[0, 1\), got 3"):
        update_run_length(start_run_length(), 0.5, rule=_rule(5), phase=3)
    with pytest.raises(DetectorInputError, match="alpha lies in"):
        anytime_alarm(start_anytime(), alpha=2)
    with pytest.raises(DetectorInputError, match="history must be"):
        conformal_p_value([np.inf], 0.0, rng=rng)


def _first_alarms(rule: RunLengthRule, p: np.ndarray) -> tuple[int, int]:
    """Return the windows watched until each stream's first alarm or end, and how many streams alarmed."""
    model = rule.model
    means = np.array(model.means)[np.arange(p.shape[0]) % len(model.means), None]
    standard = (scores(p.ravel()).reshape(p.shape) - means) / model.deviation
    growths, first = np.zeros((p.shape[1], len(BETS))), np.zeros(p.shape[1], dtype=int)
    for t in range(p.shape[0]):
        growths = run_length_step(growths, innovation(model, standard[t], previous=standard[t - 1] if t else None))
        first[(log_statistic(growths) >= rule.log_threshold) & (first == 0)] = t + 1
    return int(np.where(first, first, p.shape[0]).sum()), int(np.count_nonzero(first))


def test_the_vectors_of_these_simulations_are_the_service_s_states() -> None:
    rule = calibrate_run_length(_usual(1, 1200, phi=0.4), expected_windows=40, rng=np.random.default_rng(0))
    assert isinstance(rule, RunLengthRule)
    p = _usual(4, 400, phi=0.4)
    state, first = start_run_length(), 0
    for t, value in enumerate(p, start=1):
        state = update_run_length(state, value, rule=rule)
        if state.alarm:
            first = t
            break
    assert _first_alarms(rule, p[:, None]) == (first, 1)


@pytest.mark.statistical
@pytest.mark.parametrize(("expected", "references", "streams"), [(100, 30, 40), (1000, 16, 60)])
@pytest.mark.parametrize(("phi", "seasonal"), [(0.0, False), (0.5, False), (0.5, True)])
def test_false_alarms_come_once_in_the_configured_number_of_windows(
    expected: int, references: int, streams: int, phi: float, seasonal: bool
) -> None:
    """Mean over references of 26 weeks; the tolerance is 15 % and three standard errors of what references differ."""
    watched = alarms = 0
    each = []
    for reference in range(references):
        rng = np.random.default_rng([6, reference, expected])
        season = rng.normal(size=WEEK) if seasonal else None
        past = _p(_stream(rng, 26 * WEEK, 1, phi=phi, season=season)[:, 0])
        rule = calibrate_run_length(past, expected_windows=expected, rng=rng, period=WEEK if seasonal else 1)
        assert isinstance(rule, RunLengthRule)
        here = _first_alarms(rule, _p(_stream(rng, 3 * expected, streams, phi=phi, season=season)))
        watched, alarms = watched + here[0], alarms + here[1]
        each.append(here[0] / max(1, here[1]))
    error = float(np.std(each) / np.sqrt(references)) / expected
    assert abs(watched / alarms / expected - 1) <= 0.15 + min(3 * error, 0.1)


@pytest.mark.statistical
def test_over_a_hundred_thousand_windows_anytime_alarms_no_more_often_than_alpha() -> None:
    rng, streams, alpha, windows = np.random.default_rng(7), 200, 0.05, 100_000
    capitals, peak = np.full((streams, len(BETS)), np.log(0.5)), np.full(streams, -np.inf)
    for t in range(1, windows + 1):
        capitals = anytime_step(capitals, rng.standard_normal(streams), windows=t)
        peak = np.maximum(peak, log_e_value(capitals, windows=t))
    assert np.count_nonzero(peak >= -np.log(alpha)) <= binom.isf(1e-4, streams, alpha)


@pytest.mark.statistical
def test_windows_against_one_reference_share_its_chance_and_ranks_take_it_away() -> None:
    """A fifth of each p-value's variance is the reference's: raw they alarm, as ranks among earlier windows not."""
    runs, windows, alpha = 60, 400, 0.05
    raw = ranked = 0
    for run in range(runs):
        rng = np.random.default_rng([8, run])
        z = np.sqrt(0.2) * rng.normal() + np.sqrt(0.8) * rng.normal(size=windows)
        states = [start_anytime(), start_anytime()]
        for t in range(windows):
            states[0] = update_anytime(states[0], float(_p(z[t])))
            states[1] = update_anytime(states[1], conformal_p_value(z[:t], float(z[t]), rng=rng))
        raw, ranked = raw + anytime_alarm(states[0], alpha=alpha), ranked + anytime_alarm(states[1], alpha=alpha)
    assert raw > 4 * alpha * runs
    assert ranked <= binom.isf(1e-4, runs, alpha)


@pytest.mark.statistical
def test_ranks_of_exchangeable_windows_are_uniform_whatever_their_distribution() -> None:
    rng = np.random.default_rng(9)
    values = rng.integers(0, 5, size=3000).astype(float)
    ranks = [conformal_p_value(values[:t], values[t], rng=rng) for t in range(values.size)]
    assert min(ranks) > 0
    assert kstest(ranks, "uniform").pvalue > 1e-3


def test_missing_reference_windows_keep_the_season_and_the_correlation() -> None:
    season = 2 * np.sin(np.arange(24) / 24 * 2 * np.pi)
    usual = _usual(5, 24 * 60, phi=0.5, season=season)
    usual[np.random.default_rng(1).random(usual.size) < 0.3] = np.nan
    usual[7::24] = np.nan  # one phase is never there
    rule = calibrate_run_length(usual, expected_windows=50, rng=np.random.default_rng(0), period=24)
    assert isinstance(rule, RunLengthRule)
    seen = np.arange(24) != 7
    np.testing.assert_allclose(np.array(rule.model.means)[seen], season[seen], atol=0.5)
    assert rule.model.means[7] == pytest.approx(float(np.nanmean(scores(usual[~np.isnan(usual)]))))
    assert rule.model.correlation == pytest.approx(0.5, abs=0.12)


def test_too_few_known_windows_are_too_little_however_long_the_stream() -> None:
    rng = np.random.default_rng(0)
    sparse = np.full(1000, np.nan)
    sparse[:99] = 0.5
    assert calibrate_run_length(sparse, expected_windows=50, rng=rng) == TooLittleData("reference windows", 99, 100)
    lonely = np.full(4 * WEEK, np.nan)
    lonely[:110] = 0.5  # no phase is there twice
    found = calibrate_run_length(lonely, expected_windows=50, rng=rng, period=WEEK)
    assert found == TooLittleData("reference windows of a phase with another", got=0, needed=50)
    with pytest.raises(DetectorInputError, match="no valid test gives p = 0"):
        calibrate_run_length([0.0] * 200, expected_windows=50, rng=rng)
