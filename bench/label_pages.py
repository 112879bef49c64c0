"""Pages of an objective on labels: false ones in healthy months, and how soon a jump of the error ratio is found.

    python -m bench.label_pages

The objective is 99 %, labels come one by one at 5 to 1,000 an hour, healthy models err at 0.5 %. The oracle is Page's
CUSUM told both error ratios, its threshold set so that it pages falsely 0.05 times in 30 days. Rules are evaluated
every minute, by the arithmetic of alerts.burn. Writes bench/results/label_pages.json.
"""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alerts.slo import Slo
from alerts.slo_rules import PROVEN_SHARE, escalated_factor, shortest_paging
from alerts.windows import BurnWindows, read_windows, seconds_of

RESULT = Path(__file__).parent / "results" / "label_pages.json"
PAIRS = [pair for pair in read_windows() if pair.severity == "page"]
SLO = Slo(service="m", name="accuracy", objective=0.99, total="labels_total", bad="labels_wrong_total")
HEALTHY, BROKEN, DAYS, RUNS = 0.005, 0.2, 30, 1000
RATES = (5, 20, 100, 1000)  # labels an hour
MINUTES, DAY = DAYS * 1440, 1440
FALSE_PAGES = 0.05
Counts = npt.NDArray[np.int64]


def draw(rng: np.random.Generator, rate: float, ratios: npt.NDArray[np.float64]) -> tuple[Counts, Counts]:
    """Return (bad, total) labels of each minute."""
    total = rng.poisson(rate / 60, size=ratios.size)
    return rng.binomial(total, ratios), total


def within(counts: Counts, window: str) -> npt.NDArray[np.float64]:
    minutes = seconds_of(window) // 60
    held = np.concatenate([[0], np.cumsum(counts)])
    begin = np.maximum(np.arange(1, counts.size + 1) - minutes, 0)
    return (held[1:] - held[begin]).astype(float)


def bound(bad: npt.NDArray[np.float64], total: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return alerts.burn.lower_bound of each minute."""
    some = np.maximum(bad, 1)
    root = np.clip(1 - 1 / (9 * some) - SLO.evidence_z / (3 * np.sqrt(some)), 0, None)
    return np.where(bad > 0, some * root**3, 0) / np.maximum(total, 1)


def pages(bad: Counts, total: Counts) -> npt.NDArray[np.bool_]:
    """Return whether the page fires, at each minute."""
    fires = np.zeros(bad.size, dtype=bool)
    for pair in PAIRS:
        fires |= _burning(pair, bad, total)
    factor, shortest = escalated_factor(SLO, PAIRS, 4.0), shortest_paging(PAIRS)
    if factor is not None and shortest is not None:
        fires |= bound(within(bad, shortest), within(total, shortest)) > factor * SLO.error_budget
    return fires


def _burning(pair: BurnWindows, bad: Counts, total: Counts) -> npt.NDArray[np.bool_]:
    limit = pair.factor(SLO.period_days) * SLO.error_budget
    fires = np.ones(bad.size, dtype=bool)
    for window in (pair.short, pair.long):
        wrong, counted = within(bad, window), within(total, window)
        fires &= wrong > limit * counted
    return fires & (bound(wrong, counted) > limit * PROVEN_SHARE)


def cusum(bad: Counts, total: Counts) -> npt.NDArray[np.float64]:
    """Return Page's statistic after each minute, by the identity of a walk over its running minimum."""
    walk = bad * np.log(BROKEN / HEALTHY) + (total - bad) * np.log((1 - BROKEN) / (1 - HEALTHY))
    path = np.cumsum(walk)
    return path - np.minimum(np.minimum.accumulate(path), 0)


def incidents(fires: npt.NDArray[np.bool_]) -> int:
    return int(np.sum(fires[1:] & ~fires[:-1]) + fires[0])


def measure(rate: float) -> dict[str, float]:
    healthy, false_pages, peaks = np.full(MINUTES, HEALTHY), 0, []
    for run in range(RUNS):
        bad, total = draw(np.random.default_rng([1, run, int(rate)]), rate, healthy)
        false_pages += incidents(pages(bad, total))
        peaks.append(float(cusum(bad, total).max()))
    threshold = float(np.quantile(peaks, 1 - FALSE_PAGES))
    ours, oracle = [], []
    for run in range(RUNS):
        rng = np.random.default_rng([2, run, int(rate)])
        begins = DAY + int(rng.integers(DAY))
        ratios = np.where(np.arange(begins + 3 * DAY) < begins, HEALTHY, BROKEN)
        bad, total = draw(rng, rate, ratios)
        for delays, fires in ((ours, pages(bad, total)), (oracle, cusum(bad, total) > threshold)):
            found = np.flatnonzero(fires[begins:])
            delays.append(float(found[0] + 1) if found.size else float("inf"))
    return {
        "labels_per_hour": rate,
        "false_pages_in_30_days": false_pages / RUNS,
        "found_ratio": float(np.mean(np.isfinite(ours))),
        "median_minutes": float(np.median(ours)),
        "oracle_median_minutes": float(np.median(oracle)),
        "times_oracle": round(float(np.median(ours) / np.median(oracle)), 2),
        "mean_times_oracle": round(float(np.mean(ours) / np.mean(oracle)), 2),
    }


def main() -> None:
    rows = []
    for rate in RATES:
        rows.append(measure(rate))
        print(rows[-1], flush=True)
    RESULT.write_text(json.dumps({"runs": RUNS, "objective": SLO.objective, "rows": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
