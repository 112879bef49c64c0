"""The bias job: the policy's groups in every complete window, each audit with its share of alpha."""

from datetime import timedelta

from sqlalchemy.orm import Session

from monitor import store
from monitor.bias.stored import audit_window
from monitor.clock import Window, complete_windows
from monitor.errors import InputError, TooLittleData
from monitor.runner import FAILED, JOB_BIAS, OK, TOO_LITTLE_DATA, Runner
from monitor.windows import record_each


def audit_due(runner: Runner, name: str) -> list[store.StoredRun]:
    """Audit the windows without an audit, oldest first, and return those runs; none without groups in the policy."""
    policy = runner.policy.model(name)
    if not policy.bias.groups:
        return []
    return record_each(
        runner,
        JOB_BIAS,
        name,
        due=lambda version: _due(runner, name, version),
        record=lambda version, window: _audit(runner, name, version, window),
    )


def _due(runner: Runner, name: str, version: str) -> list[Window]:
    """Return complete windows without an audit, as old as labels need to come."""
    policy = runner.policy.model(name)
    until = runner.clock.now() - timedelta(hours=policy.bias.wait_hours)
    since = until - timedelta(days=runner.policy.retention.retain_text_days)
    with Session(runner.engine) as session:
        first = store.first_event_at(session, model=name, version=version)
        runs = store.runs(session, job=JOB_BIAS, model=name, version=version, start=since)
    if first is None:
        return []
    done = {(run.window_start, run.window_end) for run in runs if run.status != FAILED}
    step = timedelta(hours=policy.bias.window_hours)
    windows = complete_windows(first_event=max(first, since), until=until, step=step)
    return [one for one in windows if (one.start, one.end) not in done]


def _audit(runner: Runner, name: str, version: str, window: Window) -> store.StoredRun:
    started = runner.clock.now()
    policy = runner.policy.model(name).bias
    with Session(runner.engine) as session:
        before = store.runs(session, job=JOB_BIAS, model=name, version=version)
    look = 1 + sum(run.status == OK for run in before)
    try:
        audited = audit_window(runner, name, version, window, policy, look=look)
    except (TooLittleData, InputError) as error:  # of this window nothing else will come
        return runner.record_restated(
            JOB_BIAS, name, version, window, started=started, status=TOO_LITTLE_DATA, payload={"reason": str(error)}
        )
    return runner.record_restated(
        JOB_BIAS, name, version, window, started=started, status=OK, n=audited.n, payload=audited.as_json()
    )
