"""The small vocabulary the plots are written in: elements, scales, ticks. Everything put in is escaped."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

ILLEGAL = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HOURS = (1, 2, 3, 6, 12, 24, 48, 7 * 24, 14 * 24, 28 * 24)
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from [low, high] to [start, stop] pixels; everything lands in the middle when low == high."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        if self.high == self.low:
            return (self.start + self.stop) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


@dataclass(frozen=True, slots=True)
class TimeTick:
    """A tick of a time axis: its label, and the date or year below it where that changes."""

    at: datetime
    label: str
    below: str


def legible(text: str) -> str:
    """Return text with the characters no XML or UTF-8 page may hold (controls, lone surrogates) replaced."""
    return ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)


def number(value: float) -> str:
    """Return a coordinate with at most one decimal: 12.0 is "12", -0.01 is "0"."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def element(name: str, *children: str, **attributes: str | float) -> str:
    """Return an SVG element; underscores in names are hyphens (class_ is class), children are finished markup."""
    parts = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(legible(value)) if isinstance(value, str) else number(value)}"'
        for key, value in attributes.items()
    )
    inner = "".join(children)
    return f"<{name}{parts}>{inner}</{name}>" if inner else f"<{name}{parts}/>"


def text(x: float, y: float, content: str, **attributes: str | float) -> str:
    """Return a line of text."""
    return element("text", escape(legible(content)), x=x, y=y, **attributes)


def titled(content: str) -> str:
    """Return the <title> that browsers show when the pointer rests on a mark."""
    return f"<title>{escape(legible(content))}</title>"


def document(key: str, *, title: str, description: str, width: int, height: int, body: list[str]) -> str:
    """Return an inline SVG that scales to its container and says in words what it shows; key is unique on the page."""
    return element(
        "svg",
        f'<title id="{key}-title">{escape(legible(title))}</title>',
        f'<desc id="{key}-desc">{escape(legible(description))}</desc>',
        *body,
        viewBox=f"0 0 {width} {height}",
        width="100%",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
        font_family="system-ui, sans-serif",
        font_size="12",
        fill="currentColor",
    )


def nice_ticks(low: float, high: float, *, most: int = 4) -> tuple[float, ...]:
    """Return at most `most` + 1 round numbers in [low, high], in steps of 1, 2 or 5 times a power of ten.

    >>> nice_ticks(0.0, 0.7)
    (0.0, 0.2, 0.4, 0.6)
    """
    if not high > low:
        return (low,)
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(float(f"{count * step:.12g}") for count in range(first, last + 1))


def time_ticks(start: datetime, end: datetime, *, most: int = 8) -> tuple[TimeTick, ...]:
    """Return at most `most` ticks in [start, end] on round hours, midnights, Mondays or first days of a month (UTC)."""
    step = next((hours for hours in HOURS if (end - start) / timedelta(hours=hours) <= most - 1), None)
    times = _months(start, end, most) if step is None else _steps(start, end, timedelta(hours=step))
    ticks, seen = [], ""
    for at in times:
        day = f"{at.day} {MONTHS[at.month - 1]}"
        if step is None:
            label, below = MONTHS[at.month - 1], str(at.year)
        elif step < 24:
            label, below = f"{at:%H:%M}", day
        else:
            label, below = day, str(at.year)
        ticks.append(TimeTick(at, label, "" if below == seen else below))
        seen = below
    return tuple(ticks)


def _steps(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    first = math.ceil((start - MONDAY) / step)
    return [MONDAY + count * step for count in range(first, math.floor((end - MONDAY) / step) + 1)]


def _months(start: datetime, end: datetime, most: int) -> list[datetime]:
    first = (
        start.year * 12 + start.month - 1 + (start > start.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    )
    last = end.year * 12 + end.month - 1
    step = next((months for months in (1, 2, 3, 6) if (last - first) / months <= most - 1), 0)
    step = step or 12 * math.ceil((last - first) / 12 / (most - 1))
    months = range(-(-first // step) * step, last + 1, step)
    return [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months]
