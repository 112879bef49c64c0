"""Rules of objectives in the real rule engine: their generated tests, and where other generators go wrong."""

import math
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.burn import increase, lower_bound
from alerts.slo import Slo
from alerts.slo_rules import render_slo_rules
from alerts.slo_tests import render_slo_counter_tests, render_slo_tests
from alerts.windows import read_windows

pytestmark = pytest.mark.integration
PAIRS = read_windows()
TOTAL, BAD = 'requests_total{model="m"}', 'requests_total{model="m",code=~"5.."}'
SLO = Slo(service="m", name="availability", objective=0.999, total=TOTAL, bad=BAD)
ID = 'sloth_id="m-availability"'


@pytest.fixture(scope="module")
def promtool(request: pytest.FixtureRequest) -> str:
    found = shutil.which("promtool")
    if found is None:
        request.getfixturevalue("missing_service")("promtool")
    return str(found)


def passes(promtool: str, folder: Path, rules: str, tests: str) -> str:
    """Return what promtool says of failed tests: nothing when all pass."""
    (folder / "slo.rules.yml").write_text(rules, encoding="utf-8")
    (folder / "tests.yml").write_text(tests, encoding="utf-8")
    checked = subprocess.run([promtool, "check", "rules", folder / "slo.rules.yml"], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout
    done = subprocess.run(
        [promtool, "test", "rules", folder / "tests.yml"], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def holds(expression: str, minute: int, *, value: float = 1) -> dict[str, Any]:
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": value}]}


def absent(expression: str, minute: int) -> dict[str, Any]:
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": []}


def run_case(promtool: str, folder: Path, series: dict[str, str], asked: list[dict[str, Any]], slo: Slo = SLO) -> str:
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": asked,
    }
    tests = {"rule_files": ["slo.rules.yml"], "evaluation_interval": "1m", "tests": [case]}
    return passes(promtool, folder, render_slo_rules([slo], PAIRS), yaml.safe_dump(tests))


PAGES = f'count(ALERTS{{alertname="SloBurn",sloth_severity="page",alertstate="firing",{ID}}})'
LEFT = f"count(slo:period_error_budget_remaining:ratio{{{ID}}} > -1e9)"
OK, FAILED = 'requests_total{model="m",code="200"}', 'requests_total{model="m",code="500"}'


def test_the_generated_tests_pass(promtool: str, tmp_path: Path) -> None:
    slos = [
        SLO.model_copy(update={"labels": {"team": "ml"}}),
        Slo(service="m", name="latency", objective=0.99, total="lat_count", good='lat_bucket{le="0.3"}', page=False),
        Slo(
            service="m", name="raw", objective=0.995, total="sum(increase(a[$window]))", bad="sum(increase(b[$window]))"
        ),
    ]
    for render in (render_slo_tests, render_slo_counter_tests):
        tests = render(slos, PAIRS, rule_file="slo.rules.yml")
        assert not passes(promtool, tmp_path, render_slo_rules(slos, PAIRS), tests)


def test_a_changed_factor_fails_the_generated_tests(promtool: str, tmp_path: Path) -> None:
    rules = render_slo_rules([SLO], PAIRS).replace("(14.4 * 0.001)", "(14.9 * 0.001)")
    assert "FAILED" in passes(promtool, tmp_path, rules, render_slo_tests([SLO], PAIRS, rule_file="slo.rules.yml"))


def test_a_gap_in_traffic_leaves_the_budget_a_number(promtool: str, tmp_path: Path) -> None:
    series = {OK: "0+99x60 5940x20 5940+99x60", FAILED: "0+1x60 60x20 60+1x60"}
    near = f"sum(abs(slo:sli_error:ratio_rate30d{{{ID}}} - 0.01) < bool 1e-3)"
    asked = [holds(LEFT, minute) for minute in (30, 75, 79, 100)] + [holds(near, minute) for minute in (30, 78, 130)]
    assert run_case(promtool, tmp_path, series, asked) == ""


def test_a_series_that_appears_with_its_first_error_does_not_inflate_the_ratio(promtool: str, tmp_path: Path) -> None:
    series = {OK: "0+100x200", FAILED: "_x99 1x100"}
    small = f"sum(slo:sli_error:ratio_rate5m{{{ID}}} <= bool 0.0025)"
    asked = [holds(small, minute) for minute in (50, 100, 101, 102, 104)] + [absent(PAGES, 101), absent(PAGES, 104)]
    assert run_case(promtool, tmp_path, series, asked) == ""


def test_one_failure_at_ten_requests_an_hour_does_not_page(promtool: str, tmp_path: Path) -> None:
    steps = range(24 * 60)
    told = " ".join(str(step // 6) for step in steps)
    failed = " ".join("0" if step < 700 else "1" for step in steps)
    asked = [absent(PAGES, minute) for minute in (700, 702, 705, 720, 750, 760)]
    assert run_case(promtool, tmp_path, {OK: told, FAILED: failed}, asked) == ""


def test_nine_failures_in_ten_page_at_half_a_request_a_second(promtool: str, tmp_path: Path) -> None:
    series = {OK: "0+30x120 3600+3x60", FAILED: "0x120 27+27x60"}
    asked = [absent(PAGES, 119), holds(PAGES, 123), holds(PAGES, 140)]
    assert run_case(promtool, tmp_path, series, asked) == ""


def test_a_vanished_target_alerts_and_its_budget_says_nothing(promtool: str, tmp_path: Path) -> None:
    series = {OK: "0+100x60 stale _x60", FAILED: "0x60 stale _x60"}
    gone = f'count(ALERTS{{alertname="SloNoData",alertstate="firing",{ID}}})'
    asked = [holds(LEFT, 60), absent(gone, 60), holds(gone, 80), absent(LEFT, 80)]
    assert run_case(promtool, tmp_path, series, asked) == ""


def test_prometheus_computes_the_same_increase_and_the_same_bound(promtool: str, tmp_path: Path) -> None:
    draw = random.Random(1)
    asked, series = [], {}
    for place in range(40):
        held = [round(draw.uniform(0, 50), 2)]
        while len(held) < 30:
            held.append(
                round(draw.uniform(0, 9), 2) if draw.random() < 0.1 else round(held[-1] + draw.uniform(0, 9), 2)
            )
        gaps = [draw.random() < 0.15 for _ in held]
        samples = [(60.0 * step, value) for step, value in enumerate(held) if not gaps[step]]
        series[f'c{{n="{place}"}}'] = " ".join(
            "_" if gap else repr(value) for value, gap in zip(held, gaps, strict=True)
        )
        for minute in (7, 13, 21, 29):
            found = increase(samples, start=60.0 * (minute - 7), end=60.0 * minute)
            if found is not None:
                told = f'sum(abs(increase(c{{n="{place}"}}[7m]) - {found!r}) < bool 1e-6)'
                asked.append(holds(told, minute))
    assert len(asked) > 100
    z = SLO.evidence_z
    for bad, total in ((1, 10), (5, 100), (900, 1000)):
        root = f"(1 - 1 / (9 * vector({bad})) - {z} / (3 * sqrt(vector({bad}))))"
        bound = lower_bound(bad, total, z=z)
        asked.append(holds(f"sum(abs({bad / total} * clamp_min({root}, 0) ^ 3 - {bound!r}) < bool 1e-9)", 1))
        assert math.isfinite(bound)
    assert run_case(promtool, tmp_path, series, asked) == ""


def test_text_of_an_objective_is_told_as_it_stands_and_never_read_as_a_template(promtool: str, tmp_path: Path) -> None:
    odd = SLO.model_copy(
        update={"description": '{{ with query "secret" }}{{ . }}{{ end }}', "labels": {"team": "{{ $value }} }} {{{"}}
    )
    tests = render_slo_tests([odd], PAIRS, rule_file="slo.rules.yml")
    assert not passes(promtool, tmp_path, render_slo_rules([odd], PAIRS), tests)
    case = {
        "interval": "1m",
        "input_series": [{"series": "up", "values": "1x20"}],
        "alert_rule_test": [
            {
                "eval_time": "15m",
                "alertname": "SloNoData",
                "exp_alerts": [
                    {
                        "exp_labels": {
                            "severity": "critical",
                            "team": "{{ $value }} }} {{{",
                            "sloth_id": "m-availability",
                            "sloth_service": "m",
                            "sloth_slo": "availability",
                        },
                        "exp_annotations": {
                            "summary": "m-availability: nothing counts its events",
                            "description": "The counters of this objective are gone: its target, or Prometheus' way to "
                            "it. The budget says nothing until they are back.",
                            "runbook_url": "https://github.com/driftwarden/driftwarden/blob/main/docs/runbooks/"
                            "SloNoData.md",
                        },
                    }
                ],
            }
        ],
    }
    told = {"rule_files": ["slo.rules.yml"], "evaluation_interval": "1m", "tests": [case]}
    assert not passes(promtool, tmp_path, render_slo_rules([odd], PAIRS), yaml.safe_dump(told))
