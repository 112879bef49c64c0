"""What quality and bias runs say, as reports show it."""

from monitor.store import StoredRun
from reports.model import AuditedGroup, AuditShown, MeasuredWindow


def audit_shown(run: StoredRun) -> AuditShown:
    """Return the comparisons of a bias run."""
    references = {one["attribute"]: one["group"] for one in run.payload["groups"] if one["reference"]}
    groups = tuple(
        AuditedGroup(
            attribute=one["attribute"],
            group=one["group"],
            reference=references[one["attribute"]],
            metric=metric,
            value=rate["value"],
            low=rate["low"],
            high=rate["high"],
            n=rate["n"],
            difference=rate["difference"]["value"],
            verdict=rate["verdict"],
            needed=rate["needed"],
        )
        for one in run.payload["groups"]
        for metric, rate in one["metrics"].items()
        if "verdict" in rate
    )
    return AuditShown(
        start=run.window_start,
        end=run.window_end,
        verdict=run.payload["verdict"],
        n=run.payload["n"],
        labelled=run.payload["labelled"],
        groups=groups,
    )


def measured_window(run: StoredRun) -> MeasuredWindow:
    """Return the first measure of a quality run, which is the task's main one."""
    first = run.payload["metrics"][0]
    return MeasuredWindow(
        start=run.window_start,
        end=run.window_end,
        metric=first["name"],
        value=first["value"],
        low=first["low"],
        high=first["high"],
        n=first["n"],
        maturity=run.payload["maturity"],
        restated=int((run.payload["restated_from"] or {}).get("times", 0)),
    )
