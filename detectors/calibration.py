"""When a stream of windows alarms: a fixed alpha, an expected run length, or never without drift but for alpha.

A window's p-value becomes a score z = Phi^-1(1 - p), standard normal at the null, and the score bets on four sizes of
shift at once: e = exp(bet · z - bet²/2) over its own mean, so of mean 1 for a uniform p: a p-to-e calibrator (Vovk &
Wang 2021, sec. 2). Every state is a frozen record of plain numbers: stored with a result, read back, updated by the
next window.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from detectors.checks import FloatArray, p_values, probability
from detectors.errors import DetectorInputError
from detectors.results import TooLittleData

BETS = (0.5, 1.0, 2.0, 3.0)  # in standard deviations of the score; docs/math/calibration.md compares them
P_FLOOR, P_CEILING = 1e-6, 0.999  # one window neither decides alone nor hides the next
MINIMUM_WINDOWS = 100
MINIMUM_CYCLES = 4
DEVIATION_FLOOR = 0.1  # of a score; a stream of equal p-values has none of its own
SIMULATED_STEPS = 4_000_000
NORMAL_POOL = 200_000
GREATEST = 1e150
_BETS = np.array(BETS)
_HIGHEST, _LOWEST = -ndtri(P_FLOOR), -ndtri(P_CEILING)


def _mean_bets() -> FloatArray:
    """Return the mean of each bet (4,) over a uniform p that is held to its bounds: what makes it a calibrator."""
    ends = sum(
        share * np.exp(_BETS * end - _BETS**2 / 2) for share, end in ((P_FLOOR, _HIGHEST), (1 - P_CEILING, _LOWEST))
    )
    return np.asarray(ndtr(_HIGHEST - _BETS) - ndtr(_LOWEST - _BETS) + ends)


_LOG_COST = _BETS**2 / 2 + np.log(_mean_bets())
# what a stream that stays at its mean reaches, and a little: no threshold lies below
LEAST_THRESHOLD = 0.1 + float(np.log(np.mean(1 / (1 - np.exp(-_LOG_COST)))))


def window_alarm(p: float, *, alpha: float) -> bool:
    """Return whether one comparison alarms: p <= alpha. With alpha = 1/L it is the plain rule of run length L."""
    return bool(p_values("p", [p])[0] <= probability("alpha", alpha))


def scores(p: npt.ArrayLike) -> FloatArray:
    """Return Phi^-1(1 - p) of p-values (n,), within [-3.1, 4.8]: p is held to [1e-6, 0.999].

    >>> scores([0.5, 0.025]).round(3).tolist()
    [-0.0, 1.96]
    """
    return np.asarray(-ndtri(np.clip(p_values("p", p), P_FLOOR, P_CEILING)))


def log_bets(score: FloatArray) -> FloatArray:
    """Return the log e-value of every bet, (..., 4), of scores (...): of mean exactly 1 for a uniform p."""
    return np.asarray(score[..., None] * _BETS - _LOG_COST)


def conformal_p_value(history: npt.ArrayLike, score: float, *, rng: np.random.Generator) -> float:
    """Return the rank of a window's score among earlier windows' (n,), in (0, 1]; ties are broken at random.

    Uniform and independent of every earlier rank when the windows are exchangeable, whatever they are compared with:
    what `anytime` needs, where p-values against one finite reference share its chance and are not independent.
    Source: Vovk, Gammerman & Shafer 2005, sec. 2.2.5 and theorem 8.2.

    >>> conformal_p_value([1.0, 2.0, 3.0], 2.5, rng=np.random.default_rng(0)) <= 0.5
    True
    """
    earlier = np.asarray(history, dtype=np.float64)
    if earlier.ndim != 1 or not np.isfinite(earlier).all() or not np.isfinite(score):
        raise DetectorInputError(f"history must be 1-D and finite, got shape {earlier.shape} and score {score}")
    ties = 1 + np.count_nonzero(earlier == score)
    return float((np.count_nonzero(earlier > score) + (1.0 - rng.random()) * ties) / (earlier.size + 1))


@dataclass(frozen=True, slots=True)
class AnytimeState:
    """An e-process of `windows` p-values: log capital of each bet, now and at its highest over all windows."""

    log_capitals: tuple[float, ...]
    log_e_value: float
    peak_log_e_value: float
    windows: int


def start_anytime() -> AnytimeState:
    """Return the state before the first window: all capital of 1, half of it staked on the first window."""
    return AnytimeState((float(np.log(0.5)),) * len(BETS), 0.0, 0.0, 0)


def update_anytime(state: AnytimeState, p: float) -> AnytimeState:
    """Return the state after a window of p-value p, which must be valid given the windows before it.

    A change may come at any window t, so a share 1/(t(t + 1)) of the capital starts betting at t; what has not
    started waits. The whole is a supermartingale from 1, so it ever reaches 1/alpha with probability <= alpha.
    Source: Ville 1939; Shin, Ramdas & Rinaldo 2023, sec. 2 (mixing over change points).
    """
    capitals = anytime_step(np.array(state.log_capitals), scores([p])[0], windows=state.windows + 1)
    log_e = log_e_value(capitals, windows=state.windows + 1)
    peak = max(state.peak_log_e_value, float(log_e))
    return AnytimeState(tuple(capitals.tolist()), float(log_e), peak, state.windows + 1)


def anytime_step(log_capitals: FloatArray, score: FloatArray | float, *, windows: int) -> FloatArray:
    """Return log capitals (..., 4) after window number `windows` of score (...), the next window's share added."""
    share = -np.log((windows + 1.0) * (windows + 2.0))
    return np.asarray(np.logaddexp(log_capitals + log_bets(np.asarray(score)), share))


