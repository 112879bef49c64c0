"""From objectives to Prometheus rules under Sloth's names, the budget counted in events and alarms gated on evidence.

Three groups an objective. The first records, for each window, all events and bad events, their ratio, and a lower bound
of that ratio; the second objective, budget and burn rates; the third alerts. Ratios are events over events in every
window, the period's too, so that a quiet hour weighs what happened in it. A ratio is 0 while a counter stands still,
and absent when the counter is gone: then `SloNoData` speaks and the budget says nothing: silence is not health.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from alerts.promql import dump, in_template, matcher, series
from alerts.rules import RUNBOOKS
from alerts.slo import PLACEHOLDERS, Slo, require_possible
from alerts.windows import BurnWindows, Severity, seconds_of

RULE_FILE = "driftwarden-slo.rules.yml"
BASE_WINDOW = "5m"  # of which the period is summed
NO_DATA_FOR = "10m"
VERSION = "1"
PROVEN_SHARE = 0.5  # of a factor that the long window's lower bound must cross
HOUSE_SEVERITY: dict[Severity, str] = {"page": "critical", "ticket": "warning"}

Rule = dict[str, Any]


def render_slo_rules(
    slos: Sequence[Slo], pairs: Sequence[BurnWindows], *, escalation: float | None = 4.0, runbook_base: str = RUNBOOKS
) -> str:
    """Return a Prometheus rule file of the objectives.

    escalation : page at once when the shortest window alone burns that many times faster than the fastest pair's
    factor, where that is reachable; None: never. Raises SloRefused where an objective's alerts could never work.
    """
    require_possible(slos, pairs)
    groups = []
    for slo in slos:
        rules = (_recordings(slo, pairs), _meta_recordings(slo), _alerts(slo, pairs, escalation, runbook_base))
        groups += [{"name": name, "rules": held} for name, held in zip(group_names(slo), rules, strict=True)]
    return dump({"groups": groups})


def group_names(slo: Slo) -> tuple[str, str, str]:
    """Return the objective's groups in the order in which one reads what another records."""
    sli, meta, alerting = (f"sloth-slo-{part}-{slo.id}" for part in ("sli-recordings", "meta-recordings", "alerts"))
    return sli, meta, alerting


def windows_of(pairs: Sequence[BurnWindows]) -> list[str]:
    """Return every window that is recorded, the shortest first."""
    found = {BASE_WINDOW, *(window for pair in pairs for window in (pair.short, pair.long))}
    return sorted(found, key=seconds_of)


def proven_windows(pairs: Sequence[BurnWindows]) -> set[str]:
    """Return the windows whose ratio has to be beyond doubt: the long ones, and the one that pages alone."""
    shortest = shortest_paging(pairs)
    return {pair.long for pair in pairs} | ({shortest} if shortest else set())


def shortest_paging(pairs: Sequence[BurnWindows]) -> str | None:
    """Return the window that pages alone when errors are dense; None where no pair pages."""
    return min((pair.short for pair in pairs if pair.severity == "page"), key=seconds_of, default=None)


def identity(slo: Slo) -> dict[str, str]:
    """Return the labels that tell objectives apart."""
    return {"sloth_id": slo.id, "sloth_service": slo.service, "sloth_slo": slo.name}


def recorded(name: str, slo: Slo) -> str:
    """Return the selector of one of the objective's recorded series."""
    return series(name, *(matcher(*pair) for pair in identity(slo).items()))


def threshold(slo: Slo, factor: float) -> str:
    """Return the error ratio at which a factor is crossed, as the rules write it."""
    return f"({factor:.12g} * {slo.error_budget:.12g})"


def events(query: str, window: str) -> str:
    """Return PromQL of how many events a query counts within a window."""
    for placeholder in PLACEHOLDERS:
        if placeholder in query:
            return query.replace(placeholder, window)
    return f"sum(increase({query}[{window}]))"


def _record(name: str, expression: str, slo: Slo, **more: str) -> Rule:
    return {"record": name, "expr": expression, "labels": {**slo.labels, **identity(slo), **more}}


def _recordings(slo: Slo, pairs: Sequence[BurnWindows]) -> list[Rule]:
    rules, proven = [], proven_windows(pairs)
    for window in windows_of(pairs):
        total, bad = (recorded(f"slo:sli_{kind}:increase{window}", slo) for kind in ("total", "bad"))
        # a counter without a bad event yet is 0, not unknown
        rules += [
            _record(f"slo:sli_total:increase{window}", events(slo.total, window), slo, sloth_window=window),
            _record(f"slo:sli_bad:increase{window}", _bad_events(slo, window), slo, sloth_window=window),
            _record(
                f"slo:sli_error:ratio_rate{window}",
                f"clamp_max({bad} / ({total} > 0), 1) or ({total} * 0)",
                slo,
                sloth_window=window,
            ),
        ]
        if window in proven:
            bound = _lower_bound(slo, recorded(f"slo:sli_error:ratio_rate{window}", slo), bad)
            rules.append(_record(f"slo:sli_error:lower_bound{window}", bound, slo, sloth_window=window))
    return [*rules, *_period(slo)]


def _bad_events(slo: Slo, window: str) -> str:
    if slo.bad is not None:
        return events(slo.bad, window)
    if slo.good is None:
        raise ValueError("an objective has bad or good events")
    # more good events than all is a scrape between the two counters
    return f"clamp_min(({events(slo.total, window)}) - on () (({events(slo.good, window)}) or vector(0)), 0)"


def _lower_bound(slo: Slo, ratio: str, bad: str) -> str:
    """Return alerts.burn.lower_bound as PromQL; 0 without bad events, where it divides by zero."""
    root = f"(1 - 1 / (9 * {bad}) - {slo.evidence_z:.12g} / (3 * sqrt({bad})))"
    return f"({ratio} * clamp_min({root}, 0) ^ 3) and ({bad} > 0) or ({ratio} * 0)"


