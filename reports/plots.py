"""Plots as inline SVG: no script, readable in light and dark, told apart by shape and not by colour alone."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape

import numpy as np
import numpy.typing as npt

from reports.model import MixRow, Projection, WindowVerdict

MAX_POINTS = 1500
TICKS = 8
SMALLEST_SHOWN = 1e-6  # far smaller p-values would flatten everything else
STEPS = tuple(
    timedelta(hours=h) for h in (1, 2, 3, 6, 12, 24, 48, 24 * 7, 24 * 14, 24 * 28, 24 * 91, 24 * 182, 24 * 365)
)


def _svg(width: int, height: int, *, title: str, description: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "tick") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


class Scale:
    """A linear scale from [low, high] onto [first, last]; a span of nothing is widened."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        if high <= low:
            low, high = low - 0.5, high + 0.5
        self.low, self.high, self.first, self.last = low, high, first, last

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)


def time_ticks(start: datetime, end: datetime) -> list[datetime]:
    """Return at most nine round times in [start, end], on multiples of a usual step."""
    span = end - start
    step = next((step for step in STEPS if span / step <= TICKS), STEPS[-1])
    epoch = datetime(1970, 1, 5, tzinfo=start.tzinfo)  # a Monday: weekly steps fall on Mondays
    tick = epoch + math.ceil((start - epoch) / step) * step
    ticks: list[datetime] = []
    while tick <= end and len(ticks) <= TICKS:
        ticks.append(tick)
        tick += step
    return ticks


def _time_axis(scale: Scale, start: datetime, end: datetime, y: float) -> list[str]:
    ticks = time_ticks(start, end)
    hours = any(tick.hour for tick in ticks)
    parts = [_line(scale.first, y, scale.last, y, "axis")]
    for tick in ticks:
        x = scale(tick.timestamp())
        parts += [_line(x, y, x, y + 4, "axis")]
        parts += [_text(x, y + 17, f"{tick:%d %b %H:%M}" if hours else f"{tick:%d %b}", anchor="middle")]
    return parts


def verdicts_plot(verdicts: Sequence[WindowVerdict], *, start: datetime, end: datetime) -> str:
    """Plot −log10 p of every window over time against the threshold; drift is a filled diamond above the line."""
    width, height, top, bottom = 900, 230, 14, 196
    judged = [(one, -math.log10(max(one.p_value, SMALLEST_SHOWN))) for one in verdicts if one.p_value is not None]
    levels = [value for _, value in judged] + [-math.log10(one.alpha) for one in verdicts]
    x = Scale(start.timestamp(), end.timestamp(), 48, width - 16)
    y = Scale(0.0, max([*levels, 1.0]) * 1.15, bottom, top)
    parts = _time_axis(x, start, end, bottom)
    for power in range(int(y.high) + 1):
        parts.append(_text(40, y(power) + 4, "1" if power == 0 else f"{10.0**-power:g}", anchor="end"))
    parts.append(_text(48, 10, f"p-value, small is up; those below {SMALLEST_SHOWN:g} stand there"))
    for one in verdicts:
        level = y(-math.log10(one.alpha))
        parts.append(_line(x(one.start.timestamp()), level, x(one.end.timestamp()), level, "threshold"))
    if verdicts:
        level = y(-math.log10(verdicts[-1].alpha))
        parts.append(_text(width - 18, level - 5, f"threshold {verdicts[-1].alpha:g}", anchor="end", kind="tick"))
    for one, value in judged:
        parts.append(_mark(x(_middle(one)), y(value), drift=bool(one.drift), title=_describe(one)))
    for one in verdicts:
        if one.p_value is None:
            parts.append(_blank(x(_middle(one)), bottom - 8, failed=one.status == "failed", title=_describe(one)))
    drifted = sum(bool(one.drift) for one in verdicts)
    return _svg(
        width,
        height,
        title="Verdicts over time",
        description=f"{len(verdicts)} windows, {drifted} drifted; points above the dashed line are drift",
        body=parts,
    )


def _middle(one: WindowVerdict) -> float:
    return (one.start.timestamp() + one.end.timestamp()) / 2


def _describe(one: WindowVerdict) -> str:
    verdict = "drift" if one.drift else "no drift" if one.p_value is not None else one.status.replace("_", " ")
    p_value = "" if one.p_value is None else f", p = {one.p_value:.2g}"
    return f"{one.start:%Y-%m-%d %H:%M} to {one.end:%Y-%m-%d %H:%M} UTC: {verdict}{p_value}, {one.n} texts"


def _mark(x: float, y: float, *, drift: bool, title: str) -> str:
    shape = (
        f'<path d="M{x:.1f} {y - 7:.1f}L{x + 7:.1f} {y:.1f}L{x:.1f} {y + 7:.1f}L{x - 7:.1f} {y:.1f}Z" class="drift">'
        if drift
        else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="calm">'
    )
    return f"{shape}<title>{escape(title)}</title></{'path' if drift else 'circle'}>"


