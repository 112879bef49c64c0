"""How many broken rules the generated promtool tests notice; factors, windows and operators are changed one by one.

    python -m bench.rule_mutants

Writes bench/results/rule_mutants.json.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alerts.slo import Slo
from alerts.slo_rules import render_slo_rules
from alerts.slo_tests import render_slo_counter_tests, render_slo_tests
from alerts.windows import read_windows

PAIRS = read_windows()
SLO = Slo(
    service="intents",
    name="availability",
    objective=0.999,
    total='requests_total{model="intents"}',
    bad='requests_total{model="intents",code=~"5.."}',
)
RESULT = Path(__file__).parent / "results" / "rule_mutants.json"
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
OPERATORS = {" > (": (" < (", " >= ("), " and ignoring": (" or ignoring",), " or ignoring": (" and ignoring",)}
SWAPS = {" / (": (" * (",), "1 - slo": ("1 + slo",), "clamp_max(": ("clamp_min(",), "^ 3": ("^ 2",)}


def mutants(expression: str) -> Iterator[tuple[str, str]]:
    """Yield (kind, changed expression), each with one change."""
    for found in re.finditer(r"\((\d+(?:\.\d+)?) \* (0\.\d+)\)", expression):
        for times in (0.9, 1.1):
            changed = f"({float(found[1]) * times:.12g} * {found[2]})"
            yield "factor", expression[: found.start()] + changed + expression[found.end() :]
    for found in re.finditer(
        r"(?<=ratio_rate)\d+[mhd]|(?<=lower_bound)\d+[mhd]|(?<=increase)\d+[mhd]|(?<=\[)\d+[mhd](?=\])", expression
    ):
        place = WINDOWS.index(found[0])
        for other in {WINDOWS[max(place - 1, 0)], WINDOWS[min(place + 1, len(WINDOWS) - 1)]} - {found[0]}:
            yield "window", expression[: found.start()] + other + expression[found.end() :]
    for kind, table in (("operator", OPERATORS), ("arithmetic", SWAPS)):
        for old, replacements in table.items():
            for found in re.finditer(re.escape(old), expression):
                for new in replacements:
                    yield kind, expression[: found.start()] + new + expression[found.end() :]


def caught(promtool: str, folder: Path, rules: str) -> bool:
    (folder / "r.yml").write_text(rules, encoding="utf-8")
    tests = [folder / "alerts.tests.yml", folder / "counters.tests.yml"]
    done = subprocess.run([promtool, "test", "rules", *tests], capture_output=True, check=False)
    return done.returncode != 0


def main() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        sys.exit("promtool is missing: install prometheus")
    rules = render_slo_rules([SLO], PAIRS)
    counts: dict[str, list[int]] = {}
    survivors = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name, render in (("alerts", render_slo_tests), ("counters", render_slo_counter_tests)):
            (folder / f"{name}.tests.yml").write_text(render([SLO], PAIRS, rule_file="r.yml"), encoding="utf-8")
        if caught(promtool, folder, rules):
            sys.exit("the rules fail their own tests")
        for line in [line for line in rules.splitlines() if line.strip().startswith("expr:")]:
            for kind, changed in mutants(line):
                tally = counts.setdefault(kind, [0, 0])
                tally[1] += 1
                if caught(promtool, folder, rules.replace(line, changed)):
                    tally[0] += 1
                else:
                    survivors.append({"kind": kind, "rule": line.strip()[:300], "mutant": changed.strip()[:300]})
                print(kind, *tally, flush=True)
    noticed, made_in_all = (sum(tally[place] for tally in counts.values()) for place in (0, 1))
    answer = {"caught_ratio": round(noticed / made_in_all, 4), "mutants": made_in_all, "caught": noticed}
    answer |= {
        "by_kind": {kind: {"caught": a, "mutants": b} for kind, (a, b) in counts.items()},
        "survivors": survivors,
    }
    RESULT.write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{noticed} of {made_in_all} mutants caught; {RESULT}")


if __name__ == "__main__":
    main()
