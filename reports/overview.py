"""The first page: every model version with its latest verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from reports.render import render
from reports.wording import p_text, when


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """A model version; windows and drifted count those judged in the last 14 days.

    status is that of the latest judged window, "none" until there is one, or "no_baseline": its events only wait.
    """

    model: str
    version: str
    status: str
    drift: bool | None
    p_value: float | None
    window_end: datetime | None
    n: int
    windows: int
    drifted: int
    waiting: int


@dataclass(frozen=True, slots=True)
class OverviewView:
    """A row as it is read; a version without a baseline has no report to link to, but a command that builds one."""

    name: str
    href: str | None
    word: str
    kind: str
    p_value: str
    judged: str
    recent: str
    waiting: str
    command: str | None


def render_overview(rows: Sequence[OverviewRow], *, now: datetime) -> str:
    """Return the page."""
    return render("overview.html.j2", rows=[_view(row) for row in rows], now=when(now))


def _view(row: OverviewRow) -> OverviewView:
    bare = row.status == "no_baseline"
    if bare:
        word, kind = "no baseline", "unknown"
    elif row.status == "none":
        word, kind = "not judged yet", "unknown"
    elif row.drift is None:
        word, kind = "insufficient evidence", "unknown"
    else:
        word, kind = ("DRIFT", "drifted") if row.drift else ("no drift", "calm")
    return OverviewView(
        name=f"{row.model}/{row.version}",
        href=None if bare else f"/models/{quote(row.model, safe='')}/{quote(row.version, safe='')}/report",
        word=word,
        kind=kind,
        p_value="–" if row.p_value is None else p_text(row.p_value),
        judged="–" if row.window_end is None else f"{when(row.window_end)}, {row.n:,} texts",
        recent="–" if bare else f"{row.drifted} of {row.windows} drifted",
        waiting=f"{row.waiting:,}",
        command=f"driftwarden baseline {row.model}/{row.version} --reference FILE" if bare else None,
    )
