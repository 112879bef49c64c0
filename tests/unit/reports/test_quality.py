"""The quality section: what is measured, its interval, maturity, and what late labels restated."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from reports.errors import ReportInputError
from reports.model import MeasuredWindow, ReportInput
from reports.quality import quality_plot
from reports.render import render_report

DAY = timedelta(days=1)
BEGIN = datetime(2026, 5, 1, tzinfo=UTC)


def measured(day: int, value: float, *, restated: int = 0) -> MeasuredWindow:
    start = BEGIN + day * DAY
    return MeasuredWindow(
        start, start + DAY, "accuracy", value, value - 0.1, min(1.0, value + 0.05), 120, 0.4, restated
    )


def test_the_report_shows_every_measured_window_and_what_was_restated(report: ReportInput) -> None:
    page = render_report(replace(report, quality=(measured(0, 0.9), measured(1, 0.8, restated=1)), degraded=True))
    assert "Quality by labels" in page
    assert "0.900" in page
    assert "0.700 to 0.850" in page
    assert "120 (40%)" in page
    assert "once by late labels" in page
    assert "Accuracy is degraded" in page


def test_without_labels_there_is_no_section(report: ReportInput) -> None:
    assert "Quality by labels" not in render_report(report)


def test_the_plot_draws_one_bar_and_one_mark_a_window_inside_its_frame() -> None:
    plot = ET.fromstring(quality_plot([measured(0, 0.9), measured(1, 0.5), measured(2, 0.97)]))  # noqa: S314 our own
    circles = [one for one in plot.iter() if one.tag.endswith("circle")]
    assert len(circles) == 3
    heights = [float(one.attrib["cy"]) for one in circles]
    assert heights[2] < heights[0] < heights[1]  # up is better
    assert all(16 <= height <= 200 for height in heights)


def test_times_carry_utc() -> None:
    with pytest.raises(ReportInputError, match="aware UTC"):
        replace(measured(0, 0.9), start=datetime(2026, 5, 1, tzinfo=UTC).astimezone(tz=None).replace(tzinfo=None))
