"""Whether accuracy fell below the baseline's: a test that goes on from run to run, over every label once.

Predictions are judged in the order in which they were made, once they are so old that a label that comes at all has
come (`lag_horizon_hours`): errors that are labelled later than right answers are then no run of errors. The state
stands in the run, so that no label is judged twice and none is forgotten when its text is.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from detectors.degradation import DegradationState, degradation_rule, start_degradation, update_degradation
from monitor import store
from monitor.clock import Window
from monitor.jobs.harm import KnownOutcomes
from monitor.policy import ModelPolicy
from monitor.quality.examples import Cohort

JOB = "quality"


def state_before(
    session: Session, *, model: str, version: str, window: Window, baseline: store.StoredBaseline | None
) -> dict[str, Any] | None:
    """Return what the newest run of an earlier window said of degradation against this baseline, None if none."""
    if baseline is None:
        return None
    for run in store.runs(session, job=JOB, model=model, version=version, end=window.end):
        told = run.payload.get("degradation", {})
        if run.window_end < window.end and told.get("baseline") == baseline.digest:
            return dict(told)
    return None


def mature_rows(
    rows: Sequence[store.CohortRow], *, window: Window, horizon_hours: float, before: dict[str, Any] | None
) -> list[store.CohortRow]:
    """Return the labelled rows that are judged now, oldest first: mature at the window's end and not judged before.

    A label that came later than the horizon does not count: whether it comes may depend on the answer.
    """
    horizon = timedelta(hours=horizon_hours)
    until = window.end - horizon
    since = None if before is None else datetime.fromisoformat(before["through"])
    return sorted(
        (
            row
            for row in rows
            if row.timestamp < until
            and (since is None or row.timestamp >= since)
            and row.labelled_at is not None
            and row.labelled_at - row.timestamp <= horizon
        ),
        key=lambda row: (row.timestamp, row.event_id),
    )


def judge_degradation(
    known: KnownOutcomes | None,
    cohort: Cohort,
    policy: ModelPolicy,
    *,
    window: Window,
    baseline: store.StoredBaseline | None,
    before: dict[str, Any] | None,
    scored: bool,
) -> dict[str, Any]:
    """Return the verdict after the cohort's labels (mature ones, oldest first), with the state to go on from."""
    if known is None or baseline is None or not known.labelled or not scored:
        reason = "the version's baseline has no labels" if scored else "the task has no right or wrong answer"
        return {"degraded": None, "reason": reason, "labels": len(cohort.labelled)}
    least = policy.quality.least_inclusion_probability or policy.sampling_rate
    chances = cohort.chances()
    alike = not chances.size or float(np.ptp(chances)) <= 1e-9
    if not alike and least > chances.min():
        reason = f"a row was drawn with probability {chances.min():g}, less than the declared {least:g}"
        return {"degraded": None, "reason": reason, "labels": len(cohort.labelled)}
    rule = degradation_rule(
        baseline_errors=known.errors,
        baseline_n=known.labelled,
        tolerance=policy.quality.tolerance,
        alpha=policy.quality.alpha,
        least_inclusion_probability=1.0 if alike else least,
    )
    losses = np.array([float(one.prediction != one.truth) for one in cohort.labelled])
    state, _ = update_degradation(
        _state(before, limit=rule.limit), losses, rule=rule, inclusion_probability=None if alike else chances
    )
    return {
        "degraded": state.open,
        "incidents": state.incidents,
        "labels": state.labels,
        "limit_error_ratio": rule.limit,
        "baseline_error_ratio": known.errors / known.labelled,
        "reason": "",
        "baseline": baseline.digest,
        "through": (window.end - timedelta(hours=policy.quality.lag_horizon_hours)).isoformat(),
        "state": asdict(state),
    }


def _state(before: dict[str, Any] | None, *, limit: float) -> DegradationState:
    """Go on from the state of the run before; another limit (the policy's tolerance changed) starts anew."""
    if before is None or before["limit_error_ratio"] != limit:
        return start_degradation()
    held = before["state"]
    return DegradationState(**{**held, "log_capitals": tuple(held["log_capitals"])})
