"""When a verdict alarms: calibration, the practical difference, and what is usual for its weekday."""

import numpy as np
import pytest
from sqlalchemy import text

from monitor import store
from monitor.baseline import build_baseline
from monitor.clock import Window, hour_of
from monitor.reporting import gather
from monitor.runner import Runner
from monitor.texts import TextTable
from tests.unit.monitor.runner.traffic import (
    BEGIN,
    HOUR,
    at,
    mixed_texts,
    replace_runner,
    send,
    texts,
    with_drift_policy,
)


def test_slow_drift_that_no_window_shows_alone_is_found_by_run_length(runner: Runner) -> None:
    def first_alarm(calibration: str) -> int | None:
        moded = with_drift_policy(replace_runner(runner), calibration=calibration, windows_between_alarms=50)
        found = [moded.judge_window("intents", "1", Window(BEGIN + h * HOUR, BEGIN + (h + 1) * HOUR))[0] for h in (0,)]
        assert found[0].alarm is not None
        assert found[0].alarm.mode == calibration
        recorded = moded.tick("intents")
        with store.writing(moded.engine) as session:
            session.execute(text("DELETE FROM results"))
            session.execute(text("DELETE FROM runs"))
        return next((i for i, run in enumerate(recorded) if run.drift), None)

    for hour in range(12):
        send(runner.engine, texts(150, seed=hour + 50, new_share=0.06 if hour >= 4 else 0.0), hour=hour)
    runner.clock.advance_to(BEGIN + 12 * HOUR)
    runner.embed("intents", "1", until=runner.clock.now())
    alone, together = first_alarm("window"), first_alarm("run_length")
    assert together is not None
    assert together >= 4
    assert alone is None or alone >= together


def test_anytime_ranks_windows_among_those_before_and_stays_quiet_on_usual_ones(runner: Runner) -> None:
    with_drift_policy(runner, calibration="anytime", alpha=0.05)
    for hour in range(8):
        send(runner.engine, texts(120, seed=hour + 20), hour=hour)
    recorded = at(runner, 8).tick("intents")
    assert [run.drift for run in recorded] == [False] * 8
    assert [run.payload["alarm"]["windows"] for run in recorded] == list(range(1, 9))


def test_a_drift_below_the_practical_difference_is_told_and_is_not_actionable(runner: Runner) -> None:
    send(runner.engine, texts(300, seed=5, new_share=0.2), hour=0)
    at(runner, 1)
    window = Window(BEGIN, BEGIN + HOUR)
    runner.embed("intents", "1", until=runner.clock.now())
    for floor, importance, actionable in (
        (0.01, "significant and large enough", True),
        (0.9, "significant but small", False),
    ):
        judgement, _, _ = with_drift_policy(runner, practical_difference=floor).judge_window("intents", "1", window)
        answer = judgement.as_json()
        assert answer["verdict"]["drift"] is True
        assert (answer["importance"], answer["actionable"]) == (importance, actionable)
        assert 0.05 < answer["effect"] < 0.9


def test_what_is_usual_for_its_weekday_is_told_and_is_not_actionable(runner: Runner) -> None:
    weeks = 6
    first = hour_of(BEGIN) - weeks * 168
    found, hours = [], []
    for day in range(weeks * 7):
        found += mixed_texts(24 * 8, seed=day, first_share=0.9 if day % 7 == 0 else 0.5)
        hours += [first + day * 24 + hour for hour in range(24) for _ in range(8)]
    table = TextTable(tuple(found), None, None, hours=np.array(hours))
    build_baseline(runner.models.model, table, engine=runner.engine, seed=0)
    for hour in range(48):  # the first day is of the weekday that has this mix, the second is not
        send(runner.engine, mixed_texts(5, seed=100 + hour, first_share=0.9), hour=hour)
    at(runner, 48).embed("intents", "1", until=runner.clock.now())
    days = [Window(BEGIN + day * 24 * HOUR, BEGIN + (day + 1) * 24 * HOUR) for day in (0, 1)]
    usual, unusual = [runner.judge_window("intents", "1", day)[0].as_json() for day in days]
    for answer, is_usual in ((usual, True), (unusual, False)):
        assert answer["verdict"]["drift"] is True
        assert set(answer["usual_variation"]) == {"p_value", "finest_p_value", "reference_blocks"}
        assert (answer["usual_variation"]["p_value"] > 0.05) is is_usual
        assert answer["actionable"] is not is_usual


DAY = 24 * HOUR

A_DAY = 60


def weekly(days: range, *, new_share: float = 0.0) -> list[list[str]]:
    """Texts of each day since BEGIN: every seventh has a mix of its own."""
    found = []
    for day in days:
        usual = mixed_texts(A_DAY, seed=7000 + day, first_share=0.9 if day % 7 == 0 else 0.5)
        new = texts(round(A_DAY * new_share), seed=day + 5000, new_share=1.0)
        found.append(usual[len(new) :] + new)
    return found


def send_days(runner: Runner, days: range, *, new_share: float = 0.0) -> list[store.StoredRun]:
    recorded = []
    for day, found in zip(days, weekly(days, new_share=new_share), strict=True):
        send(runner.engine, found, hour=24 * day)
        recorded += at(runner, 24 * (day + 1)).tick("intents")
    return recorded


@pytest.mark.parametrize("timed", [True, False])
def test_a_weekly_season_is_no_alarm_where_the_reference_shows_it_and_a_shift_is(runner: Runner, timed: bool) -> None:
    with_drift_policy(runner, calibration="run_length", windows_between_alarms=100, window_hours=24, permutations=499)
    past = range(-16 * 7, 0)
    table = TextTable(
        tuple(one for day in weekly(past) for one in day),
        None,
        None,
        hours=np.repeat([hour_of(BEGIN) + 24 * day for day in past], A_DAY) if timed else None,
    )
    policy = runner.policy.models["intents"].drift
    build_baseline(runner.models.model, table, engine=runner.engine, seed=0, run_length=policy)
    quiet = send_days(runner, range(14 if timed else 35))
    alarms = [run for run in quiet if run.drift]
    if not timed:
        assert alarms
        assert {run.payload["detail"] for run in quiet} == {
            "calibrated as if windows were independent: the reference has no timestamps"
        }
        return
    assert {run.payload["detail"] for run in quiet} == {"calibrated on 112 windows of the reference"}
    assert len(alarms) <= 1
    told = gather(runner, "intents", "1", Window(BEGIN, BEGIN + 14 * DAY)).promise
    assert told == (
        "Were nothing to change, one window in about 100 would alarm, calibrated on 112 windows of the reference."
    )
    shifted = send_days(runner, range(14, 18), new_share=0.3)
    assert any(run.drift for run in shifted)
