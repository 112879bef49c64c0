"""A bias audit beside fairlearn, and what its intervals and verdicts do over sizes, rates, groups and looks.

    python -m bench.bias

Speed: 1e6 rows × 100 groups, all rates with intervals and verdicts, and the widest gap of each; and fairlearn's
MetricFrame with bootstrap on 100,000 rows × 7 groups × 20 resamples, where ours runs once more, without resampling.
Interleaved, medians of 3. Writes bench/results/bias.json.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fairlearn.metrics import MetricFrame, false_negative_rate, false_positive_rate, selection_rate
from scipy.stats import binom
from sklearn.metrics import accuracy_score, precision_score, recall_score

from bench.machine import describe
from detectors.bias import METRICS, BiasVerdict, audit_groups, group_counts, look_alpha, worst_gap
from detectors.rates import difference_bounds, difference_p_value, rate_bounds, ratio_bounds, rows_to_show

RESULT = Path(__file__).parent / "results" / "bias.json"
THEIRS = {
    "selection_rate": selection_rate,
    "tpr": recall_score,
    "fpr": false_positive_rate,
    "fnr": false_negative_rate,
    "precision": precision_score,
    "accuracy": accuracy_score,
}
SIZES = (8, 15, 30, 60, 100, 300, 1000, 3000, 10_000)
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


def rows(n: int, groups: int, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    return rng.integers(0, groups, n), rng.integers(0, 2, n), rng.integers(0, 2, n)


def ours(codes: Any, selected: Any, truths: Any, *, groups: int) -> None:
    counts = group_counts([str(g) for g in range(groups)], codes, selected, truths)
    audit_groups(counts, reference="0")
    for metric in METRICS:
        worst_gap(counts, metric)


def theirs(codes: Any, selected: Any, truths: Any, *, resamples: int) -> None:
    MetricFrame(
        metrics=THEIRS,
        y_true=truths,
        y_pred=selected,
        sensitive_features=codes,
        n_boot=resamples,
        ci_quantiles=[0.025, 0.975],
        random_state=0,
    ).difference_ci()


def seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def speed() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    large, small = rows(10**6, 100, rng), rows(10**5, 7, rng)
    took: dict[str, list[float]] = {"large": [], "ours": [], "fairlearn": []}
    for _ in range(3):
        took["large"].append(seconds(lambda: ours(*large, groups=100)))
        took["ours"].append(seconds(lambda: ours(*small, groups=7)))
        took["fairlearn"].append(seconds(lambda: theirs(*small, resamples=20)))
    middle = {name: statistics.median(values) for name, values in took.items()}
    return {
        "seconds_1e6_rows_100_groups": round(middle["large"], 3),
        "seconds_1e5_rows_7_groups_fairlearn_20_resamples": {
            name: round(middle[name], 3) for name in ("ours", "fairlearn")
        },
        "times_faster_than_fairlearn": round(middle["fairlearn"] / middle["ours"], 1),
    }


def coverage() -> dict[str, Any]:
    """Exact for rates; of differences and ratios by 4,000 draws of each cell, against a group of 1,000."""
    rng = np.random.default_rng(2)
    rates, differences, ratios = [], [], []
    for n in SIZES:
        hits = np.arange(n + 1)
        low, high = rate_bounds(hits, np.full(n + 1, n))
        for p in RATES:
            rates.append(float(binom.pmf(hits, n, p)[(low <= p) & (p <= high)].sum()))
            for base in (0.05, 0.3, 0.8):
                drawn, other = rng.binomial(n, p, 4000), rng.binomial(1000, base, 4000)
                low_d, high_d = difference_bounds(drawn, n, other, 1000)
                differences.append(float(np.mean((low_d <= p - base) & (p - base <= high_d))))
                _, low_r, high_r = ratio_bounds(drawn, n, other, 1000)
                ratios.append(float(np.mean((low_r <= p / base) & (p / base <= high_r))))
    named = {"rate": rates, "difference": differences, "ratio": ratios}
    return {
        name: {
            "cells": len(found),
            "least": round(min(found), 4),
            "mean": round(float(np.mean(found)), 4),
            "within_93_to_97": round(float(np.mean([0.93 <= one <= 0.97 for one in found])), 3),
            "above_97": round(float(np.mean([one > 0.97 for one in found])), 3),
        }
        for name, found in named.items()
    }


def year(groups: int, size: int, *, years: int, rng: np.random.Generator) -> dict[str, Any]:
    """How many years of daily audits of alike groups call a disparity, and how many fours-fifths flags they raise."""
    false, flagged, audits = 0, 0, 0
    names, codes = [str(g) for g in range(groups)], np.repeat(np.arange(groups), size)
    for _ in range(years):
        wrong = False
        for day in range(1, 366):
            selected = rng.random(codes.size) < 0.3
            counts = group_counts(names, codes, selected)
            hits, n = counts.rate("selection_rate")
            share = hits / n
            flagged, audits = flagged + bool((share < 0.8 * share.max()).any()), audits + 1
            wrong |= audit_groups(counts, reference="0", alpha=look_alpha(0.05, day)).verdict is BiasVerdict.DISPARITY
        false += wrong
    told = {"groups": groups, "rows_a_group": size, "years": years, "years_with_a_false_disparity": false / years}
    return {**told, "audits_with_a_four_fifths_flag": round(flagged / audits, 3)}


def power(rng: np.random.Generator) -> list[dict[str, Any]]:
    """How often a gap of 10 points is found at the rows that the audit says are enough."""
    found = []
    for alpha in (0.05 / 6, look_alpha(0.05, 365) / 6):
        for base in (0.1, 0.3, 0.5, 0.8):
            n = rows_to_show(0.1, base_rate=base, base_n=20_000, alpha=alpha)
            if n is None:
                continue
            other = rng.binomial(20_000, base, 2000)
            p = difference_p_value(rng.binomial(n, base + 0.1, 2000), n, other, 20_000)
            found.append({"alpha": alpha, "base_rate": base, "rows": n, "found": float(np.mean(p <= alpha))})
    return found


def main() -> None:
    rng = np.random.default_rng(3)
    told = {
        "machine": describe(),
        "speed": speed(),
        "coverage": coverage(),
        "years": [year(7, 100, years=40, rng=rng), year(20, 100, years=20, rng=rng), year(100, 50, years=10, rng=rng)],
        "planted_gap_of_10_points": power(rng),
    }
    RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
