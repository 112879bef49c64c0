"""Plots as inline SVG: no script, readable in light and dark, told apart by shape as well as colour.

Colours are CSS variables with fallbacks from Okabe & Ito's palette, so a plot is also readable by itself.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from reports.model import DetectorRow, MixRow, Projection, WindowVerdict
from reports.svg import Scale, document, element, nice_ticks, number, text, time_ticks, titled
from reports.wording import (
    CALM,
    DRIFT,
    FAILED,
    JUDGED,
    LITTLE,
    SMALLEST_P,
    WORDS,
    kind_of,
    p_phrase,
    share_text,
    significant,
    when,
)

CALM_COLOUR = "var(--now, #0072b2)"  # blue: the current window, everywhere in the report
DRIFT_COLOUR = "var(--bad, #d55e00)"
REFERENCE_COLOUR = "var(--ref, #8a8f98)"
GRID_COLOUR = "var(--line, #d5dbe3)"
SOFT_COLOUR = "var(--soft, #5b6675)"

MAX_POINTS = 1500
MAX_LABELS = 24


def verdicts_plot(verdicts: Sequence[WindowVerdict]) -> str:
    """Plot every window's p-value (-log10, so up is stronger evidence) against its alpha.

    Windows that were not judged stand on a strip of their own below: they have no p-value to stand at.
    """
    width, height, left, right, top, bottom = 900, 300, 66, 822, 16, 200
    strip, axis = 226, 246
    ordered = sorted(verdicts, key=lambda one: (one.end, one.start))
    judged = [(one, _surprise(one.p_value)) for one in ordered if one.p_value is not None and kind_of(one) in JUDGED]
    waiting = [one for one in ordered if kind_of(one) not in JUDGED]
    top_value = max([3.0, *(value for _, value in judged), *(_surprise(one.alpha) for one in ordered)])
    y = Scale(0.0, top_value * 1.06, bottom, top)
    body = [_p_axis(y, left, right)]
    body.append(text(14, (top + bottom) / 2, "p-value", **_turned(14, (top + bottom) / 2)))
    if ordered:
        x = _time_scale(ordered, left, right)
        body.append(_time_axis(ordered, x, axis))
        levels = [(x(_middle(one)), y(_surprise(one.alpha))) for one in ordered]
        body.append(_threshold(levels, left, right))
        body.append(text(right + 6, levels[-1][1] + 4, f"α = {significant(ordered[-1].alpha)}", fill=SOFT_COLOUR))
        body.append(
            _joined([(x(_middle(one)), y(value)) if value is not None else None for one, value in _with_gaps(ordered)])
        )
        body += [_mark(kind_of(one), x(_middle(one)), y(value), tooltip(one)) for one, value in judged]
        body += [_mark(kind_of(one), x(_middle(one)), strip, tooltip(one)) for one in waiting]
        if any(one.p_value is not None and one.p_value < SMALLEST_P for one, _ in judged):
            body.append(text(right, 10, "p below 1e-6 is drawn there", text_anchor="end", fill=SOFT_COLOUR))
        if waiting:
            body.append(text(right + 6, strip + 4, "not judged", fill=SOFT_COLOUR))
    else:
        body.append(text((left + right) / 2, (top + bottom) / 2, "no windows", text_anchor="middle", fill=SOFT_COLOUR))
    body.append(_legend(left, height - 8, [kind_of(one) for one in ordered]))
    counted = ", ".join(f"{sum(kind_of(one) == kind for one in ordered)} {word}" for kind, word in WORDS.items())
    return document(
        "verdicts",
        title="Verdicts over time",
        description=f"{len(ordered)} windows: {counted}. Marks above the dashed threshold line are drift.",
        width=width,
        height=height,
        body=body,
    )


def detector_names(verdicts: Iterable[WindowVerdict]) -> tuple[str, ...]:
    """Return the detectors' names in the order in which they first appear."""
    return tuple(dict.fromkeys(row.name for one in verdicts for row in one.detectors))


def detector_plots(verdicts: Sequence[WindowVerdict]) -> tuple[str, ...]:
    """Plot each detector's statistic over time with its own threshold; all share one time axis."""
    ordered = sorted(verdicts, key=lambda one: (one.end, one.start))
    return tuple(_detector_plot(index, name, ordered) for index, name in enumerate(detector_names(ordered)))


