"""Render the Prometheus rule file and its promtool tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alerts import names
from alerts.alertmanager import WATCHDOG
from alerts.promql import dump, in_template, matcher, series

RUNBOOKS = "https://github.com/driftwarden/driftwarden/blob/main/docs/runbooks"
RULE_FILE = "driftwarden.rules.yml"
GRACE_SECONDS = 3600  # a window is judged within the hour after its end
DAY_SECONDS = 86_400
REJECTED_SHARE, REJECTED_AT_LEAST = 0.05, 10  # a single junk event beside little traffic wakes nobody

ALERTS = (
    "DriftwardenDrift",
    "DriftwardenAccuracyDegraded",
    "DriftwardenBiasDisparity",
    "DriftwardenPipelineStale",
    "DriftwardenDown",
    "DriftwardenRunsFailing",
    "DriftwardenEventsRejected",
    WATCHDOG,
)


@dataclass(frozen=True, slots=True)
class ModelAlerting:
    """A watched model and the length of its windows."""

    name: str
    window_seconds: int


def render_rules(models: Sequence[ModelAlerting], *, runbook_base: str = RUNBOOKS) -> str:
    """Return a Prometheus rule file: one group for the service, one for every model.

    Series are read from the database and alike on every replica, so rules take `max` over instances. Without models
    the drift rules match every model, with windows of a day.
    """
    groups = [{"name": "driftwarden", "rules": _service_rules(runbook_base)}]
    for model in models:
        selector = matcher(names.MODEL, model.name)
        rules = _model_rules(selector, model.window_seconds, about=model.name, runbook_base=runbook_base)
        groups.append({"name": f"driftwarden: {model.name}", "rules": rules})
    if not models:
        rules = _model_rules("", DAY_SECONDS, about="{{ $labels.model }}", runbook_base=runbook_base)
        groups.append({"name": "driftwarden: all models", "rules": rules})
    return dump({"groups": groups})


def _alert(
    name: str, expression: str, *, lasts: str, severity: str, summary: str, description: str, runbook_base: str
) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": lasts,
        "labels": {"severity": severity},
        "annotations": {
            "summary": summary,
            "description": description,
            "runbook_url": f"{runbook_base}/{name}.md",
        },
    }


def _model_rules(selector: str, window_seconds: int, *, about: str, runbook_base: str) -> list[dict[str, Any]]:
    stale_after = 2 * window_seconds + GRACE_SECONDS
    drift_job = matcher(names.JOB, "drift")
    actionable = f"max by (model, version) ({series(names.DRIFT_ACTIONABLE, selector)})"
    ended = f"max by (model, version) ({series(names.WINDOW_END, selector, drift_job)})"
    newest = f"max by (model) ({series(names.WINDOW_END, selector, drift_job)})"
    shown = _in_template(about)
    rules = [
        _alert(
            "DriftwardenDrift",
            # an old verdict says nothing of today: then the pipeline is stale, and that alert speaks
            f"{actionable} == 1 and on (model, version) time() - {ended} <= {stale_after}",
            lasts="0m",
            severity="warning",
            summary=f"{shown}: the latest window drifted from its baseline",
            description="Version {{ $labels.version }} of {{ $labels.model }} sees texts or gives answers that "
            "differ from its baseline beyond the false-alarm rate of the policy, and by more than its practical "
            "difference. The report names what moved.",
            runbook_base=runbook_base,
        ),
        _alert(
            "DriftwardenAccuracyDegraded",
            f"max by (model, version) ({series(names.ACCURACY_DEGRADED, selector)}) == 1",
            lasts="0m",
            severity="warning",
            summary=f"{shown}: answers are wrong more often than the baseline's, by labels",
            description="The labels of version {{ $labels.version }} of {{ $labels.model }} show an error ratio above "
            "the baseline's and the policy's tolerance. The test looks after every label; one incident is one alarm.",
            runbook_base=runbook_base,
        ),
        _alert(
            "DriftwardenBiasDisparity",
            f"max by (model, version) ({series(names.BIAS_DISPARITY, selector)}) == 1",
            lasts="0m",
            severity="warning",
            summary=f"{shown}: the latest audit shows that groups are treated unlike",
            description="Rates of a group differ from the reference group's by more than chance allows, in version "
            "{{ $labels.version }} of {{ $labels.model }}. All audits of a version together keep the policy's alpha.",
            runbook_base=runbook_base,
        ),
        _alert(
            "DriftwardenPipelineStale",
            f"time() - {newest} > {stale_after}",
            lasts="5m",
            severity="critical",
            summary=f"{shown}: no window was judged for two windows and an hour",
            description="Nothing is known about {{ $labels.model }} since its last verdict "
            "{{ $value | humanizeDuration }} ago: capture, embedding or the jobs stand still.",
            runbook_base=runbook_base,
        ),
    ]
    if selector:
        never = _alert(
            "DriftwardenPipelineStale",
            f"absent({series(names.WINDOW_END, selector, drift_job)})",
            lasts=f"{stale_after}s",
            severity="critical",
            summary=f"{shown}: no window was ever judged",
            description="The policy watches this model and no verdict exists: it receives no events, has no baseline, "
            "or the jobs do not run.",
            runbook_base=runbook_base,
        )
        rules.append(never)
    return rules


def _in_template(text: str) -> str:
    """Return a name as an annotation may hold it: Prometheus reads annotations as Go templates."""
    if text == "{{ $labels.model }}":
        return text
    return in_template(text)


def _service_rules(runbook_base: str) -> list[dict[str, Any]]:
    failed = series(names.RUNS, matcher(names.STATUS, "failed"))
    return [
        _alert(
            "DriftwardenDown",
            f"absent({names.BUILD_INFO})",
            lasts="5m",
            severity="critical",
            summary="no driftwarden answers Prometheus",
            description="No instance was scraped for 5 minutes: events may be refused, and no verdicts come.",
            runbook_base=runbook_base,
        ),
        _alert(
            "DriftwardenRunsFailing",
            # one failure is over after 10 minutes; only what fails again lasts for 15
            f"max by (driftwarden_job) (increase({failed}[10m])) > 0",
            lasts="15m",
            severity="warning",
            summary="the {{ $labels.driftwarden_job }} job fails again and again",
            description="Runs ended as failed for 15 minutes. Failed windows are tried again and nothing is lost.",
            runbook_base=runbook_base,
        ),
        *_rejected_rules(runbook_base),
        _alert(
            WATCHDOG,
            "vector(1)",
            lasts="0m",
            severity="none",
            summary="rules are evaluated and alerts delivered",
            description="It always fires. Whoever receives it raises the alarm when it falls silent: then Prometheus "
            "or Alertmanager is down, and no other alert would come.",
            runbook_base=runbook_base,
        ),
    ]


def _rejected_rules(runbook_base: str) -> list[dict[str, Any]]:
    """Alert on a share of refused events, of a model and of those that name no model of ours (the label is empty)."""
    named, unnamed, refused = f'{names.MODEL}!=""', f'{names.MODEL}=""', matcher(names.OUTCOME, "rejected")
    of_model = f"max by (model) (increase({series(names.EVENTS, named, refused)}[1h]))"
    all_of_model = f"sum by (model) (max by (model, outcome) (increase({series(names.EVENTS, named)}[1h])))"
    of_none = f"sum(max by (model) (increase({series(names.EVENTS, unnamed, refused)}[1h])))"
    everything = f"sum(max by (model, outcome) (increase({names.EVENTS}[1h])))"
    told = "Refused events lie in the dead letters, each with field and reason: driftwarden dead-letters."
    return [
        _alert(
            "DriftwardenEventsRejected",
            f"{share} / {whole} > {REJECTED_SHARE} and {share} >= {REJECTED_AT_LEAST}",
            lasts="10m",
            severity="warning",
            summary=f"more than 5 in 100 events{which} are refused",
            description=told,
            runbook_base=runbook_base,
        )
        for share, whole, which in (
            (of_model, all_of_model, " of {{ $labels.model }}"),
            (of_none, everything, " name no watched model and"),
        )
    ]


def render_rule_tests(models: Sequence[ModelAlerting]) -> str:
    """Return promtool tests of the rule file: every alert fires, stays silent just below, and resets."""
    watched = models[0] if models else ModelAlerting("support-intents", DAY_SECONDS)
    cases = [
        _drift_case(watched),
        _flag_case(watched, "DriftwardenAccuracyDegraded", names.ACCURACY_DEGRADED),
        _flag_case(watched, "DriftwardenBiasDisparity", names.BIAS_DISPARITY),
        _stale_case(watched),
        _down_case(),
        _failing_case(),
        _rejected_case(watched),
        _watchdog_case(),
    ]
    return dump({"rule_files": [RULE_FILE], "evaluation_interval": "1m", "tests": cases})


def _expectation(minute: int, alert: str, *labels: dict[str, str]) -> dict[str, Any]:
    # asked through the ALERTS series: it tells which alerts fire with which labels, whatever their annotations say
    held = [{"alertname": alert, "alertstate": "firing", **one} for one in labels]
    return {
        "expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}',
        "eval_time": f"{minute}m",
        "exp_samples": [
            {"labels": series("ALERTS", *(matcher(*pair) for pair in one.items())), "value": 1} for one in held
        ],
    }


def _drift_case(model: ModelAlerting) -> dict[str, Any]:
    labels = f'{matcher("model", model.name)},version="1"'
    fires = {"severity": "warning", "model": model.name, "version": "1"}
    stale_minute = -(-(2 * model.window_seconds + GRACE_SECONDS) // 60)
    return {
        "interval": "1m",
        "input_series": [
            # two replicas tell the same: one alert; drift from minute 2, clean from 6, drift again from 10
            {
                "series": f'{names.DRIFT_ACTIONABLE}{{{labels},instance="{one}"}}',
                "values": f"0 0 1x3 0x3 1x{stale_minute}",
            }
            for one in ("a", "b")
        ]
        + [{"series": f'{names.WINDOW_END}{{{labels},{names.JOB}="drift"}}', "values": f"0x{stale_minute + 20}"}],
        "promql_expr_test": [
            _expectation(1, "DriftwardenDrift"),
            _expectation(2, "DriftwardenDrift", fires),
            _expectation(6, "DriftwardenDrift"),
            _expectation(10, "DriftwardenDrift", fires),
            _expectation(stale_minute + 2, "DriftwardenDrift"),
        ],
    }


def _flag_case(model: ModelAlerting, alert: str, series_name: str) -> dict[str, Any]:
    labels = f'{matcher("model", model.name)},version="1"'
    fires = {"severity": "warning", "model": model.name, "version": "1"}
    return {
        "interval": "1m",
        "input_series": [
            {"series": f'{series_name}{{{labels},instance="{one}"}}', "values": "0 0 1x5 0x5"}
            for one in ("a", "b")  # two replicas tell the same: one alert
        ],
        "promql_expr_test": [
            _expectation(1, alert),
            _expectation(2, alert, fires),
            _expectation(7, alert, fires),
            _expectation(8, alert),
        ],
    }


def _stale_case(model: ModelAlerting) -> dict[str, Any]:
    labels = f'{matcher("model", model.name)},version="1",{names.JOB}="drift"'
    minute = (2 * model.window_seconds + GRACE_SECONDS) // 60
    fires = {"severity": "critical", "model": model.name}
    return {
        "interval": "1m",
        "input_series": [
            {"series": f"{names.WINDOW_END}{{{labels}}}", "values": f"0x{minute + 10} {(minute + 11) * 60}x20"}
        ],
        "promql_expr_test": [
            _expectation(minute, "DriftwardenPipelineStale"),
            _expectation(minute + 7, "DriftwardenPipelineStale", fires),
            _expectation(minute + 12, "DriftwardenPipelineStale"),
        ],
    }


def _down_case() -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": f'{names.BUILD_INFO}{{version="1"}}', "values": "1x3 stale _x10 1x5"}],
        "promql_expr_test": [
            _expectation(3, "DriftwardenDown"),
            _expectation(10, "DriftwardenDown", {"severity": "critical"}),
            _expectation(17, "DriftwardenDown"),
        ],
    }


def _watchdog_case() -> dict[str, Any]:
    fires = _expectation(0, WATCHDOG, {"severity": "none"}), _expectation(60, WATCHDOG, {"severity": "none"})
    return {"interval": "1m", "input_series": [], "promql_expr_test": list(fires)}


def _failing_case() -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [
            {"series": f'{names.RUNS}{{{names.JOB}="drift",status="failed"}}', "values": "0+1x40 40x60"},
            {"series": f'{names.RUNS}{{{names.JOB}="embed",status="failed"}}', "values": "0x20 1x80"},  # once
        ],
        "promql_expr_test": [
            _expectation(10, "DriftwardenRunsFailing"),
            *(
                _expectation(minute, "DriftwardenRunsFailing", {"severity": "warning", names.JOB: "drift"})
                for minute in (20, 36)
            ),
            _expectation(90, "DriftwardenRunsFailing"),
        ],
    }


def _rejected_case(model: ModelAlerting) -> dict[str, Any]:
    labels = matcher("model", model.name)
    return {
        "interval": "1m",
        "input_series": [
            {"series": f'{names.EVENTS}{{{labels},outcome="accepted"}}', "values": "0+96x500"},
            {"series": f'{names.EVENTS}{{{labels},outcome="rejected"}}', "values": "0+4x100 406+6x100 1000x300"},
            # of no model of ours: one junk event at first, a flood from minute 300
            {"series": f'{names.EVENTS}{{model="",outcome="rejected"}}', "values": "0x20 1x280 11+10x100 1011x100"},
        ],
        "promql_expr_test": [
            _expectation(30, "DriftwardenEventsRejected"),
            _expectation(90, "DriftwardenEventsRejected"),
            _expectation(190, "DriftwardenEventsRejected", {"severity": "warning", "model": model.name}),
            _expectation(290, "DriftwardenEventsRejected"),
            _expectation(390, "DriftwardenEventsRejected", {"severity": "warning"}),
            _expectation(490, "DriftwardenEventsRejected"),
        ],
    }