def _period(slo: Slo) -> list[Rule]:
    period = slo.period
    bad, total = (
        f"sum_over_time({recorded(f'slo:sli_{kind}:increase{BASE_WINDOW}', slo)}[{period}])"
        for kind in ("bad", "total")
    )
    now = recorded(f"slo:sli_total:increase{BASE_WINDOW}", slo)
    ratio = f"(clamp_max({bad} / ({total} > 0), 1) or ({total} * 0)) and {now}"
    return [_record(f"slo:sli_error:ratio_rate{period}", ratio, slo, sloth_window=period)]


def _meta_recordings(slo: Slo) -> list[Rule]:
    budget, period = recorded("slo:error_budget:ratio", slo), slo.period
    per_budget = f"/ on (sloth_id, sloth_slo, sloth_service) group_left {budget}"
    burnt = recorded("slo:period_burn_rate:ratio", slo)
    return [
        _record("slo:objective:ratio", f"vector({slo.objective:.12g})", slo),
        _record("slo:error_budget:ratio", f"vector({slo.error_budget:.12g})", slo),
        _record("slo:time_period:days", f"vector({slo.period_days:g})", slo),
        _record(
            "slo:current_burn_rate:ratio",
            f"{recorded(f'slo:sli_error:ratio_rate{BASE_WINDOW}', slo)} {per_budget}",
            slo,
        ),
        _record(
            "slo:period_burn_rate:ratio", f"{recorded(f'slo:sli_error:ratio_rate{period}', slo)} {per_budget}", slo
        ),
        _record("slo:period_error_budget_remaining:ratio", f"1 - {burnt}", slo),
        _record(
            "sloth_slo_info",
            "vector(1)",
            slo,
            sloth_mode="driftwarden",
            sloth_objective=f"{slo.objective * 100:g}",
            sloth_spec="driftwarden/v1",
            sloth_version=VERSION,
        ),
    ]


def burning(slo: Slo, pair: BurnWindows) -> str:
    """Return PromQL of one pair: both windows above the factor, and beyond doubt above half of it in the long one.

    Half, because a bound that had to cross the factor itself would come a quarter of an hour late at middling traffic;
    what a service within its budget shows by chance stays far below (docs/slo.md).
    """
    factor = pair.factor(slo.period_days)
    above = " and ignoring (sloth_window) ".join(
        f"({recorded(f'slo:sli_error:ratio_rate{window}', slo)} > {threshold(slo, factor)})"
        for window in (pair.short, pair.long)
    )
    proven = recorded(f"slo:sli_error:lower_bound{pair.long}", slo)
    return f"({above} and ignoring (sloth_window) ({proven} > {threshold(slo, factor * PROVEN_SHARE)}))"


def escalated_factor(slo: Slo, pairs: Sequence[BurnWindows], times: float | None) -> float | None:
    """Return the factor at which the shortest window pages alone; None where it is off or no error ratio reaches it."""
    fastest = max((pair.factor(slo.period_days) for pair in pairs if pair.severity == "page"), default=None)
    if times is None or fastest is None or fastest * times * slo.error_budget >= 1:
        return None
    return fastest * times


def _alerts(slo: Slo, pairs: Sequence[BurnWindows], escalation: float | None, runbook_base: str) -> list[Rule]:
    rules = []
    severities: tuple[Severity, ...] = ("page", "ticket") if slo.page else ("ticket",)
    for severity in severities:
        held = [pair for pair in pairs if pair.severity == severity]
        conditions = [burning(slo, pair) for pair in held]
        at_once = escalated_factor(slo, pairs, escalation) if severity == "page" else None
        if at_once is not None:
            proven = recorded(f"slo:sli_error:lower_bound{shortest_paging(pairs)}", slo)
            conditions.append(f"({proven} > {threshold(slo, at_once)})")
        if conditions:
            rules.append(_burn_alert(slo, severity, " or ignoring (sloth_window) ".join(conditions), runbook_base))
    return [*rules, _no_data_alert(slo, runbook_base)]


def _burn_alert(slo: Slo, severity: Severity, expression: str, runbook_base: str) -> Rule:
    told = "fast" if severity == "page" else "slowly and steadily"
    return {
        "alert": slo.runbook,
        "expr": expression,
        "labels": {
            **_templated(slo.labels),
            **identity(slo),
            "sloth_severity": severity,
            "severity": HOUSE_SEVERITY[severity],
        },
        "annotations": {
            "title": f"({severity}) {slo.service} {slo.name} burns its error budget too fast",
            "summary": f"{slo.id}: the error budget burns {told}; errors are {{{{ $value | humanizePercentage }}}}",
            "description": f"{in_template(slo.description or slo.id)}: at most {slo.error_budget * 100:g} % of events "
            f"may be bad in {slo.period_days:g} days.",
            "runbook_url": f"{runbook_base}/{slo.runbook}.md",
        },
    }


def _templated(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: in_template(value) for key, value in labels.items()}


def _no_data_alert(slo: Slo, runbook_base: str) -> Rule:
    return {
        "alert": "SloNoData",
        "expr": f"absent({recorded(f'slo:sli_total:increase{BASE_WINDOW}', slo)})",
        "for": NO_DATA_FOR,
        "labels": {**_templated(slo.labels), **identity(slo), "severity": HOUSE_SEVERITY["page"]},
        "annotations": {
            "summary": f"{slo.id}: nothing counts its events",
            "description": "The counters of this objective are gone: its target, or Prometheus' way to it. The budget "
            "says nothing until they are back.",
            "runbook_url": f"{runbook_base}/SloNoData.md",
        },
    }
