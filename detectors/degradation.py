"""Has a version's accuracy fallen below its baseline's: a test that may look after every label, one alarm per incident.

Each label bets on the error ratio being above the limit (below it, while an incident is open) by a choice of factors on
the odds; every bet is of mean at most 1 while the limit is kept. A change may come at any label, so part of the capital
starts at each. An incident opens when the capital reaches its threshold and closes when the opposite bets reach theirs:
by labels that are right, never by labels that do not come. States are frozen records of plain numbers, to be stored.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.checks import FloatArray, probability, vector
from detectors.confidence import exact_interval, relative_weights
from detectors.errors import DetectorInputError

ODDS = (1.25, 1.6, 2.5, 5.0, 10.0)  # of the error ratio against the limit's; docs/math/quality.md measures the delays
HIGHEST_LIMIT = 0.99
CHUNK = 1024


@dataclass(frozen=True, slots=True)
class DegradationRule:
    """The error ratio that accuracy may not exceed, and the chance of ever raising an alarm while it does not.

    limit is the baseline's upper bound and the tolerance; alpha pays half for that bound and half for all alarms.
    least_inclusion_probability is declared beforehand where labelled rows are drawn unequally, else 1.
    """

    limit: float
    alpha: float
    least_inclusion_probability: float = 1.0


@dataclass(frozen=True, slots=True)
class DegradationState:
    """Where the test stands: capitals of the bets since it last turned, and how often it turned.

    `open` is the alarm; incidents counts those opened so far; looked counts the labels since the last turn, labels all.
    """

    open: bool
    incidents: int
    labels: int
    looked: int
    log_capitals: tuple[float, ...]
    log_e_value: float


@dataclass(frozen=True, slots=True)
class Turn:
    """An incident opened or closed at a label, counted from 0 within the labels given."""

    incident: int
    opened: bool
    at: int


def degradation_rule(
    *,
    baseline_errors: int,
    baseline_n: int,
    tolerance: float,
    alpha: float = 0.05,
    least_inclusion_probability: float = 1.0,
) -> DegradationRule:
    """Return the rule for a baseline of baseline_errors wrong among baseline_n >= 1 labelled rows.

    The baseline's own chance is paid for by an exact one-sided bound at alpha/2: few baseline labels give a high limit.
    tolerance in [0, 1) is the rise of the error ratio that one accepts. Source: Podkopaev & Ramdas 2022, eq. 5 to 7.

    >>> round(degradation_rule(baseline_errors=50, baseline_n=1000, tolerance=0.02).limit, 4)
    0.0854
    """
    if not 0 <= tolerance < 1:
        raise DetectorInputError(f"tolerance is a difference of error ratios in [0, 1), got {tolerance}")
    if not 0 < least_inclusion_probability <= 1:
        raise DetectorInputError(f"least_inclusion_probability lies in (0, 1], got {least_inclusion_probability}")
    upper = exact_interval(baseline_errors, baseline_n, alpha=probability("alpha", alpha)).upper
    return DegradationRule(min(upper + tolerance, HIGHEST_LIMIT), alpha, least_inclusion_probability)


def start_degradation() -> DegradationState:
    """Return the state before the first label, and after a baseline changes."""
    return _turned(is_open=False, incidents=0, labels=0)


def _turned(*, is_open: bool, incidents: int, labels: int) -> DegradationState:
    return DegradationState(is_open, incidents, labels, 0, (float(np.log(1 - _waiting(1))),) * len(ODDS), 0.0)


def update_degradation(
    state: DegradationState,
    losses: npt.ArrayLike,
    *,
    rule: DegradationRule,
    inclusion_probability: npt.ArrayLike | None = None,
) -> tuple[DegradationState, tuple[Turn, ...]]:
    """Return the state after losses (n,) in [0, 1] (0 right, 1 wrong), in the order their labels came, and the turns.

    The chance that an incident ever opens while every error ratio, given the past, is at most the limit is at most
    alpha, whatever the number of labels, looks and incidents: incident k spends alpha/2 · 1/(k (k + 1)). An open one
    closes wrongly, with the error ratio still at the limit or above, with chance at most alpha. No losses change
    nothing. inclusion_probability (n,), at least the rule's least, weighs rows as in `confidence_sequence`. Time O(n).
    Source: Ville 1939; Shin, Ramdas & Rinaldo 2023, sec. 2 (mixing over change points).
    """
    observed = vector("losses", losses, low=0.0, high=1.0)
    weighed = inclusion_probability is not None
    stakes = relative_weights(
        observed.size,
        inclusion_probability,
        least_inclusion_probability=rule.least_inclusion_probability if weighed else None,
    )
    turns: list[Turn] = []
    before, done = state.labels, 0
    while done < observed.size:
        part = slice(done, done + CHUNK)
        log_bets = _log_bets(observed[part], stakes[part], limit=rule.limit, higher=not state.open)
        state = _looked(state, log_bets, log_threshold=_log_threshold(state, rule))
        done = state.labels - before
        if state.log_e_value >= _log_threshold(state, rule):
            opens = not state.open
            incidents = state.incidents + opens
            turns.append(Turn(incidents, opens, done - 1))
            state = _turned(is_open=opens, incidents=incidents, labels=state.labels)
    return state, tuple(turns)


def _looked(state: DegradationState, log_bets: FloatArray, *, log_threshold: float) -> DegradationState:
    """Return the state after the bets (n, 5) up to and with the first at which the capital reaches its threshold.

    Capital after a look is all bets since times what there was, and each later share times the bets since it began.
    """
    looks = state.looked + np.arange(1, len(log_bets) + 1)
    shares = np.log(_waiting(looks) - _waiting(looks + 1))[:, None]
    together = np.cumsum(log_bets, axis=0)
    started = np.concatenate([np.array(state.log_capitals)[None], shares - together])
    capitals = together + np.logaddexp.accumulate(started, axis=0)[1:]
    betting = np.logaddexp.reduce(capitals, axis=1) - np.log(len(ODDS))
    log_e = np.logaddexp(betting, np.log(_waiting(looks + 1)))
    reached = np.flatnonzero(log_e >= log_threshold)
    last = int(reached[0]) if reached.size else len(looks) - 1
    labels = state.labels + last + 1
    return DegradationState(
        state.open, state.incidents, labels, int(looks[last]), tuple(capitals[last].tolist()), float(log_e[last])
    )


def _waiting(looks: npt.ArrayLike) -> FloatArray:
    """Return the share of the capital that does not bet before look number `looks` + 1.

    It falls so slowly that a change after many labels is not much harder to see than an early one.
    """
    return np.asarray(1 / (1 + np.log1p(looks)))


def _log_threshold(state: DegradationState, rule: DegradationRule) -> float:
    if state.open:
        return float(-np.log(rule.alpha))
    k = state.incidents + 1
    return float(np.log(2 * k * (k + 1) / rule.alpha))


def _log_bets(observed: FloatArray, stakes: FloatArray, *, limit: float, higher: bool) -> FloatArray:
    """Return the log of each bet (n, 5) on a higher, or else a lower, error ratio: of mean <= 1 up to, from, the limit.

    At stakes of 1 a bet is the likelihood ratio of an error ratio whose odds are a factor off the limit's.
    """
    odds = limit / (1 - limit) * (np.array(ODDS) if higher else 1 / np.array(ODDS))
    slopes = (odds / (1 + odds) - limit) / (limit * (1 - limit))
    return np.asarray(np.log1p(slopes * (stakes * (observed - limit))[:, None]))
