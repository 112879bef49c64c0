"""From a stream of windows to an alarm: which promise the policy has chosen, kept over the windows judged so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from detectors.calibration import (
    RunLengthRule,
    anytime_alarm,
    conformal_p_value,
    scores,
    start_anytime,
    start_run_length,
    update_anytime,
    update_run_length,
)

Mode = Literal["window", "run_length", "anytime"]


@dataclass(frozen=True, slots=True)
class JudgedWindow:
    """A window's start, the p-value of its comparison, and its seed."""

    start: datetime
    p_value: float
    seed: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Whether the stream alarms at its last window, and how near it is: statistic against threshold."""

    mode: Mode
    drift: bool
    statistic: float
    threshold: float
    windows: int


def window_alarm(window: JudgedWindow, *, alpha: float, drift: bool) -> Alarm:
    """Return the alarm of one comparison by itself."""
    return Alarm("window", drift, window.p_value, alpha, 1)


def run_length_alarm(stream: Sequence[JudgedWindow], *, rule: RunLengthRule, step: timedelta) -> Alarm:
    """Return the alarm of Shiryaev–Roberts over the windows of one baseline, oldest first."""
    state, before = start_run_length(), None
    for window in stream:
        follows = before is not None and window.start == before + step
        state, before = update_run_length(state, window.p_value, rule=rule, follows=follows), window.start
    return Alarm("run_length", state.alarm, state.log_statistic, rule.log_threshold, len(stream))


def ever_alarm(stream: Sequence[JudgedWindow], *, alpha: float, rng_of: Callable[[int], np.random.Generator]) -> Alarm:
    """Return the alarm of the e-process over the windows of one baseline, oldest first: it stays once it is reached.

    p-values against one reference share its chance, so what bets is each window's rank among those before it; rng_of
    breaks its ties by the window's seed.
    """
    found, state = scores([window.p_value for window in stream]), start_anytime()
    for position, window in enumerate(stream):
        rank = conformal_p_value(found[:position], float(found[position]), rng=rng_of(window.seed))
        state = update_anytime(state, rank)
    threshold = float(-np.log(alpha))
    return Alarm("anytime", anytime_alarm(state, alpha=alpha), state.peak_log_e_value, threshold, len(stream))
