import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from reports.model import DetectorRow, MixRow, Projection, WindowVerdict
from reports.plots import MAX_POINTS, detector_plots, mix_plot, projection_plot, verdicts_plot
from reports.svg import Scale, nice_ticks, number, time_ticks

START = datetime(2026, 1, 1, tzinfo=UTC)


def parsed(svg: str) -> ET.Element:
    root = ET.fromstring(svg)  # noqa: S314 - our own output
    assert root.get("role") == "img"
    assert root.get("viewBox")
    assert (root.get("aria-labelledby") or "").split() == [root[0].get("id"), root[1].get("id")]
    assert (root[0].tag, root[1].tag) == ("title", "desc")
    assert "nan" not in svg
    assert "inf" not in svg
    return root


def thresholds(root: ET.Element) -> list[str]:
    return [path.get("d", "") for path in root.iter("path") if path.get("class") == "threshold"]


def test_a_mark_stands_where_the_arithmetic_puts_it(verdict: Callable[..., WindowVerdict]) -> None:
    """Two days over 66..822: the first middle is 66 + 756/4 = 255. p = 0.1 is 1 of 3 · 1.06: 200 - 184/3.18 = 142.1."""
    root = parsed(verdicts_plot([verdict(0, p_value=0.1), verdict(1)]))
    assert ("255", "142.1") in [(mark.get("cx"), mark.get("cy")) for mark in root.iter("circle")]


def test_the_threshold_line_spans_the_plot_and_steps_where_alpha_changes(verdict: Callable[..., WindowVerdict]) -> None:
    """alpha = 0.01 is 200 - 2 · 184/3.18 = 84.3 and alpha = 0.1 is 142.1; the step is half-way, at 444."""
    root = parsed(verdicts_plot([verdict(0), verdict(1, alpha=0.1)]))
    assert thresholds(root) == ["M66 84.3H444L444 142.1H822"]


def test_the_four_kinds_of_window_differ_in_shape(verdict: Callable[..., WindowVerdict]) -> None:
    windows = [verdict(0), verdict(1, p_value=0.001), verdict(2, "too_little_data", None), verdict(3, "failed", None)]
    root = parsed(verdicts_plot(windows))
    shapes = {}
    for mark in root:
        if mark.tag in ("circle", "path") and mark.find("title") is not None:
            day = (mark.findtext("title") or "")[:10]
            outline = (mark.get("d") or "disc").strip("0123456789.M -")[:1]
            shapes[day] = (mark.tag, outline, "stroke" in mark.attrib)
    assert len(shapes) == 4
    assert len(set(shapes.values())) == 4


def test_windows_without_a_verdict_stand_below_the_p_values(verdict: Callable[..., WindowVerdict]) -> None:
    root = parsed(verdicts_plot([verdict(0, p_value=1.0), verdict(1, "too_little_data", None)]))
    heights = [float(mark.get("cy", "0")) for mark in root.findall("circle")]
    assert heights == [200.0, 226.0]


@pytest.mark.parametrize("p_value", [0.0, 1e-300, 1.0])
def test_extreme_p_values_stay_inside_the_plot(verdict: Callable[..., WindowVerdict], p_value: float) -> None:
    root = parsed(verdicts_plot([verdict(0, p_value=p_value)]))
    (mark,) = [mark for mark in root if mark.find("title") is not None]
    path = mark.get("d")
    top = float(mark.get("cy", "nan")) if path is None else float(path[1:].split("L")[0].split()[1])
    assert 0 <= top <= 200


def test_a_p_value_too_small_to_draw_is_said_to_be(verdict: Callable[..., WindowVerdict]) -> None:
    assert "p below 1e-6 is drawn there" in verdicts_plot([verdict(0, p_value=1e-20)])
    assert "is drawn there" not in verdicts_plot([verdict(0, p_value=1e-6)])


@pytest.mark.parametrize("p_value", [0.05, 1e-4, 1e-20])
def test_no_tick_label_of_the_p_axis_reaches_under_its_title(
    verdict: Callable[..., WindowVerdict], p_value: float
) -> None:
    """The title's line stands at x = 14, 13 px high; a digit is at most 8 px wide."""
    root = parsed(verdicts_plot([verdict(0, p_value=p_value)]))
    (title,) = [one for one in root.iter("text") if one.text == "p-value"]
    for label in root.iter("text"):
        if label.get("text-anchor") == "end" and re.fullmatch(r"[\d.e-]+", label.text or ""):
            assert float(label.get("x", "0")) - 8 * len(label.text or "") >= float(title.get("x", "0")) + 4


