"""Run lengths and detection delays of the three alarm modes: the tables of docs/math/calibration.md.

python bench/calibration.py   (about seven minutes on one core)
"""

import time
from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr

from detectors.calibration import (
    BETS,
    RunLengthRule,
    anytime_step,
    calibrate_run_length,
    innovation,
    log_e_value,
    log_statistic,
    run_length_step,
    scores,
)

WEEK = 168
QUIET, SHIFTED, STREAMS = 50, 600, 500
Alarm = Callable[[np.ndarray], np.ndarray]


def p_of(z: np.ndarray) -> np.ndarray:
    return np.maximum(ndtr(-z), 1e-300)


def stream(rng, length: int, count: int, *, phi: float, season: np.ndarray | None) -> np.ndarray:
    """Scores (length, count): AR(1) of variance 1 with a weekly mean."""
    noise = rng.normal(size=(length + 100, count))
    z = lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=0)[100:]
    return z if season is None else z + season[np.arange(length) % WEEK, None]


def first_alarms(rule: RunLengthRule, z: np.ndarray) -> np.ndarray:
    """Window number of the first alarm of each stream, 0 where there was none."""
    model = rule.model
    usual = scores(p_of(z).ravel()).reshape(z.shape)
    usual = (usual - np.array(model.means)[np.arange(z.shape[0]) % len(model.means), None]) / model.deviation
    growths, found = np.zeros((z.shape[1], len(BETS))), np.zeros(z.shape[1], dtype=int)
    for t in range(z.shape[0]):
        growths = run_length_step(growths, innovation(model, usual[t], previous=usual[t - 1] if t else None))
        found[(log_statistic(growths) >= rule.log_threshold) & (found == 0)] = t + 1
    return found


def run_length(rng, expected: int, *, phi: float, seasonal: bool, weeks: int | None, references: int) -> str:
    alarms = exposed = 0
    each = []
    for _ in range(references):
        season = rng.normal(size=WEEK) if seasonal else None
        past = None
        if weeks is not None:
            past = p_of(stream(rng, weeks * WEEK, 1, phi=phi, season=season)[:, 0])
        rule = calibrate_run_length(past, expected_windows=expected, rng=rng, period=WEEK if seasonal else 1)
        found = first_alarms(rule, stream(rng, 4 * expected, 50, phi=phi, season=season))
        here, time_at_risk = np.count_nonzero(found), np.where(found, found, 4 * expected).sum()
        alarms, exposed = alarms + here, exposed + time_at_risk
        each.append(time_at_risk / max(1, here))
    low, high = np.percentile(each, [10, 90])
    name = f"φ = {phi}, {'weekly season' if seasonal else 'no season'}, {weeks or 'no'} reference weeks"
    return f"| {expected} | {name} | {exposed / alarms:.0f} | {low:.0f} – {high:.0f} | {alarms} |"


def delay(alarm: Alarm, rng, shift: float) -> str:
    z = rng.normal(size=(QUIET + SHIFTED, STREAMS))
    z[QUIET:] += shift
    fired = alarm(z)
    quiet = ~fired[:QUIET].any(axis=0)
    after = fired[QUIET:, quiet]
    missed = (~after.any(axis=0)).mean()
    mean = np.where(after.any(axis=0), after.argmax(axis=0) + 1, SHIFTED).mean()
    return f"{mean:.1f}" if missed < 0.05 else f"> {mean:.0f}"


def window_mode(alpha: float) -> Alarm:
    return lambda z: p_of(z) <= alpha


def run_length_mode(expected: int, rng) -> Alarm:
    rule = calibrate_run_length(expected_windows=expected, rng=rng)

    def alarm(z: np.ndarray) -> np.ndarray:
        found = first_alarms(rule, z)
        return (np.arange(1, z.shape[0] + 1)[:, None] >= found) & (found > 0)

    return alarm


def anytime_mode(alpha: float) -> Alarm:
    def alarm(z: np.ndarray) -> np.ndarray:
        capitals = np.full((z.shape[1], len(BETS)), np.log(0.5))
        fired, held = np.zeros(z.shape, dtype=bool), scores(p_of(z).ravel()).reshape(z.shape)
        for t in range(z.shape[0]):
            capitals = anytime_step(capitals, held[t], windows=t + 1)
            fired[t] = log_e_value(capitals, windows=t + 1) >= -np.log(alpha)
        return np.logical_or.accumulate(fired, axis=0)

    return alarm


def cusum_mode(rng, expected: int) -> Alarm:
    """A one-sided CUSUM of z - 1/2 whose threshold gives this run length; shown beside, not one of our modes."""
    quiet = rng.normal(size=(5 * expected, 400))
    low, high = 1.0, 12.0
    while high - low > 0.01:
        middle = (low + high) / 2
        fired = cusum(quiet) >= middle
        found = np.where(fired.any(axis=0), fired.argmax(axis=0) + 1, quiet.shape[0])
        low, high = (middle, high) if found.sum() / max(1, fired.any(axis=0).sum()) < expected else (low, middle)
    return lambda z: cusum(z) >= high


def cusum(z: np.ndarray) -> np.ndarray:
    sums, kept = np.zeros(z.shape[1]), np.empty(z.shape)
    for t in range(z.shape[0]):
        sums = np.maximum(0.0, sums + z[t] - 0.5)
        kept[t] = sums
    return kept


def anytime_alarms(rng, *, alpha: float, windows: int, streams: int) -> str:
    capitals, peak = np.full((streams, len(BETS)), np.log(0.5)), np.full(streams, -np.inf)
    for t in range(windows):
        capitals = anytime_step(capitals, rng.standard_normal(streams), windows=t + 1)
        peak = np.maximum(peak, log_e_value(capitals, windows=t + 1))
    share = np.mean(peak >= -np.log(alpha))
    return f"anytime, alpha {alpha}, {windows} windows, {streams} streams: {share:.4f} ever alarmed"


def main() -> None:
    started = time.perf_counter()
    rng = np.random.default_rng(20)
    for expected, references in ((100, 80), (1000, 80)):
        print(run_length(rng, expected, phi=0.0, seasonal=False, weeks=None, references=10), flush=True)
        for phi, seasonal in ((0.0, False), (0.5, False), (0.0, True), (0.5, True)):
            line = run_length(rng, expected, phi=phi, seasonal=seasonal, weeks=13, references=references)
            print(line, flush=True)
    modes = {
        "window, alpha = 1/100": window_mode(1 / 100),
        "run_length 100": run_length_mode(100, rng),
        "window, alpha = 1/1000": window_mode(1 / 1000),
        "run_length 1000": run_length_mode(1000, rng),
        "anytime, alpha = 0.05": anytime_mode(0.05),
        "anytime, alpha = 0.01": anytime_mode(0.01),
    }
    for name, alarm in modes.items():
        cells = " | ".join(delay(alarm, rng, shift) for shift in (0.25, 0.5, 1.0, 2.0, 3.0))
        print(f"| {name} | {cells} |", flush=True)
    aside = np.random.default_rng(23)
    alarm = cusum_mode(aside, 1000)
    delays = " | ".join(delay(alarm, aside, shift) for shift in (0.25, 0.5, 1.0, 2.0, 3.0))
    print(f"| CUSUM of z - 1/2, run length 1000 | {delays} |", flush=True)
    print(run_length(aside, 1000, phi=0.5, seasonal=True, weeks=26, references=80), flush=True)
    print(anytime_alarms(rng, alpha=0.05, windows=100_000, streams=1000))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
