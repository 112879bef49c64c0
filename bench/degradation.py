"""False incidents of the degradation test: started anew over 30 days each day, or one unbroken; and by a lag of labels.

    python -m bench.degradation

Labels of right and wrong at a constant error ratio, the limit .10, alpha .05. First 10 labels a day for a year: the
test started anew every day over the last 30 days, beside one that goes on. Then 500 predictions a day for 30 days,
right ones labelled at once and wrong ones two days later, read a day after the end: in the order of the labels, and the
mature ones in the order of the predictions. Writes bench/results/degradation.json.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe
from detectors.degradation import DegradationRule, start_degradation, update_degradation

RESULT = Path(__file__).parent / "results" / "degradation.json"
RULE = DegradationRule(limit=0.10, alpha=0.05)
A_DAY, WINDOW, DAYS = 10, 30, 365
HORIZON_DAYS = 3


def false_years(error_ratio: float, *, years: int) -> dict[str, Any]:
    anew, unbroken = 0, 0
    for year in range(years):
        losses = np.random.default_rng([1, year]).random(DAYS * A_DAY) < error_ratio
        state, _ = update_degradation(start_degradation(), losses, rule=RULE)
        unbroken += state.incidents > 0
        for day in range(WINDOW, DAYS + 1):
            seen = losses[(day - WINDOW) * A_DAY : day * A_DAY]
            state, _ = update_degradation(start_degradation(), seen, rule=RULE)
            if state.incidents:
                anew += 1
                break
    return {"error_ratio": error_ratio, "years": years, "anew_daily": anew / years, "unbroken": unbroken / years}


def lagged(error_ratio: float, *, runs: int) -> dict[str, Any]:
    by_label, by_prediction = 0, 0
    for run in range(runs):
        rng = np.random.default_rng([2, run])
        sent = np.arange(WINDOW * 500) / 500
        wrong = rng.random(sent.size) < error_ratio
        came = sent + np.where(wrong, 2.0, 1 / 24)
        now = WINDOW + 1.0
        here = came <= now
        order = np.argsort(came[here], kind="stable")
        state, _ = update_degradation(start_degradation(), wrong[here][order], rule=RULE)
        by_label += state.open
        mature = sent < now - HORIZON_DAYS
        state, _ = update_degradation(start_degradation(), wrong[mature], rule=RULE)
        by_prediction += state.open
    told = {"error_ratio": error_ratio, "runs": runs}
    return {**told, "open_in_order_of_labels": by_label / runs, "open_mature_by_prediction": by_prediction / runs}


def main() -> None:
    told = {
        "machine": describe(),
        "false_years": [false_years(ratio, years=200) for ratio in (0.10, 0.09, 0.08)],
        "lag": [lagged(ratio, runs=100) for ratio in (0.05, 0.08)],
    }
    RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
