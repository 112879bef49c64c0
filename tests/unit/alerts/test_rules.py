"""The rendered rules."""

import re
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from alerts import names
from alerts.rules import ALERTS, ModelAlerting, render_rule_tests, render_rules

ROOT = Path(__file__).parents[3]
MODELS = [ModelAlerting("support-intents", 43_200), ModelAlerting('odd "name" \\ {{ x }}', 3600)]


def rules_of(text: str) -> list[dict]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def test_every_alert_has_a_runbook_a_severity_and_says_what_it_is() -> None:
    rules = rules_of(render_rules(MODELS))
    assert {rule["alert"] for rule in rules} == set(ALERTS)
    for rule in rules:
        assert (ROOT / "docs/runbooks" / f"{rule['alert']}.md").is_file()
        assert rule["annotations"]["runbook_url"].endswith(f"/{rule['alert']}.md")
        assert rule["labels"]["severity"] in {"warning", "critical", "none"}
        assert rule["annotations"]["summary"]


def test_every_series_a_rule_names_is_a_metric_we_export() -> None:
    for rule in rules_of(render_rules(MODELS)) + rules_of(render_rules([])):
        named = set(re.findall(r"\bdriftwarden_[a-z_]+", re.sub(r'"(\\.|[^"\\])*"', "", rule["expr"])))
        assert named - set(names.METRICS) <= {names.JOB}


def test_the_rules_are_the_same_every_time() -> None:
    assert render_rules(MODELS) == render_rules(MODELS)
    assert render_rule_tests(MODELS) == render_rule_tests(MODELS)


@given(st.text(min_size=1, max_size=40))
def test_any_model_name_comes_back_out_of_its_matcher(name: str) -> None:
    rules = rules_of(render_rules([ModelAlerting(name, 3600)]))
    drift = next(rule for rule in rules if rule["alert"] == "DriftwardenDrift")
    matched = re.search(r'driftwarden_drift_actionable\{model="((?:\\.|[^"\\])*)"\}', drift["expr"], re.DOTALL)
    assert matched is not None
    undone = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], matched[1], flags=re.DOTALL)
    assert undone == name


def test_counters_end_in_total_and_nothing_else_does() -> None:
    assert all(name.endswith("_total") == (metric.kind == "counter") for name, metric in names.METRICS.items())