def _detector_plot(index: int, name: str, ordered: Sequence[WindowVerdict]) -> str:
    width, height, left, right, top, bottom = 430, 178, 54, 418, 34, 136
    rows = [(one, row) for one in ordered for row in one.detectors if row.name == name]
    shown = [(one, row) for one, row in rows if math.isfinite(row.statistic)]
    levels = [(one, row.threshold) for one, row in rows if math.isfinite(row.threshold)]
    values = [0.0, *(row.statistic for _, row in shown), *(level for _, level in levels)]
    low, high = min(values), max(values)
    y = Scale(low, high + (0.08 * (high - low) or 1.0), bottom, top)
    x = _time_scale(ordered, left, right)
    unit = rows[0][1].unit
    body = [
        text(left, 14, name, font_weight="600", font_size="13"),
        text(right, 14, unit, text_anchor="end", fill=SOFT_COLOUR),
    ]
    for tick in nice_ticks(y.low, y.high, most=3):
        body += [
            _rule(left, right, y(tick)),
            text(left - 6, y(tick) + 4, f"{tick:g}", text_anchor="end", fill=SOFT_COLOUR),
        ]
    body.append(_time_axis(ordered, x, bottom, most=5))
    body.append(_threshold([(x(_middle(one)), y(level)) for one, level in levels], left, right))
    held = {id(one): row.statistic for one, row in shown}
    body.append(_joined([(x(_middle(one)), y(held[id(one)])) if id(one) in held else None for one in ordered]))
    body += [
        _mark(DRIFT if row.drift else CALM, x(_middle(one)), y(row.statistic), _row_tooltip(one, row), size=3.4)
        for one, row in shown
    ]
    over = sum(row.drift for _, row in rows)
    return document(
        f"detector-{index}",
        title=f"{name} over time",
        description=f"{name} in {unit} for {len(rows)} windows, {over} of them over the dashed line of its threshold.",
        width=width,
        height=height,
        body=body,
    )


def projection_plot(projection: Projection) -> str:
    """Plot reference texts (grey dots) under current texts (blue diamonds), at most 1500 of each."""
    width, height, left, right, top, bottom = 760, 470, 40, 744, 38, 424
    reference, current = _thinned(projection.reference_xy), _thinned(projection.current_xy)
    both = np.concatenate([reference, current])
    body = [element("rect", x=left, y=top, width=right - left, height=bottom - top, fill="none", stroke=GRID_COLOUR)]
    if len(both):
        x = Scale(float(both[:, 0].min()), float(both[:, 0].max()), left + 10, right - 10)
        y = Scale(float(both[:, 1].min()), float(both[:, 1].max()), bottom - 10, top + 10)
        dots = [element("circle", cx=x(float(a)), cy=y(float(b)), r=2.4) for a, b in reference]
        diamonds = [f'<path d="{_diamond(x(float(a)), y(float(b)), 3.2)}"/>' for a, b in current]
        body.append(element("g", *dots, fill=REFERENCE_COLOUR, fill_opacity="0.45"))
        body.append(element("g", *diamonds, fill=CALM_COLOUR, fill_opacity="0.6"))
    else:
        body.append(text((left + right) / 2, (top + bottom) / 2, "no texts", text_anchor="middle", fill=SOFT_COLOUR))
    body += [
        element("circle", cx=left + 5, cy=17, r=4.5, fill=REFERENCE_COLOUR),
        text(left + 16, 21, f"reference, {_of(len(reference), len(projection.reference_xy))}"),
        element("path", d=_diamond(left + 305, 17, 5.5), fill=CALM_COLOUR),
        text(left + 317, 21, f"current, {_of(len(current), len(projection.current_xy))}"),
        text((left + right) / 2, height - 18, projection.axis_labels[0], text_anchor="middle", fill=SOFT_COLOUR),
        text(20, (top + bottom) / 2, projection.axis_labels[1], fill=SOFT_COLOUR, **_turned(20, (top + bottom) / 2)),
    ]
    return document(
        "projection",
        title="Reference and current texts in two dimensions",
        description=f"{projection.axis_labels[0]} across, {projection.axis_labels[1]} up; "
        "grey dots are reference texts, blue diamonds are current texts.",
        width=width,
        height=height,
        body=body,
    )


