"""The quality job: every complete window by its labels, and again whenever late labels restate it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from monitor import store
from monitor.clock import Window, complete_windows, floor_to
from monitor.quality.stored import assess
from monitor.runner import FAILED, JOB_QUALITY, OK, TOO_LITTLE_DATA, Runner, window_seed
from monitor.windows import record_each

REACH_BACK = timedelta(days=1)


def assess_due(runner: Runner, name: str) -> list[store.StoredRun]:
    """Assess the windows whose labels came or changed since their last run, oldest first; return those runs.

    A window is looked at from its end until `restate_days` after it.
    """
    before: dict[Window, store.StoredRun | None] = {}

    def due(version: str) -> list[Window]:
        before.update(_due(runner, name, version))
        return list(before)

    return record_each(
        runner,
        JOB_QUALITY,
        name,
        due=due,
        record=lambda version, window: _assess(runner, name, version, window, before[window]),
    )


def _due(runner: Runner, name: str, version: str) -> list[tuple[Window, store.StoredRun | None]]:
    policy = runner.policy.model(name)
    until = runner.clock.now() - timedelta(minutes=policy.drift.grace_minutes)
    since = until - timedelta(days=policy.quality.restate_days)
    due, newest = [], None
    with Session(runner.engine) as session:
        first = store.first_event_at(session, model=name, version=version)
        if first is None:
            return []
        done = {
            (run.window_start, run.window_end): run
            for run in store.runs(session, job=JOB_QUALITY, model=name, version=version, start=since)
        }
        step = timedelta(hours=policy.quality.window_hours)
        touched = _touched(session, name, version, list(done.values()), step=step)
        for window in complete_windows(first_event=max(first, since), until=until, step=step):
            run = done.get((window.start, window.end))
            newest = (window, run) if run is not None and run.status == OK else newest
            if run is not None and run.status != FAILED and window.start not in touched:
                continue
            mark = store.label_mark(session, model=name, version=version, start=window.start, end=window.end)
            if mark.predictions and (run is None or run.status == FAILED or _seen(run) != mark):
                due.append((window, run))
    # the newest one tells the verdict on all labels so far, those of older windows too
    if due and newest is not None and newest not in due and newest[0].end > due[-1][0].end:
        due.append(newest)
    return due


def _touched(
    session: Session, name: str, version: str, done: Sequence[store.StoredRun], *, step: timedelta
) -> set[datetime]:
    """Return the starts of the windows whose labels may have changed since the last run, a day before it included.

    Writes may commit out of their order, and a stop may have come between two windows.
    """
    if not done:
        return set()
    since = max(run.started_at for run in done) - REACH_BACK
    times = store.restated_times(session, model=name, version=version, since=since)
    return {floor_to(moment, step) for moment in times}


def _seen(run: store.StoredRun) -> store.LabelMark | None:
    held = run.payload.get("label_mark")
    return None if held is None else store.LabelMark(**held)


def _assess(runner: Runner, name: str, version: str, window: Window, before: store.StoredRun | None) -> store.StoredRun:
    started = runner.clock.now()
    rng = np.random.default_rng(window_seed(JOB_QUALITY, name, version, window))
    payload: dict[str, Any] = assess(runner, name, version, window, rng=rng).as_json()
    payload["restated_from"] = _restated_from(before, payload)
    return runner.record_restated(
        JOB_QUALITY,
        name,
        version,
        window,
        started=started,
        status=OK if payload["metrics"] or payload["degradation"]["degraded"] is not None else TOO_LITTLE_DATA,
        n=payload["labelled"],
        payload=payload,
    )


def _restated_from(before: store.StoredRun | None, payload: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the run before said, where this one says it of other labels; else what that one restated."""
    if before is None or before.status != OK:
        return None
    if before.payload["label_mark"] == payload["label_mark"]:
        earlier: dict[str, Any] | None = before.payload["restated_from"]
        return earlier
    return _kept(before)


def _kept(run: store.StoredRun) -> dict[str, Any]:
    """Return what the run before said, and how many times the window was restated until then."""
    earlier = run.payload.get("restated_from") or {}
    first = next(iter(run.payload.get("metrics", [])), None)
    return {
        "finished_at": run.finished_at.isoformat(),
        "labelled": run.payload.get("labelled"),
        "maturity": run.payload.get("maturity"),
        "metric": first,
        "times": int(earlier.get("times", 0)) + 1,
    }
