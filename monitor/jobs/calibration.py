"""From a stream of windows to an alarm: which promise the policy has chosen, kept over the windows judged so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal

import numpy as np

from detectors.calibration import (
    RunLengthRule,
    anytime_alarm,
    calibrate_run_length,
    conformal_p_value,
    scores,
    start_anytime,
    start_run_length,
    update_anytime,
    update_run_length,
)
from detectors.results import TooLittleData
from monitor.clock import EPOCH
from monitor.errors import DriftwardenError
from monitor.jobs.stream import ReferenceStream, season_windows

AS_INDEPENDENT = "calibrated as if windows were independent"
MOST_TEXTS = 1.25  # times those of the reference's windows: a season shows the more, the more texts a window holds

Mode = Literal["window", "run_length", "anytime"]


@dataclass(frozen=True, slots=True)
class JudgedWindow:
    """A window's start, the p-value of its comparison, its seed, and how many texts were compared."""

    start: datetime
    p_value: float
    seed: int
    texts: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Whether the stream alarms at its last window, and how near it is: statistic against threshold.

    note tells what the promise rests on, where that is in question.
    """

    mode: Mode
    drift: bool
    statistic: float
    threshold: float
    windows: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class StreamRule:
    """A rule, the number since 1970 of a window at the begin of its season, and what it was calibrated on."""

    rule: RunLengthRule
    first: int
    note: str

    def phase(self, number: int) -> int:
        """Return the place in the season of window `number`."""
        return (number - self.first) % len(self.rule.model.means)


def window_alarm(window: JudgedWindow, *, alpha: float, drift: bool) -> Alarm:
    """Return the alarm of one comparison by itself."""
    return Alarm("window", drift, window.p_value, alpha, 1)


def run_length_alarm(stream: Sequence[JudgedWindow], *, calibrated: StreamRule, step: timedelta) -> Alarm:
    """Return the alarm of Shiryaev–Roberts over the windows of one baseline, oldest first."""
    state, before, rule = start_run_length(), None, calibrated.rule
    for window in stream:
        follows = before is not None and window.start == before + step
        phase = calibrated.phase((window.start - EPOCH) // step)
        state = update_run_length(state, window.p_value, rule=rule, phase=phase, follows=follows)
        before = window.start
    return Alarm("run_length", state.alarm, state.log_statistic, rule.log_threshold, len(stream), calibrated.note)


def stream_rule(
    reference: ReferenceStream | None, stream: Sequence[JudgedWindow], *, expected_windows: float, step: timedelta
) -> StreamRule:
    """Return the rule of one false alarm in so many windows, read off the reference's own windows where they serve.

    They serve windows of their length that hold about as many texts, in the median, or fewer: with more, a season
    shows more than it did in the reference. Else the windows are taken as independent, and the note says why.
    """
    reason = _unfit(reference, stream, step=step)
    if reference is None or reason:
        return _as_independent(expected_windows, reason)
    rule = _rule(expected_windows, reference.p_values, season_windows(reference.window_hours))
    if isinstance(rule, TooLittleData):
        return _as_independent(expected_windows, f"{rule.got} {rule.reason}, {rule.needed} are needed")
    known = sum(p is not None for p in reference.p_values)
    return StreamRule(rule, reference.first, f"calibrated on {known} windows of the reference")


def _as_independent(expected_windows: float, reason: str) -> StreamRule:
    rule = _rule(expected_windows, None, 1)
    if isinstance(rule, TooLittleData):
        raise DriftwardenError(f"no rule for one alarm in {expected_windows} windows: {rule.reason}")
    return StreamRule(rule, 0, f"{AS_INDEPENDENT}: {reason}")


def _unfit(reference: ReferenceStream | None, stream: Sequence[JudgedWindow], *, step: timedelta) -> str:
    if reference is None:
        return "the baseline was built without its own windows, build it again"
    if reference.reason:
        return reference.reason
    if timedelta(hours=reference.window_hours) != step:
        return f"the baseline's own windows are of {reference.window_hours} h, build it again"
    texts = float(np.median([window.texts for window in stream]))
    if texts > MOST_TEXTS * reference.texts:
        return f"windows hold {texts:g} texts, the reference's own {reference.texts:g}"
    return ""


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


@lru_cache(maxsize=32)
def _rule(
    expected_windows: float, p_values: tuple[float | None, ...] | None, season: int
) -> RunLengthRule | TooLittleData:
    """Return the rule of one false alarm in this many windows (simulated in seconds, once a process)."""
    usual = None if p_values is None else [np.nan if p is None else p for p in p_values]
    return calibrate_run_length(usual, expected_windows=expected_windows, rng=np.random.default_rng(0), period=season)