def mix_plot(rows: Sequence[MixRow]) -> str:
    """Plot each label's share in the reference above its share now, as horizontal bars from zero."""
    shown = rows[:MAX_LABELS]
    left, right, pitch = 240, 740, 34
    height = 34 + pitch * max(len(shown), 1) + (20 if len(rows) > len(shown) else 0)
    x = Scale(
        0.0,
        max([row.current_share for row in shown] + [row.reference_share or 0.0 for row in shown] + [1e-9]),
        left,
        right,
    )
    body = [
        element("rect", x=left, y=7, width=12, height=9, fill=REFERENCE_COLOUR),
        text(left + 18, 16, "reference"),
        element("rect", x=left + 100, y=7, width=12, height=9, fill=CALM_COLOUR),
        text(left + 118, 16, "current"),
        text(left + 190, 16, "(number of current texts)", fill=SOFT_COLOUR),
    ]
    for position, row in enumerate(shown):
        y = 32 + pitch * position
        before = "not known" if row.reference_share is None else share_text(row.reference_share)
        body += [
            text(left - 10, y + 16, _shortened(row.label), text_anchor="end"),
            element(
                "g",
                titled(f"{row.label}: {before} in the reference, {share_text(row.current_share)} now"),
                _bar(x, row.reference_share or 0.0, y, REFERENCE_COLOUR),
                _bar(x, row.current_share, y + 13, CALM_COLOUR),
            ),
            text(x(row.reference_share or 0.0) + 6, y + 9.5, before, fill=SOFT_COLOUR, font_size="11"),
            text(x(row.current_share) + 6, y + 23, f"{share_text(row.current_share)} ({row.count:,})", font_size="11"),
        ]
    if not shown:
        body.append(text(left, 48, "no predictions", fill=SOFT_COLOUR))
    if len(rows) > len(shown):
        body.append(text(left, height - 6, f"{len(rows) - len(shown)} further labels are not drawn", fill=SOFT_COLOUR))
    return document(
        "mix",
        title="Prediction mix",
        description=f"Share of each of {len(rows)} predicted labels in the reference and now.",
        width=900,
        height=height,
        body=body,
    )


def tooltip(one: WindowVerdict) -> str:
    """Return one window in a line."""
    p_value = "" if one.p_value is None else f", {p_phrase(one.p_value)}"
    return f"{when(one.start)} to {when(one.end)}: {WORDS[kind_of(one)]}{p_value}, {one.n:,} texts"


def _row_tooltip(one: WindowVerdict, row: DetectorRow) -> str:
    return (
        f"{when(one.start)} to {when(one.end)}: {significant(row.statistic)} {row.unit}, "
        f"threshold {significant(row.threshold)}, {p_phrase(row.p_value)}"
    )


def _surprise(p_value: float) -> float:
    return -math.log10(min(max(p_value, SMALLEST_P), 1.0)) + 0.0


def _with_gaps(ordered: Sequence[WindowVerdict]) -> list[tuple[WindowVerdict, float | None]]:
    return [
        (one, _surprise(one.p_value) if one.p_value is not None and kind_of(one) in JUDGED else None) for one in ordered
    ]


def _middle(one: WindowVerdict) -> float:
    return (one.start.timestamp() + one.end.timestamp()) / 2


def _time_scale(ordered: Sequence[WindowVerdict], left: float, right: float) -> Scale:
    first, last = _span(ordered)
    return Scale(first.timestamp(), last.timestamp(), left, right)


def _span(ordered: Sequence[WindowVerdict]) -> tuple[datetime, datetime]:
    return min(one.start for one in ordered), max(one.end for one in ordered)


def _time_axis(ordered: Sequence[WindowVerdict], x: Scale, y: float, *, most: int = 8) -> str:
    parts = [_rule(x.start, x.stop, y, colour=SOFT_COLOUR)]
    for tick in time_ticks(*_span(ordered), most=most):
        at = x(tick.at.timestamp())
        parts.append(element("line", x1=at, x2=at, y1=y, y2=y + 4, stroke=SOFT_COLOUR))
        parts.append(text(at, y + 17, tick.label, text_anchor="middle", fill=SOFT_COLOUR))
        if tick.below:
            parts.append(text(at, y + 31, tick.below, text_anchor="middle", fill=SOFT_COLOUR, font_size="11"))
    return element("g", *parts)