def log_e_value(log_capitals: FloatArray, *, windows: int) -> FloatArray:
    """Return the log of the whole capital (...): the mean of the bets (..., 4) and what has not started betting."""
    betting = np.logaddexp.reduce(log_capitals, axis=-1) - np.log(len(BETS))
    return np.asarray(np.logaddexp(betting, -np.log(windows + 2.0)))


def anytime_alarm(state: AnytimeState, *, alpha: float) -> bool:
    """Return whether the capital has ever reached 1/alpha; once it has, it stays an alarm."""
    return bool(state.peak_log_e_value >= -np.log(probability("alpha", alpha)))


@dataclass(frozen=True, slots=True)
class StreamModel:
    """What is usual for a stream of scores: a mean for each phase of the season, a deviation, AR(1) correlation."""

    means: tuple[float, ...]
    deviation: float
    correlation: float
    innovation_deviation: float


@dataclass(frozen=True, slots=True)
class RunLengthRule:
    """The log threshold at which alarms come once in `expected_windows` without drift, on a stream like the model's."""

    expected_windows: float
    log_threshold: float
    model: StreamModel


@dataclass(frozen=True, slots=True)
class RunLengthState:
    """Shiryaev–Roberts statistics since the last alarm: log(1 + R) of each bet, and the last standardised score."""

    log_growths: tuple[float, ...]
    previous: float | None
    log_statistic: float
    alarm: bool
    windows: int


STANDARD_STREAM = StreamModel(means=(0.0,), deviation=1.0, correlation=0.0, innovation_deviation=1.0)


