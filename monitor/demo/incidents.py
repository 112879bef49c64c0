"""The demo's calendar: which windows carry which incident, and how the verdicts score against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitor import store
from monitor.clock import Window

UNSEEN_TOPIC, CLASS_MIX, WRONG_TOKENIZER = "unseen topic arrives", "class mix shifts", "wrong tokenizer deployed"
STARTS = {UNSEEN_TOPIC: 0.30, CLASS_MIX: 0.55, WRONG_TOKENIZER: 0.80}  # as a share of the replayed span
LENGTH_WINDOWS = 2


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that went wrong in [started, ended)."""

    name: str
    started: datetime
    ended: datetime

    def touches(self, window: Window) -> bool:
        """Whether the incident was on at any time of the window."""
        return self.started < window.end and window.start < self.ended


def calendar(*, begin: datetime, windows: int, step: timedelta) -> tuple[Incident, ...]:
    """Lay the three incidents over the replayed windows."""
    incidents = []
    for name, share in STARTS.items():
        start = begin + int(windows * share) * step
        incidents.append(Incident(name, start, start + LENGTH_WINDOWS * step))
    return tuple(incidents)


def active(incidents: Sequence[Incident], instant: datetime) -> str | None:
    """Return the incident that is on at an instant."""
    return next((incident.name for incident in incidents if incident.started <= instant < incident.ended), None)


def strongest(results: Sequence[store.StoredResult]) -> str | None:
    """Return the alarming detector with the smallest p-value."""
    alarming = [result for result in results if result.drift]
    # permutation p-values end at 1/(B + 1): of those that reach it, the one farthest beyond its threshold
    return min(alarming, key=lambda one: (one.p_value, -one.statistic / one.threshold)).name if alarming else None


def score(
    runs: Sequence[store.StoredRun],
    results: dict[int, list[store.StoredResult]],
    *,
    incidents: Sequence[Incident],
    step: timedelta,
) -> dict[str, Any]:
    """Return the demo's answer: each incident with its first detection, and the alarms without an incident."""
    alarms = [run for run in sorted(runs, key=lambda run: run.window_start) if run.drift]
    rows = []
    for incident in incidents:
        caught = next((run for run in alarms if incident.touches(Window(run.window_start, run.window_end))), None)
        rows.append(
            {
                "name": incident.name,
                "started": incident.started.isoformat(),
                "detected": None if caught is None else caught.window_end.isoformat(),
                "delay_windows": None if caught is None else (caught.window_end - incident.started) // step,
                "detector": None if caught is None else strongest(results.get(caught.id, [])),
            }
        )
    false_alarms = [
        run for run in alarms if not any(one.touches(Window(run.window_start, run.window_end)) for one in incidents)
    ]
    return {
        "incidents": rows,
        "false_alarms": len(false_alarms),
        "false_alarm_windows": [run.window_start.isoformat() for run in false_alarms],
        "windows": len(runs),
    }