def _p_axis(y: Scale, left: float, right: float) -> str:
    step = max(1, math.ceil(y.high / 6))
    parts = []
    for power in range(0, math.floor(y.high) + 1, step):
        label = f"{10.0**-power:g}" if power <= 3 else f"1e-{power}"
        parts += [
            _rule(left, right, y(power)),
            text(left - 8, y(power) + 4, label, text_anchor="end", fill=SOFT_COLOUR),
        ]
    return element("g", *parts)


def _threshold(levels: Sequence[tuple[float, float]], left: float, right: float) -> str:
    """Return a dashed step line through the levels, each reaching half-way to its neighbours."""
    if not levels:
        return ""
    edges = [left, *((a[0] + b[0]) / 2 for a, b in pairwise(levels)), right]
    steps = [f"{number(edges[i])} {number(level)}H{number(edges[i + 1])}" for i, (_, level) in enumerate(levels)]
    path = "M" + "L".join(steps)
    return element(
        "path", d=path, fill="none", stroke="currentColor", stroke_width=1.3, stroke_dasharray="5 4", class_="threshold"
    )


def _joined(points: Sequence[tuple[float, float] | None]) -> str:
    """Return a thin line through the points, broken at None."""
    path, pen_down = "", False
    for point in points:
        if point is not None:
            path += f"{'L' if pen_down else 'M'}{number(point[0])} {number(point[1])}"
        pen_down = point is not None
    return element("path", d=path, fill="none", stroke=REFERENCE_COLOUR, stroke_width=1) if "L" in path else ""


def _mark(kind: str, x: float, y: float, title: str, *, size: float = 4.5) -> str:
    """Return a window's mark: drift a triangle, calm a disc, too little data a ring, failed a cross."""
    if kind == DRIFT:
        wide = size * 1.5
        path = f"M{number(x)} {number(y - wide)}L{number(x + wide)} {number(y + size)}H{number(x - wide)}Z"
        return element("path", titled(title), d=path, fill=DRIFT_COLOUR)
    if kind == FAILED:
        path = f"M{number(x - size)} {number(y - size)}l{number(2 * size)} {number(2 * size)}m0 {number(-2 * size)}"
        path += f"l{number(-2 * size)} {number(2 * size)}"
        return element("path", titled(title), d=path, fill="none", stroke="currentColor", stroke_width=2)
    if kind == LITTLE:
        colours = {"fill": "var(--page, #fff)", "stroke": SOFT_COLOUR}
        return element("circle", titled(title), cx=x, cy=y, r=size, stroke_width=1.6, **colours)
    return element("circle", titled(title), cx=x, cy=y, r=size, fill=CALM_COLOUR)


def _legend(x: float, y: float, present: Sequence[str]) -> str:
    parts = []
    for kind, word in WORDS.items():
        if kind in present:
            parts += [_mark(kind, x + 6, y - 4, word), text(x + 17, y, word)]
            x += 50 + 7 * len(word)
    return element("g", *parts)


def _rule(left: float, right: float, y: float, *, colour: str = GRID_COLOUR) -> str:
    return element("line", x1=left, x2=right, y1=y, y2=y, stroke=colour)


def _turned(x: float, y: float) -> dict[str, str]:
    return {"text_anchor": "middle", "transform": f"rotate(-90 {number(x)} {number(y)})"}


def _diamond(x: float, y: float, size: float) -> str:
    half = number(size)
    return f"M{number(x)} {number(y - size)}l{half} {half}-{half} {half}-{half}-{half}z"


def _bar(x: Scale, share: float, y: float, colour: str) -> str:
    return element("rect", x=x.start, y=y, width=max(x(share) - x.start, 0.5), height=11, fill=colour)


def _shortened(label: str) -> str:
    return label if len(label) <= 32 else label[:31] + "…"


def _of(shown: int, whole: int) -> str:
    return f"{whole:,} texts" if shown == whole else f"{shown:,} of {whole:,} texts drawn"


def _thinned(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the finite rows, evenly thinned to at most MAX_POINTS."""
    rows = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) <= MAX_POINTS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, MAX_POINTS).astype(np.int64)]
