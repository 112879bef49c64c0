"""Objectives, windows and what the linter refuses."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from alerts.errors import SloRefused
from alerts.slo import Slo, problems, require_possible
from alerts.slo_rules import render_slo_rules
from alerts.slo_tests import render_slo_counter_tests
from alerts.windows import BurnWindows, read_windows, seconds_of

PAIRS = read_windows()
AVAILABILITY = Slo(
    service="intents",
    name="availability",
    objective=0.999,
    total='requests_total{model="intents"}',
    bad='requests_total{model="intents",code=~"5..|429"}',
    labels={"team": "ml"},
)


def test_the_factors_at_30_days_are_the_workbooks() -> None:
    assert [pair.factor(30) for pair in PAIRS] == [14.4, 6, 3, 1]
    assert [pair.factor(28) for pair in PAIRS] == pytest.approx([13.44, 5.6, 2.8, 14 / 15])


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        (BurnWindows("page", long="1h", short="0m", budget_share=0.02), "length zero"),
        (BurnWindows("page", long="1h", short="1h", budget_share=0.02), "would not reset"),
        (BurnWindows("page", long="1h", short="5m", budget_share=0.0), "budget_share"),
        (BurnWindows("page", long="1 hour", short="5m", budget_share=0.02), "'1 hour'"),
    ],
)
def test_windows_that_could_not_work_are_refused_with_the_reason(pair: BurnWindows, told: str) -> None:
    with pytest.raises(SloRefused, match=told):
        require_possible([AVAILABILITY], [pair])


def test_a_factor_that_no_error_ratio_reaches_is_refused() -> None:
    loose = AVAILABILITY.model_copy(update={"objective": 0.9})
    assert [line.split(" can")[0] for line in problems(loose, PAIRS)] == ["intents-availability: 5m/1h"]
    with pytest.raises(SloRefused, match=r"error ratio of 1\.44"):
        render_slo_rules([loose], PAIRS)


def test_a_ticket_for_a_service_that_keeps_its_objective_is_refused() -> None:
    short = AVAILABILITY.model_copy(update={"period_days": 28.0})
    assert "keeps its objective" in problems(short, PAIRS)[0]


def test_two_objectives_of_one_name_are_refused() -> None:
    with pytest.raises(SloRefused, match="intents-availability: named twice"):
        require_possible([AVAILABILITY, AVAILABILITY], PAIRS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bad": None},
        {"good": "good_total"},
        {"objective": 1.0},
        {"total": "sum(requests_total)"},
        {"name": "Not A Label"},
    ],
)
def test_what_means_nothing_is_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Slo.model_validate({**AVAILABILITY.model_dump(), **wrong})


def test_recorded_names_and_labels_are_sloths() -> None:
    groups = yaml.safe_load(render_slo_rules([AVAILABILITY], PAIRS))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    names = {rule["record"] for rule in rules if "record" in rule}
    assert {f"slo:sli_error:ratio_rate{one}" for one in ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")} <= names
    assert {
        "slo:objective:ratio",
        "slo:error_budget:ratio",
        "slo:time_period:days",
        "slo:current_burn_rate:ratio",
        "slo:period_burn_rate:ratio",
        "slo:period_error_budget_remaining:ratio",
        "sloth_slo_info",
    } <= names
    for rule in rules:
        assert rule["labels"]["sloth_id"] == "intents-availability"
        assert rule["labels"]["team"] == "ml"
    alerts = [rule for rule in rules if rule.get("alert") == "SloBurn"]
    assert [(one["labels"]["sloth_severity"], one["labels"]["severity"]) for one in alerts] == [
        ("page", "critical"),
        ("ticket", "warning"),
    ]


def test_an_objective_that_does_not_page_has_a_ticket_alone() -> None:
    quiet = AVAILABILITY.model_copy(update={"page": False})
    groups = yaml.safe_load(render_slo_rules([quiet], PAIRS))["groups"]
    severities = [
        rule["labels"].get("sloth_severity") for group in groups for rule in group["rules"] if "alert" in rule
    ]
    assert severities == ["ticket", None]


def test_escalation_is_left_out_where_no_error_ratio_reaches_it() -> None:
    loose = AVAILABILITY.model_copy(update={"objective": 0.98})
    assert "57.6" in render_slo_rules([AVAILABILITY], PAIRS)
    assert "57.6" not in render_slo_rules([loose], PAIRS)
    assert "57.6" not in render_slo_rules([AVAILABILITY], PAIRS, escalation=None)


def test_queries_of_sloth_and_of_ours_are_filled_in() -> None:
    raw = AVAILABILITY.model_copy(
        update={"total": "sum(increase(a_total[{{.window}}]))", "bad": "sum(increase(b_total[$window]))"}
    )
    told = render_slo_rules([raw], PAIRS)
    assert "sum(increase(a_total[6h]))" in told
    assert "sum(increase(b_total[6h]))" in told
    assert "from counters" not in render_slo_counter_tests([raw], PAIRS, rule_file="r.yml")
    assert "from counters" in render_slo_counter_tests([AVAILABILITY], PAIRS, rule_file="r.yml")


def test_durations_add_up() -> None:
    assert seconds_of("1d12h") == 129_600


def test_every_alert_of_an_objective_has_a_runbook() -> None:
    groups = yaml.safe_load(render_slo_rules([AVAILABILITY], PAIRS))["groups"]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    for rule in alerts:
        assert rule["annotations"]["runbook_url"].endswith(f"/{rule['alert']}.md")
        assert (Path(__file__).parents[3] / "docs/runbooks" / f"{rule['alert']}.md").is_file()
