"""Runs with their results, and decisions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, func, insert, select, update
from sqlalchemy.orm import Session

from monitor.store.predictions import add_counts, dialect_insert
from monitor.store.tables import Decision, Result, Run
from monitor.store.types import NewRun, StoredDecision, StoredResult, StoredRun

OK, FAILED = "ok", "failed"
RUN_FIELDS = tuple(NewRun.__dataclass_fields__)
RESULT_FIELDS = tuple(StoredResult.__dataclass_fields__)
DECISION_FIELDS = tuple(StoredDecision.__dataclass_fields__)


def record_run(session: Session, run: NewRun, results: Sequence[StoredResult], *, restates: bool = False) -> bool:
    """Keep a run with its results; return False, changing nothing, when the window has a verdict already.

    A failed run or one with too little data is no verdict: the next one of its window takes its place. What
    `restates` takes the place of any: labels that came late change what is known of a window.
    """
    values = {name: getattr(run, name) for name in RUN_FIELDS}
    identity = ["job", "model", "version", "window_start", "window_end"]
    standing = () if restates else (Run.status != OK,)
    run_id = session.scalar(
        dialect_insert(session, Run).values(**values).on_conflict_do_nothing(index_elements=identity).returning(Run.id)
    )
    if run_id is None:
        run_id = session.scalar(
            update(Run)
            .where(*(getattr(Run, name) == values[name] for name in identity), *standing)
            .values(**values)
            .returning(Run.id)
            .execution_options(synchronize_session=False)
        )
    if run_id is None:
        return False
    session.execute(delete(Result).where(Result.run_id == run_id))
    if results:
        rows = [{**{name: getattr(one, name) for name in RESULT_FIELDS}, "run_id": run_id} for one in results]
        session.execute(insert(Result), rows)
    add_counts(session, {(run.model, f"run.{run.job}.{run.status}"): 1})
    return True


def _stored(row: Run) -> StoredRun:
    return StoredRun(id=row.id, **{name: getattr(row, name) for name in RUN_FIELDS})


def run_for(
    session: Session, *, job: str, model: str, version: str, start: datetime, end: datetime
) -> StoredRun | None:
    """Return the run of a window."""
    row = session.scalar(
        select(Run)
        .where(
            Run.job == job,
            Run.model == model,
            Run.version == version,
            Run.window_start == start,
            Run.window_end == end,
        )
        .execution_options(populate_existing=True)
    )
    return None if row is None else _stored(row)


def runs(
    session: Session,
    *,
    job: str | None = None,
    model: str | None = None,
    version: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int | None = None,
) -> list[StoredRun]:
    """Return runs whose window ends in (start, end], newest first."""
    question = select(Run).order_by(Run.window_end.desc(), Run.id.desc()).limit(limit)
    for column, wanted in ((Run.job, job), (Run.model, model), (Run.version, version)):
        if wanted is not None:
            question = question.where(column == wanted)
    if start is not None:
        question = question.where(Run.window_end > start)
    if end is not None:
        question = question.where(Run.window_end <= end)
    return [_stored(row) for row in session.scalars(question)]


def latest_run(session: Session, *, job: str, model: str, version: str) -> StoredRun | None:
    """Return the run with the latest window that has an answer."""
    row = session.scalar(
        select(Run)
        .where(Run.job == job, Run.model == model, Run.version == version, Run.status == OK)
        .order_by(Run.window_end.desc())
        .limit(1)
    )
    return None if row is None else _stored(row)


def results_of(session: Session, run_ids: Sequence[int]) -> dict[int, list[StoredResult]]:
    """Return the detector rows of runs, by run."""
    found: dict[int, list[StoredResult]] = {run_id: [] for run_id in run_ids}
    for start in range(0, len(run_ids), 500):
        part = run_ids[start : start + 500]
        for row in session.scalars(select(Result).where(Result.run_id.in_(part)).order_by(Result.name)):
            found[row.run_id].append(StoredResult(**{name: getattr(row, name) for name in RESULT_FIELDS}))
    return found


def record_decision(
    session: Session,
    *,
    model: str,
    version: str,
    kind: str,
    actor: str,
    reason: str,
    evidence: dict[str, Any],
    at: datetime,
) -> None:
    """Keep a decision."""
    session.execute(
        insert(Decision).values(
            model=model, version=version, kind=kind, actor=actor, reason=reason, evidence=evidence, at=at
        )
    )


def decisions(session: Session, *, model: str | None = None) -> list[StoredDecision]:
    """Return decisions, newest first."""
    question = select(Decision).order_by(Decision.id.desc())
    if model is not None:
        question = question.where(Decision.model == model)
    return [
        StoredDecision(**{name: getattr(row, name) for name in DECISION_FIELDS}) for row in session.scalars(question)
    ]


def latest_runs(session: Session) -> list[StoredRun]:
    """Return, for every (job, model, version), the run with the latest window that has an answer.

    Too little data is none: a model that receives nothing is not judged, however many empty windows pass.
    """
    newest = (
        select(Run.job, Run.model, Run.version, func.max(Run.window_end).label("window_end"))
        .where(Run.status == OK)
        .group_by(Run.job, Run.model, Run.version)
        .subquery()
    )
    found = session.scalars(
        select(Run)
        .join(
            newest,
            and_(
                Run.job == newest.c.job,
                Run.model == newest.c.model,
                Run.version == newest.c.version,
                Run.window_end == newest.c.window_end,
            ),
        )
        .where(Run.status == OK)
        .order_by(Run.window_start)  # of windows that end together the shortest counts
    )
    return list({(row.job, row.model, row.version): _stored(row) for row in found}.values())


def last_success(session: Session) -> dict[tuple[str, str, str], float]:
    """Return when a run of each (model, version, job) last ended without failing, in seconds since the epoch."""
    found = session.execute(
        select(Run.model, Run.version, Run.job, func.max(Run.finished_at))
        .where(Run.status != FAILED)
        .group_by(Run.model, Run.version, Run.job)
    )
    return {(model, version, job): at.timestamp() for model, version, job, at in found}