def _blank(x: float, y: float, *, failed: bool, title: str) -> str:
    if not failed:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="hollow"><title>{escape(title)}</title></circle>'
    cross = f"M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"
    return f'<path d="{cross}" class="failed"><title>{escape(title)}</title></path>'


def detector_plot(name: str, verdicts: Sequence[WindowVerdict], *, start: datetime, end: datetime) -> str:
    """Plot one detector's statistic over time with the threshold of each window."""
    width, height, top, bottom = 430, 150, 24, 120
    rows = [(one, row) for one in verdicts for row in one.detectors if row.name == name]
    unit = rows[0][1].unit if rows else ""
    highest = max([max(row.statistic, row.threshold) for _, row in rows], default=1.0) or 1.0
    x = Scale(start.timestamp(), end.timestamp(), 56, width - 12)
    y = Scale(min([0.0, *(row.statistic for _, row in rows)]), highest * 1.1, bottom, top)
    parts = [*_time_axis(x, start, end, bottom), _text(56, 14, f"{name} [{unit}]", kind="name")]
    parts += [_text(50, y(value) + 4, f"{value:.2g}", anchor="end") for value in (0.0, highest)]
    for one, row in rows:
        level = y(row.threshold)
        parts.append(_line(x(one.start.timestamp()), level, x(one.end.timestamp()), level, "threshold"))
    points = " ".join(f"{x(_middle(one)):.1f},{y(row.statistic):.1f}" for one, row in rows)
    if len(rows) > 1:
        parts.append(f'<polyline points="{points}" class="series"/>')
    for one, row in rows:
        title = f"{one.start:%Y-%m-%d %H:%M}: {row.statistic:.4g} {row.unit}, threshold {row.threshold:.4g}"
        parts.append(_mark(x(_middle(one)), y(row.statistic), drift=row.drift, title=title))
    return _svg(
        width,
        height,
        title=f"{name} over time",
        description=f"statistic in {unit} of {len(rows)} windows, with each window's threshold",
        body=parts,
    )


def projection_plot(projection: Projection) -> str:
    """Plot reference (hollow, grey) and current (filled) embeddings in two dimensions."""
    width, height = 640, 430
    reference, current = _thinned(projection.reference_xy), _thinned(projection.current_xy)
    both = np.concatenate([reference, current])
    low, high = (both.min(axis=0), both.max(axis=0)) if both.size else (np.zeros(2), np.ones(2))
    x, y = Scale(float(low[0]), float(high[0]), 20, width - 20), Scale(float(low[1]), float(high[1]), height - 40, 40)
    parts = [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.6" class="reference"/>' for a, b in reference]
    parts += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.4" class="current"/>' for a, b in current]
    parts += [
        '<circle cx="26" cy="14" r="4" class="reference"/>',
        _text(36, 18, f"reference ({len(projection.reference_xy)} texts)"),
        '<circle cx="216" cy="14" r="4" class="current"/>',
        _text(226, 18, f"current ({len(projection.current_xy)} texts)"),
        _text(width / 2, height - 8, projection.axis_labels[0], anchor="middle"),
    ]
    return _svg(
        width,
        height,
        title="Embeddings of reference and current texts",
        description=f"{projection.axis_labels[0]} against {projection.axis_labels[1]}",
        body=parts,
    )


def _thinned(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    rows = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    if len(rows) <= MAX_POINTS:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, MAX_POINTS).astype(int)])


def mix_plot(rows: Sequence[MixRow]) -> str:
    """Plot the share of every predicted class before and now as paired bars."""
    height = 30 + 30 * len(rows)
    largest = max([max(row.current_share, row.reference_share or 0.0) for row in rows], default=1.0)
    x = Scale(0.0, largest, 230, 800)
    parts = [
        '<rect x="230" y="6" width="12" height="9" class="bar-reference"/>', _text(248, 15, "reference"),
        '<rect x="330" y="6" width="12" height="9" class="bar-current"/>', _text(348, 15, "current"),
    ]  # fmt: skip
    for position, row in enumerate(rows):
        y = 30 + 30 * position
        label = row.label if len(row.label) <= 32 else row.label[:31] + "…"
        parts.append(_text(222, y + 14, label, anchor="end"))
        if row.reference_share is not None:
            parts.append(_bar(y, x(row.reference_share) - 230, "bar-reference"))
        parts.append(_bar(y + 11, x(row.current_share) - 230, "bar-current"))
        before = "" if row.reference_share is None else f"{row.reference_share:.1%} → "
        parts.append(
            _text(x(max(row.current_share, row.reference_share or 0.0)) + 6, y + 14, f"{before}{row.current_share:.1%}")
        )
    return _svg(
        900,
        height,
        title="Prediction mix",
        description="share of each predicted class in the reference and now",
        body=parts,
    )


def _bar(y: float, width: float, kind: str) -> str:
    return f'<rect x="230" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="10" class="{kind}"/>'
