"""The section on bias: disparities first, in words, and what is left out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reports.bias import SHOWN
from reports.model import AuditedGroup, AuditShown, ReportInput
from reports.render import render_report

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def rate(group: str, verdict: str, *, difference: float | None = 0.0, needed: int | None = None) -> AuditedGroup:
    return AuditedGroup("region", group, "north", "selection_rate", 0.25, 0.2, 0.3, 400, difference, verdict, needed)


def audit(*groups: AuditedGroup) -> AuditShown:
    return AuditShown(BEGIN, BEGIN + timedelta(days=7), "disparity", 1200, 600, groups)


def test_disparities_come_first_and_say_which_way(report: ReportInput) -> None:
    shown = audit(
        rate("west", "no disparity beyond the margin"),
        rate("<b>east</b>", "insufficient evidence", needed=571),
        rate("south", "disparity", difference=-0.3),
    )
    page = render_report(replace(report, audit=shown))
    assert "Bias audit" in page
    assert "1,200 answers, 600 of them labelled: disparity." in page
    assert "disparity: 30.0 points below north" in page
    assert "insufficient evidence: 571 rows would tell" in page
    assert page.index(">south<") < page.index("east&lt;") < page.index(">west<")
    assert "<b>east" not in page


def test_a_group_without_rows_has_no_number_and_long_tables_are_cut(report: ReportInput) -> None:
    none = replace(rate("none", "insufficient evidence"), value=None, low=None, high=None, n=0, difference=None)
    many = [rate(f"g{i:03}", "no disparity beyond the margin") for i in range(SHOWN + 4)]
    page = render_report(replace(report, audit=audit(none, *many)))
    assert ">–</td>" in page
    assert "5 more in the audit itself" in page


def test_without_an_audit_there_is_no_section(report: ReportInput) -> None:
    assert "Bias audit" not in render_report(report)
