"""Accuracy over time, by labels: the plot and the rows of its table."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.model import MeasuredWindow
from reports.svg import Scale, document, element, nice_ticks, text, time_ticks, titled
from reports.wording import when

COLOUR = "var(--now, #0072b2)"
GRID_COLOUR = "var(--line, #d5dbe3)"
SOFT_COLOUR = "var(--soft, #5b6675)"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 900, 250, 66, 822, 16, 200


@dataclass(frozen=True, slots=True)
class MeasuredView:
    """A row of the table of measured windows, as it is read."""

    start: str
    end: str
    value: str
    interval: str
    labelled: str
    restated: str


@dataclass(frozen=True, slots=True)
class QualityView:
    """The section: what is measured, the plot, the rows, the newest first, and the verdict in one line."""

    metric: str
    plot: str
    rows: tuple[MeasuredView, ...]
    verdict: str


def quality_view(windows: Sequence[MeasuredWindow], *, degraded: bool | None) -> QualityView | None:
    """Lay the section out; None without a measured window."""
    if not windows:
        return None
    words = {
        True: "Accuracy is degraded: the labels show more errors than the baseline's and the tolerance.",
        False: "No degradation found against the baseline.",
        None: "Degradation is not judged: the baseline has no labels.",
    }
    ordered = sorted(windows, key=lambda one: (one.end, one.start))
    return QualityView(
        metric=ordered[-1].metric,
        plot=quality_plot(ordered),
        rows=tuple(_row(one) for one in reversed(ordered)),
        verdict=words[degraded],
    )


def _row(one: MeasuredWindow) -> MeasuredView:
    restated = "" if not one.restated else f"{one.restated} times by late labels"
    return MeasuredView(
        start=when(one.start),
        end=when(one.end),
        value=f"{one.value:.3f}",
        interval=f"{one.low:.3f} to {one.high:.3f}",
        labelled=f"{one.n:,} ({one.maturity:.0%})",
        restated=restated.replace("1 times", "once"),
    )


def quality_plot(ordered: Sequence[MeasuredWindow]) -> str:
    """Plot every window's measure in its interval, by the time of its events; oldest first, at least one."""
    first, last = min(one.start for one in ordered), max(one.end for one in ordered)
    x = Scale(first.timestamp(), last.timestamp(), LEFT, RIGHT)
    lowest = min(one.low for one in ordered)
    y = Scale(max(0.0, lowest - 0.05), 1.0, BOTTOM, TOP)
    body = []
    for tick in nice_ticks(y.low, 1.0):
        body.append(element("line", x1=LEFT, x2=RIGHT, y1=y(tick), y2=y(tick), stroke=GRID_COLOUR))
        body.append(text(LEFT - 6, y(tick) + 4, f"{tick:g}", text_anchor="end", fill=SOFT_COLOUR))
    for moment in time_ticks(first, last):
        body.append(text(x(moment.at.timestamp()), BOTTOM + 17, moment.label, text_anchor="middle", fill=SOFT_COLOUR))
        body.append(text(x(moment.at.timestamp()), BOTTOM + 31, moment.below, text_anchor="middle", fill=SOFT_COLOUR))
    body += [_mark(one, x, y) for one in ordered]
    return document(
        "quality",
        title=f"{ordered[-1].metric} over time",
        description=f"{len(ordered)} windows; the latest {ordered[-1].value:.3f}, between {ordered[-1].low:.3f} and "
        f"{ordered[-1].high:.3f}. Bars are intervals that hold at every look.",
        width=WIDTH,
        height=HEIGHT,
        body=body,
    )


def _mark(one: MeasuredWindow, x: Scale, y: Scale) -> str:
    at = x((one.start.timestamp() + one.end.timestamp()) / 2)
    told = f"{when(one.start)}: {one.value:.3f} ({one.low:.3f} to {one.high:.3f}), {one.n} labels"
    bar = element("line", x1=at, x2=at, y1=y(one.low), y2=y(one.high), stroke=COLOUR, stroke_width="2")
    dot = element("circle", cx=at, cy=y(one.value), r=4, fill=COLOUR)
    return element("g", titled(told), bar, dot)
