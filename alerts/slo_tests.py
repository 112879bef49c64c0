"""promtool tests of an objective's rules: every pair of windows fires, is silent just below, and resets.

Counts of events are put in place of the recording rules' first step, window by window, so that a wrong factor, window
or operator in an alert shows; where the events are plain selectors, counters are put in as well, so that a wrong window
in a recording shows too. Expected values come from `alerts.burn`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from alerts.burn import Burn, Sample, increase, lower_bound
from alerts.promql import dump, matcher, series
from alerts.slo import SELECTOR, Slo
from alerts.slo_rules import (
    BASE_WINDOW,
    HOUSE_SEVERITY,
    PROVEN_SHARE,
    escalated_factor,
    group_names,
    identity,
    proven_windows,
    recorded,
    shortest_paging,
    windows_of,
)
from alerts.windows import BurnWindows, Severity, seconds_of

PHASE = 10  # minutes that a state lasts
FEW = 5  # bad events, little evidence
POWER_OF_TWO = 2**30
MANY = 10**9  # events: then the lower bound is the ratio, to a ten-thousandth
STEP_SECONDS = 300
EVALUATION_SECONDS = 3600  # of the test from counters, which is days long
TOLERANCE = 1e-6
_MATCHER = re.compile(r'([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:\\.|[^"\\])*)"')

Case = dict[str, Any]
Counts = Mapping[str, Sequence[tuple[float, float]]]  # window → (bad, total) in each phase


def render_slo_tests(
    slos: Sequence[Slo], pairs: Sequence[BurnWindows], *, rule_file: str, escalation: float | None = 4.0
) -> str:
    """Return promtool tests of the alerts of `render_slo_rules` with the same arguments."""
    cases: list[Case] = []
    for slo in slos:
        cases += [_pair_case(slo, pairs, pair) for pair in pairs if slo.page or pair.severity == "ticket"]
        cases += [*_escalation_cases(slo, pairs, escalation), _no_data_case(slo)]
    return _document(slos, cases, rule_file=rule_file, every_seconds=STEP_SECONDS)


def render_slo_counter_tests(slos: Sequence[Slo], pairs: Sequence[BurnWindows], *, rule_file: str) -> str:
    """Return promtool tests of the recordings: from counters to ratios, bounds and budgets, over more than 3 days.

    Objectives whose queries are not plain selectors have none: what else their counters count is not known.
    """
    held = [(slo, _counters_or_none(slo)) for slo in slos]
    cases = [_counter_case(slo, pairs, *counters) for slo, counters in held if counters is not None]
    return _document(slos, cases, rule_file=rule_file, every_seconds=EVALUATION_SECONDS)


def _document(slos: Sequence[Slo], cases: Sequence[Case], *, rule_file: str, every_seconds: int) -> str:
    # without an order promtool evaluates groups at random, and what one records the next may see an evaluation later
    order = [name for slo in slos for name in group_names(slo)]
    return dump(
        {
            "rule_files": [rule_file],
            "evaluation_interval": f"{every_seconds}s",
            "group_eval_order": order,
            "tests": list(cases),
        }
    )


def _injected(slo: Slo, pairs: Sequence[BurnWindows], counts: Counts, phases: int) -> list[dict[str, str]]:
    """Return recorded counts of every window, one minute a sample; windows without counts see no bad events."""
    found = []
    for window in windows_of(pairs):
        held = counts.get(window, [(0, 1)] * phases)
        for kind, place in (("bad", 0), ("total", 1)):
            labels = (matcher(*pair) for pair in {**slo.labels, **identity(slo), "sloth_window": window}.items())
            values = " ".join(f"{one[place]!r}x{PHASE - 1}" for one in held)
            found.append({"series": series(f"slo:sli_{kind}:increase{window}", *labels), "values": values})
    return found


def _fires(slo: Slo, severity: Severity, *, minute: int, fires: bool) -> dict[str, Any]:
    asked = series(
        "ALERTS",
        matcher("alertname", slo.runbook),
        matcher("alertstate", "firing"),
        matcher("sloth_severity", severity),
    )
    labels = {
        "alertname": slo.runbook,
        "alertstate": "firing",
        **slo.labels,
        **identity(slo),
        "sloth_severity": severity,
        "severity": HOUSE_SEVERITY[severity],
    }
    told = f"count without (sloth_window) ({asked})"
    expected = {"labels": series("", *(matcher(*pair) for pair in labels.items())), "value": 1}
    return {"expr": told, "eval_time": f"{minute}m", "exp_samples": [expected] if fires else []}


def _pair_case(slo: Slo, pairs: Sequence[BurnWindows], pair: BurnWindows) -> Case:
    """Below, one window alone, at the very threshold, too little evidence, both: it fires then alone, and resets."""
    limit = pair.factor(slo.period_days) * slo.error_budget
    above, below = (MANY * limit * 1.02, MANY), (MANY * limit * 0.98, MANY)
    at, nothing = (POWER_OF_TWO * limit, POWER_OF_TWO), (0, 0)  # scaled by a power of two the ratio is the limit itself
    few = lower_bound(FEW, 1, z=slo.evidence_z) / (limit * PROVEN_SHARE)  # events, at which the bound is half the limit
    doubtful, proven = (FEW, few / 0.98), (FEW, few / 1.02)
    phases: list[tuple[tuple[float, float], tuple[float, float], bool]] = [  # short, long, whether it fires
        (below, below, False),
        (below, above, False),
        (above, below, False),
        (at, above, False),
        (above, at, False),
        (above, above, True),
        (above, doubtful, False),
        (above, proven, True),
        (below, above, False),
        (nothing, nothing, False),
    ]
    counts = {pair.short: [one[0] for one in phases], pair.long: [one[1] for one in phases]}
    return {
        "interval": "1m",
        "name": f"{slo.id} {pair.severity} {pair.short}/{pair.long}",
        "input_series": _injected(slo, pairs, counts, len(phases)),
        "promql_expr_test": [
            _fires(slo, pair.severity, minute=place * PHASE + PHASE // 2, fires=fires)
            for place, (_, _, fires) in enumerate(phases)
        ]
        + [
            _near(recorded(f"slo:sli_error:ratio_rate{window}", slo), 0.0, (len(phases) * PHASE - PHASE // 2) * 60)
            for window in (pair.short, pair.long)
        ],
    }


def _escalation_cases(slo: Slo, pairs: Sequence[BurnWindows], escalation: float | None) -> Iterator[Case]:
    factor = escalated_factor(slo, pairs, escalation)
    if not slo.page or factor is None:
        return
    shortest = shortest_paging(pairs) or BASE_WINDOW
    limit = factor * slo.error_budget
    phases = [((MANY * limit * 0.98, MANY), False), ((MANY * limit * 1.02, MANY), True), ((0.0, MANY), False)]
    yield {
        "interval": "1m",
        "name": f"{slo.id} pages at once on {shortest}",
        "input_series": _injected(slo, pairs, {shortest: [one for one, _ in phases]}, len(phases)),
        "promql_expr_test": [
            _fires(slo, "page", minute=place * PHASE + PHASE // 2, fires=fires)
            for place, (_, fires) in enumerate(phases)
        ],
    }


def _no_data_case(slo: Slo) -> Case:
    labels = {**slo.labels, **identity(slo)}
    held = series("slo:sli_total:increase5m", *(matcher(*pair) for pair in {**labels, "sloth_window": "5m"}.items()))
    asked = series("ALERTS", 'alertname="SloNoData",alertstate="firing"', matcher("sloth_id", slo.id))
    fired = {"alertname": "SloNoData", "alertstate": "firing", **labels, "severity": "critical"}
    expected = [{"labels": series("ALERTS", *(matcher(*pair) for pair in fired.items())), "value": 1}]
    return {
        "interval": "1m",
        "name": f"{slo.id} without data",
        "input_series": [{"series": held, "values": "1x9 stale _x20 1x9"}],
        "promql_expr_test": [
            {"expr": asked, "eval_time": "9m", "exp_samples": []},
            {"expr": asked, "eval_time": "15m", "exp_samples": []},
            {"expr": asked, "eval_time": "25m", "exp_samples": expected},
            {"expr": asked, "eval_time": "36m", "exp_samples": []},
        ],
    }


def _counters_or_none(slo: Slo) -> tuple[str, str] | None:
    try:
        return _counters(slo)
    except re.error:  # Prometheus' patterns are RE2, which takes what Python does not
        return None


def _counters(slo: Slo) -> tuple[str, str] | None:
    """Return two series, counted as good and as bad events; None where the queries are not plain enough to tell."""
    part = slo.bad or slo.good
    if part is None or not SELECTOR.fullmatch(part) or not SELECTOR.fullmatch(slo.total):
        return None
    counted, all_of = _example(part), _example(slo.total)
    if counted is None or all_of is None:
        return None
    name, labels = counted
    shared = name == all_of[0]
    within = {**all_of[1], **labels} if shared else labels
    inside = series(name, *(matcher(*pair) for pair in within.items()))
    outside = series(all_of[0], *(matcher(*pair) for pair in {**all_of[1], "driftwarden_test": "other"}.items()))
    if not shared or _matches(part, {**all_of[1], "driftwarden_test": "other"}):
        return None  # apart from the whole: what else the counter counts is not ours to invent
    return (outside, inside) if slo.bad else (inside, outside)


def _example(selector: str) -> tuple[str, dict[str, str]] | None:
    """Return a metric and labels that a selector matches, None where its patterns are beyond a guess."""
    name = selector.split("{", 1)[0]
    labels = {}
    for label, operator, value in _MATCHER.findall(selector):
        if operator == "=":
            labels[label] = re.sub(r"\\(.)", r"\1", value)
        elif operator == "=~":
            guess = value.strip("()").split("|")[0].replace(".*", "x").replace(".+", "x").replace(".", "0")
            if not re.fullmatch(value, guess):
                return None
            labels[label] = guess
    return (name, labels) if _matches(selector, labels) else None


def _matches(selector: str, labels: Mapping[str, str]) -> bool:
    return all(_holds(labels.get(label, ""), operator, value) for label, operator, value in _MATCHER.findall(selector))


def _holds(held: str, operator: str, value: str) -> bool:
    equal = held == value if operator in ("=", "!=") else re.fullmatch(value, held) is not None
    return equal != operator.startswith("!")


def _counter_case(slo: Slo, pairs: Sequence[BurnWindows], good: str, bad: str) -> Case:
    """Failures early, some hours later, and for two hours at the end: every window holds another share of them."""
    hour = 3600 // STEP_SECONDS
    longest = max(seconds_of(window) for window in windows_of(pairs)) // STEP_SECONDS
    begins = (0, longest // 2, longest - 5 * hour, longest + 2 * hour)  # of four bursts of failures
    steps = longest + 4 * hour
    rates = [3 if any(begin <= step < begin + hour for begin in begins) else 0 for step in range(steps)]
    failures = [0, *accumulate(rates)]
    samples = {
        good: [(float(step * STEP_SECONDS), 10.0 * step) for step in range(steps + 1)],
        bad: [(float(step * STEP_SECONDS), float(count)) for step, count in enumerate(failures)],
    }
    asked = []
    for step in (longest + 2 * hour, longest + 3 * hour, steps):
        end = float(step * STEP_SECONDS)
        for window in windows_of(pairs):
            burn = _burn(slo, samples, good, bad, end=end, window=seconds_of(window))
            asked.append(_near(recorded(f"slo:sli_error:ratio_rate{window}", slo), burn.error_ratio or 0.0, end))
            if window in proven_windows(pairs):
                bound = lower_bound(burn.bad, burn.total, z=slo.evidence_z)
                asked.append(_near(recorded(f"slo:sli_error:lower_bound{window}", slo), bound, end))
        now = _burn(slo, samples, good, bad, end=end, window=STEP_SECONDS)
        period = _period_burn(slo, samples, good, bad, end=end)
        asked.append(_near(recorded("slo:current_burn_rate:ratio", slo), now.burn_rate or 0.0, end))
        left = 1.0 if period.budget_remaining is None else period.budget_remaining
        asked.append(_near(recorded("slo:period_error_budget_remaining:ratio", slo), left, end))
    return {
        "interval": f"{STEP_SECONDS}s",
        "name": f"{slo.id} from counters",
        "input_series": [
            {"series": good, "values": f"0+10x{steps}"},
            {"series": bad, "values": " ".join(str(count) for count in failures)},
        ],
        "promql_expr_test": asked,
    }


def _burn(slo: Slo, samples: Mapping[str, Sequence[Sample]], good: str, bad: str, *, end: float, window: int) -> Burn:
    counted = {one: increase(held, start=end - window, end=end) or 0.0 for one, held in samples.items()}
    return Burn(counted[bad], counted[good] + counted[bad], slo.error_budget)


def _period_burn(slo: Slo, samples: Mapping[str, Sequence[Sample]], good: str, bad: str, *, end: float) -> Burn:
    """Sum what every evaluation of the period has recorded for the shortest window."""
    begin = max(end - seconds_of(slo.period), 0.0)
    moments = [float(moment) for moment in range(0, int(end) + 1, EVALUATION_SECONDS) if moment >= begin]
    base = seconds_of(BASE_WINDOW)
    each = [_burn(slo, samples, good, bad, end=moment, window=base) for moment in moments]
    return Burn(sum(one.bad for one in each), sum(one.total for one in each), slo.error_budget)


def _near(expression: str, value: float, seconds: float) -> dict[str, Any]:
    told = f"sum(abs({expression} - {value!r}) < bool {TOLERANCE})"
    return {"expr": told, "eval_time": f"{seconds:.0f}s", "exp_samples": [{"labels": "{}", "value": 1}]}
