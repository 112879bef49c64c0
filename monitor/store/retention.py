"""Drop what the policy no longer keeps: whole partitions on PostgreSQL, rows on SQLite."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CursorResult, delete, text
from sqlalchemy.orm import Session

from monitor.store.predictions import on_postgresql, partition_name
from monitor.store.tables import DeadLetterRow, Label, Prediction, PredictionKey, Run, SketchRow


def apply_retention(session: Session, *, text_before: datetime, results_before: datetime) -> dict[str, int]:
    """Drop texts, labels and dead letters before one time, sketches and runs before another; return rows by table.

    On PostgreSQL predictions go by whole days: those of the day that holds `text_before` stay until it is over.
    """
    dropped = {"predictions": _drop_predictions(session, text_before)}
    for name, table, column, before in (
        ("prediction_keys", PredictionKey, PredictionKey.timestamp, text_before),
        ("labels", Label, Label.timestamp, text_before),
        ("dead_letters", DeadLetterRow, DeadLetterRow.received_at, text_before),
        ("sketches", SketchRow, SketchRow.hour, results_before),
        ("runs", Run, Run.window_end, results_before),
    ):
        dropped[name] = _rows(session, delete(table).where(column < before))
    return dropped


def _rows(session: Session, statement: Any) -> int:
    done = session.execute(statement.execution_options(synchronize_session=False))
    return done.rowcount if isinstance(done, CursorResult) else 0


def _drop_predictions(session: Session, before: datetime) -> int:
    if not on_postgresql(session):
        return _rows(session, delete(Prediction).where(Prediction.timestamp < before))
    session.execute(text("SET LOCAL lock_timeout = '5s'"))  # capture must not queue behind us for long
    last = partition_name(before.astimezone(UTC).date().isoformat())
    names = session.scalars(
        text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'predictions'::regclass AND c.relname < :last ORDER BY c.relname"
        ),
        {"last": last},
    ).all()
    dropped = 0
    for name in names:
        dropped += session.scalar(text(f"SELECT count(*) FROM {name}")) or 0  # noqa: S608 our own partition name
        session.execute(text(f"DROP TABLE {name}"))
    return dropped
