"""The latest bias audit as a table: disparities first, then what could not be told."""

from dataclasses import dataclass

from reports.model import AuditedGroup, AuditShown
from reports.wording import when

SHOWN = 60
RATES = {"tpr": "true positive rate", "fpr": "false positive rate", "fnr": "false negative rate"}
ORDER = {"disparity": 0, "insufficient evidence": 1}


@dataclass(frozen=True, slots=True)
class GroupView:
    """A row of the table, as it is read."""

    attribute: str
    group: str
    metric: str
    value: str
    interval: str
    n: str
    told: str


@dataclass(frozen=True, slots=True)
class BiasView:
    """The section: when and what was audited, the verdict, the rows, and how many are left out."""

    span: str
    verdict: str
    rows: tuple[GroupView, ...]
    left_out: int


def bias_view(audit: AuditShown | None) -> BiasView | None:
    """Lay the section out; None without an audit."""
    if audit is None:
        return None
    ordered = sorted(audit.groups, key=lambda one: (ORDER.get(one.verdict, 2), one.attribute, one.metric, one.group))
    return BiasView(
        span=f"{when(audit.start)} to {when(audit.end)}",
        verdict=f"{audit.n:,} answers, {audit.labelled:,} of them labelled: {audit.verdict}.",
        rows=tuple(_row(one) for one in ordered[:SHOWN]),
        left_out=max(len(ordered) - SHOWN, 0),
    )


def _row(one: AuditedGroup) -> GroupView:
    known = one.value is not None
    return GroupView(
        attribute=one.attribute,
        group=one.group,
        metric=RATES.get(one.metric, one.metric.replace("_", " ")),
        value=f"{one.value:.3f}" if known else "–",
        interval=f"{one.low:.3f} to {one.high:.3f}" if known else "–",
        n=f"{one.n:,}",
        told=_told(one),
    )


def _told(one: AuditedGroup) -> str:
    if one.verdict == "disparity" and one.difference is not None:
        side = "above" if one.difference > 0 else "below"
        return f"disparity: {100 * abs(one.difference):.1f} points {side} {one.reference}"
    needed = "" if one.needed is None else f": {one.needed:,} rows would tell"
    return f"{one.verdict}{needed}"
