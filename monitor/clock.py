"""The only reader of the wall clock, and the half-open windows that jobs receive instead of "now"."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from monitor.errors import InputError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MAX_SPAN_DIGITS = 5  # 99,999 days: 273 years


class Clock(Protocol):
    """Anything that knows what time it is."""

    def now(self) -> datetime:
        """Return the present as an aware UTC datetime."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present as an aware UTC datetime."""
        return datetime.now(UTC)


class ReplayedClock:
    """A clock that stands where it was put; for replays and tests."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the instant the clock was last put at."""
        return self._now

    def advance_to(self, instant: datetime) -> None:
        """Put the clock forward. Raises ValueError when `instant` lies in the past."""
        if instant < self._now:
            raise ValueError(f"a replayed clock never goes back: {instant.isoformat()} < {self._now.isoformat()}")
        self._now = instant


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span of event time, [start, end), both aware UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse naive times and spans without length."""
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError(f"window times carry a time zone, got {self.start} and {self.end}")
        if self.start >= self.end:
            raise ValueError(f"a window ends after it starts, got {self.start.isoformat()} and {self.end.isoformat()}")


def hour_of(moment: datetime) -> int:
    """Return the hours since 1970 of an aware time.

    >>> hour_of(datetime.fromisoformat("1970-01-02T03:59:00+00:00"))
    27
    """
    return (moment - EPOCH) // HOUR


def floor_to(instant: datetime, step: timedelta) -> datetime:
    """Return the latest multiple of `step` since the epoch that is not after `instant`."""
    return EPOCH + (instant - EPOCH) // step * step


def complete_windows(*, first_event: datetime, until: datetime, step: timedelta) -> Iterator[Window]:
    """Yield every window of length `step` from the one holding `first_event` whose end is not after `until`."""
    start = floor_to(first_event, step)
    while start + step <= until:
        yield Window(start, start + step)
        start += step


def parse_span(text: str) -> timedelta:
    """Read "24h", "7d" or "120m": whole hours, since windows are made of hourly sketches. Raises InputError otherwise.

    >>> parse_span("24h")
    datetime.timedelta(days=1)
    """
    units = {"m": "minutes", "h": "hours", "d": "days"}
    number, unit = text[:-1], text[-1:]
    plain = number.isascii() and number.isdigit() and len(number) <= MAX_SPAN_DIGITS  # isdigit alone takes "²"
    if unit not in units or not plain or int(number) == 0:
        raise InputError(f"--window takes a number and m, h or d (24h, 7d), got {text!r:.50}")
    span = timedelta(**{units[unit]: int(number)})
    if span % HOUR:
        raise InputError(f"--window takes whole hours, since windows are made of hourly sketches, got {text!r}")
    return span
