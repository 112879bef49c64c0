"""Burn-rate windows as data: durations, pairs of windows, and the factor at which each fires."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from alerts.errors import SloRefused

Severity = Literal["page", "ticket"]
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+[smhdw])+")


def seconds_of(duration: str) -> int:
    """Return a Prometheus duration in seconds. Raises SloRefused.

    >>> seconds_of("1h30m")
    5400
    """
    if not _DURATION.fullmatch(duration):
        raise SloRefused(f"a window is a duration such as 5m, 1h or 3d, got {duration!r}")
    return sum(int(number) * UNIT_SECONDS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", duration))


def duration_of(seconds: int) -> str:
    """Return seconds as a Prometheus duration of one unit, the greatest that divides them.

    >>> duration_of(2_592_000), duration_of(5400)
    ('30d', '90m')
    """
    unit = next(one for one in ("d", "h", "m", "s") if seconds % UNIT_SECONDS[one] == 0)
    return f"{seconds // UNIT_SECONDS[unit]}{unit}"


@dataclass(frozen=True, slots=True)
class BurnWindows:
    """A pair of windows which together fire when `budget_share` of the period's budget would go within `long`."""

    severity: Severity
    long: str
    short: str
    budget_share: float

    def factor(self, period_days: float) -> float:
        """Return how many times faster than evenly the budget must burn.

        >>> round(BurnWindows("page", long="1h", short="5m", budget_share=0.02).factor(30), 3)
        14.4
        """
        return round(self.budget_share * period_days * UNIT_SECONDS["d"] / seconds_of(self.long), 9)


def read_windows(document: str | None = None) -> tuple[BurnWindows, ...]:
    """Read pairs of windows from TOML, our own by default. Raises SloRefused naming the pair."""
    told = document if document is not None else resources.files("alerts").joinpath("windows.toml").read_text("utf-8")
    try:
        listed = tomllib.loads(told)["pair"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise SloRefused(f"windows: [[pair]] tables are expected ({error})") from None
    pairs = tuple(_pair(one) for one in listed)
    require_pairs(pairs)
    return pairs


def _pair(table: dict[str, Any]) -> BurnWindows:
    known = {"severity", "long", "short", "budget_share"}
    if table.keys() != known or table["severity"] not in ("page", "ticket"):
        raise SloRefused(f"windows: a pair has severity (page or ticket), long, short and budget_share, got {table}")
    return BurnWindows(**table)


def require_pairs(pairs: Sequence[BurnWindows]) -> None:
    """Refuse windows of length zero, and short ones that are not shorter: such an alert would never reset first."""
    if not pairs:
        raise SloRefused("windows: at least one pair is needed")
    for pair in pairs:
        long, short = seconds_of(pair.long), seconds_of(pair.short)
        if short == 0 or long == 0:
            raise SloRefused(f"window of length zero: {pair.short}/{pair.long}")
        if short >= long:
            raise SloRefused(
                f"short window {pair.short} is not shorter than {pair.long}: the alert would not reset when errors stop"
            )
        if not 0 < pair.budget_share <= 1:
            raise SloRefused(f"budget_share of {pair.short}/{pair.long} must be in (0, 1], got {pair.budget_share}")
