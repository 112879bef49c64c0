"""Alarms of `run_length` on seasonal texts, calibrated on the reference's own windows and as if independent.

python -m bench.reference_stream [seeds]   (14 by default: about four minutes on one core)
"""

import sys
from datetime import timedelta

import numpy as np

from detectors.calibration import start_run_length, update_run_length
from detectors.compare import compare_sketches
from detectors.results import Comparison
from monitor.clock import EPOCH
from monitor.jobs.baseline import Observations, build_reference, fold_observations
from monitor.jobs.calibration import JudgedWindow, StreamRule, stream_rule
from monitor.jobs.stream import reference_stream

DAY, FIRST, LATER = timedelta(days=1), 20_000, 21_000
EXPECTED, TEXTS, WIDTH, PAST, FUTURE = 50, 60, 16, 112, 150


def texts_of(rng: np.random.Generator, *, first: int, days: int) -> Observations:
    """Two topics, half and half, and on one weekday 85 to 15."""
    numbers = np.repeat(np.arange(first, first + days), TEXTS)
    vectors = rng.normal(size=(numbers.size, WIDTH))
    vectors[rng.random(numbers.size) < np.where(numbers % 7 == 6, 0.85, 0.5), 0] += 3.0
    return Observations(vectors, (), hours=numbers * 24 + 5)


def alarms(stream: list[JudgedWindow], calibrated: StreamRule) -> int:
    state, found = start_run_length(), 0
    for window in stream:
        phase = calibrated.phase((window.start - EPOCH) // DAY)
        state = update_run_length(state, window.p_value, rule=calibrated.rule, phase=phase)
        found += state.alarm
    return found


def one_baseline(seed: int) -> tuple[int, int]:
    """Return the alarms over 150 days after one reference of 16 weeks: calibrated on it, and as if independent."""
    rng = np.random.default_rng([9, seed])
    past = texts_of(rng, first=FIRST, days=PAST)
    own = reference_stream(past, window_hours=24, alpha=0.01, permutations=999, minimum=50, rng=rng)
    reference = build_reference(past, rng=rng)
    later = texts_of(rng, first=LATER, days=FUTURE)
    ids, stream = np.arange(len(later)), []
    for day in range(FUTURE):
        now = fold_observations(reference.basis, later, row_ids=ids, chosen=ids[day * TEXTS : (day + 1) * TEXTS])
        compared = compare_sketches(reference.sketch, now, alpha=0.01, permutations=999, rng=rng)
        assert isinstance(compared, Comparison)
        stream.append(JudgedWindow(EPOCH + (LATER + day) * DAY, compared.verdict.p_value, 0, TEXTS))
    rules = [stream_rule(usual, stream, expected_windows=EXPECTED, step=DAY) for usual in (own, None)]
    return alarms(stream, rules[0]), alarms(stream, rules[1])


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 14
    found = np.array([one_baseline(seed) for seed in range(seeds)])
    windows = seeds * FUTURE
    print(f"{windows} windows, {windows / EXPECTED:.0f} alarms configured")
    for name, counts in zip(("on the reference's own windows", "as if independent"), found.T, strict=True):
        print(f"{name}: {counts.sum()} alarms, one in {windows / counts.sum():.0f}")


if __name__ == "__main__":
    main()