@pytest.mark.parametrize("count", [0, 1, 2, 400])
def test_any_number_of_windows_can_be_drawn(verdict: Callable[..., WindowVerdict], count: int) -> None:
    windows = [verdict(day) for day in range(count)]
    parsed(verdicts_plot(windows))
    for plot in detector_plots(windows):
        parsed(plot)


def test_each_detector_has_a_plot_with_its_own_threshold(verdict: Callable[..., WindowVerdict]) -> None:
    rows = (DetectorRow("kl", 0.1, "nats", 0.5, 0.2, False), DetectorRow("cosine", 0.5, "distance", 0.001, 0.4, True))
    roots = [parsed(plot) for plot in detector_plots([verdict(0, detectors=rows)])]
    assert [root.findtext("title") for root in roots] == ["kl over time", "cosine over time"]
    assert [len(thresholds(root)) for root in roots] == [1, 1]
    assert thresholds(roots[0]) != thresholds(roots[1])


@pytest.mark.parametrize("value", [0.0, 1e-9, 5.0, -2.0, float("inf"), float("nan")])
def test_equal_and_not_finite_statistics_can_be_drawn(verdict: Callable[..., WindowVerdict], value: float) -> None:
    row = DetectorRow("kl", value, "nats", 0.5, value, False)
    (plot,) = detector_plots([verdict(0, detectors=(row,)), verdict(1, detectors=(row,))])
    parsed(plot.replace("infinite", ""))


def test_large_projections_are_thinned_the_same_way_every_time() -> None:
    points = np.random.default_rng(0).normal(size=(5000, 2))
    projection = Projection(points, points[:10], ("first", "second"))
    svg = projection_plot(projection)
    assert svg == projection_plot(projection)
    assert len(list(parsed(svg).iter("circle"))) == MAX_POINTS + 1  # and one in the legend
    assert "1,500 of 5,000 texts drawn" in svg


@pytest.mark.parametrize(
    "points", [np.empty((0, 2)), np.ones((1, 2)), np.ones((5, 2)), np.array([[np.nan, 1.0], [np.inf, 2.0]])]
)
def test_empty_equal_and_not_finite_projections_can_be_drawn(points: np.ndarray) -> None:
    parsed(projection_plot(Projection(points, np.empty((0, 2)), ("first", "second"))))


def test_bars_are_as_long_as_the_shares_and_a_missing_reference_is_said() -> None:
    """The largest share, 0.5, fills 500 pixels; 0.25 is 250."""
    svg = mix_plot([MixRow("a", 0.25, 0.5, 5), MixRow("b", None, 0.5, 5)])
    bars = [bar.get("width") for bar in parsed(svg).iter("rect") if bar.get("height") == "11"]
    assert bars == ["250", "500", "0.5", "500"]
    assert "not known in the reference" in svg


def test_an_empty_mix_and_one_of_zeros_can_be_drawn() -> None:
    parsed(mix_plot([]))
    parsed(mix_plot([MixRow("a", 0.0, 0.0, 0)]))


def test_labels_beyond_the_limit_are_counted_not_hidden() -> None:
    assert "6 further labels are not drawn" in mix_plot([MixRow(str(i), 0.1, 0.1, 1) for i in range(30)])


def test_markup_in_a_label_is_escaped() -> None:
    svg = mix_plot([MixRow("<script>&\x00", 0.1, 0.2, 1)])
    parsed(svg)
    assert "<script" not in svg


@pytest.mark.parametrize("hours", [1, 5, 24, 24 * 3, 24 * 14, 24 * 90, 24 * 200, 24 * 400, 24 * 4000])
def test_time_ticks_are_few_round_and_inside(hours: int) -> None:
    start = START + timedelta(minutes=17)
    ticks = time_ticks(start, start + timedelta(hours=hours))
    assert 1 <= len(ticks) <= 8
    assert all(start <= tick.at <= start + timedelta(hours=hours) and tick.at.minute == 0 for tick in ticks)
    assert len({tick.at for tick in ticks}) == len(ticks)


def test_weeks_are_marked_on_mondays_with_the_year_once() -> None:
    ticks = time_ticks(START, START + timedelta(days=28))
    assert [(tick.label, tick.below) for tick in ticks] == [
        ("5 Jan", "2026"),
        ("12 Jan", ""),
        ("19 Jan", ""),
        ("26 Jan", ""),
    ]


def test_a_scale_without_a_span_answers_its_middle() -> None:
    assert Scale(1.0, 1.0, 0.0, 10.0)(1.0) == 5.0


def test_ticks_are_round_and_coordinates_short() -> None:
    assert nice_ticks(0.0, 0.0123) == (0.0, 0.005, 0.01)
    assert nice_ticks(2.0, 2.0) == (2.0,)
    assert (number(12.04), number(-0.01), number(0.25)) == ("12", "0", "0.2")