def calibrate_run_length(
    reference_p: npt.ArrayLike | None = None,
    *,
    expected_windows: float,
    rng: np.random.Generator,
    period: int = 1,
) -> RunLengthRule | TooLittleData:
    """Return the rule whose false alarms come once in `expected_windows` (>= 10) windows on average.

    reference_p (n,) are the p-values of windows known to be usual, in order, NaN for one that is missing, each judged
    against the reference as later ones will be and not part of it; at least 100 must be known. `period` is the season's
    length in windows (168: a week of hours), of which at least 4 must be there; a phase known in fewer than two of
    them is given the mean of all. Each week is standardised by the others, an AR(1) filter whitens, and
    the threshold is read off streams redrawn from the reference's own innovations. Without reference_p, p-values are
    taken as independent and uniform; conservative ones only alarm later. About 0.3 s for 1,000 windows.
    Source: Shiryaev 1963; Roberts 1966; Shin, Ramdas & Rinaldo 2023, eq. 11 (e-SR).
    """
    if not 10 <= expected_windows < 1e6 or period < 1:
        raise DetectorInputError(
            f"expected_windows lies in [10, 1e6) and period is at least 1, got {expected_windows} and {period}"
        )
    if reference_p is None:
        model, innovations = STANDARD_STREAM, None
    else:
        usual = _known_scores(reference_p)
        known, spanned = int(np.count_nonzero(~np.isnan(usual))), MINIMUM_CYCLES * period if period > 1 else 0
        if known < MINIMUM_WINDOWS:
            return TooLittleData("reference windows", got=known, needed=max(MINIMUM_WINDOWS, spanned))
        if usual.size < spanned:
            return TooLittleData("reference windows", got=usual.size, needed=spanned)
        means, rest = _season(usual, period=period)
        alike = int(np.count_nonzero(~np.isnan(rest)))
        if alike < MINIMUM_WINDOWS // 2:
            return TooLittleData("reference windows of a phase with another", got=alike, needed=MINIMUM_WINDOWS // 2)
        model, innovations = _fitted(means, rest)
    threshold = _simulated_threshold(innovations, expected_windows=expected_windows, rng=rng)
    return RunLengthRule(float(expected_windows), threshold, model)


def _known_scores(p: npt.ArrayLike) -> FloatArray:
    """Return the scores of p-values (n,), NaN where they are."""
    given = np.array(p, dtype=np.float64, ndmin=1)
    known = ~np.isnan(given)
    if known.any():
        given[known] = scores(given[known])
    return given


def _season(usual: FloatArray, *, period: int) -> tuple[FloatArray, FloatArray]:
    """Return each phase's mean (period,), and the scores of the whole cycles less the other cycles' mean, NaN kept.

    A week is standardised by the others, as later weeks are by all of these: with one more week's chance in it.
    """
    if period == 1:
        mean = np.nanmean(usual, keepdims=True)
        return mean, usual - mean
    cycles = usual.size // period
    weeks = usual[: cycles * period].reshape(cycles, period)
    known = np.count_nonzero(~np.isnan(weeks), axis=0)
    totals, counted = np.nansum(weeks, axis=0), np.maximum(known, 2)
    means = np.where(known >= 2, totals / counted, np.nanmean(usual))
    others = np.where(known >= 2, (totals - weeks) / (counted - 1), np.nan)
    return means, ((weeks - others) * np.sqrt((1 + 1 / counted) / (1 + 1 / (counted - 1)))).ravel()


def _fitted(means: FloatArray, rest: FloatArray) -> tuple[StreamModel, FloatArray]:
    """Return the model and the reference's own innovations, of the deviation that later windows will have."""
    deviation = max(float(np.nanstd(rest)), DEVIATION_FLOOR)
    rest = rest / deviation
    power = float(np.nanmean(rest**2))
    pairs = rest[1:] * rest[:-1]
    together = float(np.mean(pairs[~np.isnan(pairs)])) if not np.isnan(pairs).all() else 0.0
    correlation = float(np.clip(together / power, -0.95, 0.95)) if power > 0 else 0.0
    model = StreamModel(tuple(means.tolist()), deviation, correlation, innovation_deviation=1.0)
    innovations = innovation(model, rest[1:], previous=rest[:-1])
    innovations = innovations[~np.isnan(innovations)] if not np.isnan(innovations).all() else rest[~np.isnan(rest)]
    spread = max(float(innovations.std()), DEVIATION_FLOOR)
    return replace(model, innovation_deviation=spread), innovations / spread


def _simulated_threshold(innovations: FloatArray | None, *, expected_windows: float, rng: np.random.Generator) -> float:
    """Return the log threshold whose alarms, over redrawn streams, come once in expected_windows."""
    length = int(np.ceil(3 * expected_windows))
    streams = int(np.clip(SIMULATED_STEPS // length, 200, 2000))
    highest = np.empty((length, streams), dtype=np.float32)
    pool = rng.standard_normal(NORMAL_POOL) if innovations is None else innovations
    e_values = np.exp(log_bets(pool))
    growths, peak = np.ones((streams, len(BETS))), np.ones(streams)
    for step in range(length):  # run_length_step without logarithms, ten times faster
        growths = np.minimum(1 + growths * e_values[rng.integers(0, pool.size, size=streams)], GREATEST)
        peak = np.maximum(peak, growths.mean(axis=1))
        highest[step] = np.log(peak)
    low, high = float(highest[0].min()), float(highest[-1].max())
    for _ in range(40):
        middle = (low + high) / 2
        before = np.count_nonzero(highest < middle, axis=0)
        alarmed = int(np.count_nonzero(before < length))
        if np.minimum(before + 1, length).sum() < expected_windows * max(alarmed, 1):
            low = middle
        else:
            high = middle
    return max(high, LEAST_THRESHOLD)


def innovation(model: StreamModel, standard: FloatArray | float, *, previous: FloatArray | float | None) -> FloatArray:
    """Return what is new in standardised scores (...) after the previous ones: white, of deviation 1 without drift."""
    new = np.asarray(standard, dtype=np.float64)
    if previous is not None:
        new = (new - model.correlation * np.asarray(previous)) / np.sqrt(1 - model.correlation**2)
    return np.asarray(new / model.innovation_deviation)


def run_length_step(log_growths: FloatArray, innovation: FloatArray | float) -> FloatArray:
    """Return log(1 + R) (..., 4) after an innovation (...): R' = (1 + R) · e."""
    return np.asarray(np.logaddexp(0.0, log_growths + log_bets(np.asarray(innovation))))


def log_statistic(log_growths: FloatArray) -> FloatArray:
    """Return the log of the mean of 1 + R over the bets (..., 4)."""
    return np.asarray(np.logaddexp.reduce(log_growths, axis=-1) - np.log(len(BETS)))


def start_run_length() -> RunLengthState:
    """Return the state before the first window, and after a baseline changes."""
    return RunLengthState((0.0,) * len(BETS), None, 0.0, False, 0)


def update_run_length(
    state: RunLengthState, p: float, *, rule: RunLengthRule, phase: int = 0, follows: bool = True
) -> RunLengthState:
    """Return the state after a window of p-value p; after an alarm the statistics begin anew.

    phase is the window's place in the season, 0 <= phase < period of the rule (counted from the reference's first
    window); follows=False says that a window is missing before this one.
    """
    model = rule.model
    if not 0 <= phase < len(model.means):
        raise DetectorInputError(f"phase lies in [0, {len(model.means)}), got {phase}")
    standard = float((scores([p])[0] - model.means[phase]) / model.deviation)
    new = innovation(model, standard, previous=state.previous if follows else None)
    growths = run_length_step(np.zeros(len(BETS)) if state.alarm else np.array(state.log_growths), new)
    statistic = float(log_statistic(growths))
    return RunLengthState(
        tuple(growths.tolist()), standard, statistic, statistic >= rule.log_threshold, state.windows + 1
    )
