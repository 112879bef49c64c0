"""Minutes until a page and until it resets: our rules beside those that Sloth and Pyrra publish, in Prometheus' engine.

    python -m bench.burn_table

Traffic is steady at 100 requests a minute with an objective of 99.9 %; errors begin after six clean hours, at a rate,
for a while. Sloth: 14.4 with 5m and 1h, 6 with 30m and 6h. Pyrra: 14 with 5m and 1h for 2m, 7 with 30m and 6h for 15m.
Theory is when the long window's error ratio crosses its threshold. Writes bench/results/burn_table.json.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from alerts.burn import seconds_to_fire
from alerts.slo import Slo
from alerts.slo_rules import group_names, recorded, render_slo_rules, threshold
from alerts.windows import read_windows, seconds_of

RESULT = Path(__file__).parent / "results" / "burn_table.json"
PAIRS = read_windows()
SLO = Slo(service="api", name="availability", objective=0.999, total="requests_total", bad='requests_total{code="500"}')
CLEAN, AFTER = 6 * 60, 8 * 60  # minutes before and after the errors
RATES, DURATIONS = (0.01, 0.02, 0.05, 0.1, 0.5, 1.0), (5, 30, 120)
PER_MINUTE = 100
ORDER = [*group_names(SLO), "sloth", "pyrra"]
PUBLISHED = {
    "sloth": (("5m", "1h", 14.4, "0m"), ("30m", "6h", 6.0, "0m")),
    "pyrra": (("5m", "1h", 14.0, "2m"), ("30m", "6h", 7.0, "15m")),
}


def rules() -> str:
    """Return our rules, and those of the others as alerts over the same recordings."""
    document = yaml.safe_load(render_slo_rules([SLO], PAIRS))
    for name, pairs in PUBLISHED.items():
        alerts = []
        for short, long, factor, lasts in pairs:
            limit = threshold(SLO, factor)
            burnt = [f"({recorded(f'slo:sli_error:ratio_rate{one}', SLO)} > {limit})" for one in (short, long)]
            alerts.append({"alert": name, "expr": " and ignoring (sloth_window) ".join(burnt), "for": lasts})
        document["groups"].append({"name": name, "rules": alerts})
    return yaml.safe_dump(document, sort_keys=False, width=10_000)


def case(rate: float, minutes: int) -> dict[str, Any]:
    """Return a promtool case that prints when each alert first and last fired: what it expects is always wrong."""
    bad = round(PER_MINUTE * rate)
    end = CLEAN + minutes + AFTER
    series = {
        'requests_total{code="200"}': f"0+{PER_MINUTE}x{CLEAN} {CLEAN * PER_MINUTE + PER_MINUTE - bad}"
        f"+{PER_MINUTE - bad}x{minutes - 1} "
        f"{CLEAN * PER_MINUTE + (PER_MINUTE - bad) * minutes + PER_MINUTE}+{PER_MINUTE}x{AFTER}",
        'requests_total{code="500"}': f"0x{CLEAN} {bad}+{bad}x{minutes - 1} {bad * minutes}x{AFTER}",
    }
    asked = []
    for selector in ('alertname="SloBurn",sloth_severity="page"', 'alertname="sloth"', 'alertname="pyrra"'):
        moments = f'max without (sloth_window) (timestamp(ALERTS{{{selector},alertstate="firing"}}))'
        for function in ("min", "max"):
            told = f"{function}({function}_over_time(({moments})[{end}m:1m]))"
            asked.append({"expr": told, "eval_time": f"{end}m", "exp_samples": [{"labels": "{}", "value": -1}]})
    listed = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": listed, "promql_expr_test": asked}


def measure(promtool: str, folder: Path, rate: float, minutes: int) -> dict[str, Any]:
    tests = {
        "rule_files": ["r.yml"],
        "evaluation_interval": "1m",
        "group_eval_order": ORDER,
        "tests": [case(rate, minutes)],
    }
    (folder / "t.yml").write_text(yaml.safe_dump(tests, width=10_000), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", folder / "t.yml"], capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    got = [None if one == "nil" else float(one.split()[-1]) / 60 for one in re.findall(r"got: (.*)", told)]
    if len(got) != 6:
        sys.exit(f"promtool answered otherwise than expected: {told[:500]}")
    answer: dict[str, Any] = {
        "error_ratio": rate,
        "minutes_of_errors": minutes,
        "theory_to_page": theory(rate, minutes),
    }
    for place, name in enumerate(("driftwarden", "sloth", "pyrra")):
        first, last = got[2 * place], got[2 * place + 1]
        answer[name] = {
            "minutes_to_page": None if first is None else round(first - CLEAN, 1),
            "minutes_to_reset": None if last is None else round(max(last + 1 - CLEAN - minutes, 0), 1),
        }
    return answer


def theory(rate: float, minutes: int) -> float | None:
    """Return the minutes until the first page pair's long window crosses its factor; None: never."""
    found = [
        seconds_to_fire(rate, error_budget=SLO.error_budget, factor=pair.factor(30), long_seconds=seconds_of(pair.long))
        for pair in PAIRS
        if pair.severity == "page"
    ]
    soonest = min((one / 60 for one in found if one is not None), default=None)
    return None if soonest is None or soonest > minutes else round(soonest, 1)


def main() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        sys.exit("promtool is missing: install prometheus")
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "r.yml").write_text(rules(), encoding="utf-8")
        for rate in RATES:
            for minutes in DURATIONS:
                rows.append(measure(promtool, folder, rate, minutes))
                print(rows[-1], flush=True)
    told = {"requests_per_minute": PER_MINUTE, "objective": SLO.objective, "rows": rows}
    RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
