"""Drop what the policy no longer keeps: whole partitions on PostgreSQL, rows on SQLite."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import CursorResult, delete, select, text
from sqlalchemy.orm import Session

from monitor.store.labels import expire_unmatched
from monitor.store.predictions import on_postgresql, partition_name
from monitor.store.tables import (
    BackfillShard,
    DeadLetterRow,
    Label,
    LabelBatch,
    Prediction,
    PredictionKey,
    QueuedText,
    Run,
    SketchRow,
)


def retention_steps(
    *, text_before: datetime, results_before: datetime, unmatched_before: Mapping[str, datetime] | None = None
) -> dict[str, Callable[[Session], int]]:
    """Return by table what drops, or strips, its rows and tells how many; each step is a transaction of its own.

    Texts, labels, dead letters and the parts of backfills go before one time, sketches and runs before another. A run
    outlives its texts: its payload keeps ids and scores. On PostgreSQL predictions go by whole days, last, since
    dropping a partition stops capture for a moment: those of the day that holds `text_before` stay until it is over.
    Labels whose prediction never came go earlier still where `unmatched_before` names a time for their model.
    """
    rows = (
        ("prediction_keys", PredictionKey, PredictionKey.timestamp, text_before),
        ("labels", Label, Label.timestamp, text_before),
        ("label_queue", QueuedText, QueuedText.timestamp, text_before),
        ("label_batches", LabelBatch, LabelBatch.window_end, text_before),
        ("dead_letters", DeadLetterRow, DeadLetterRow.received_at, text_before),
        ("backfill_shards", BackfillShard, BackfillShard.finished_at, text_before),
        ("sketches", SketchRow, SketchRow.hour, results_before),
        ("runs", Run, Run.window_end, results_before),
    )
    return {
        "labels_unmatched": partial(expire_unmatched, before=unmatched_before or {}, others_before=text_before),
        **{
            name: partial(_rows, statement=delete(table).where(column < before)) for name, table, column, before in rows
        },
        "run_texts": partial(_strip_texts, before=text_before),
        "predictions": partial(_drop_predictions, before=text_before),
    }


def _strip_texts(session: Session, before: datetime) -> int:
    """Take the texts out of the payloads of old runs; return of how many."""
    held = Run.payload["texts_dropped"].as_boolean().is_(None)
    rows = session.scalars(
        select(Run).where(Run.window_end < before, Run.job == "drift", Run.status == "ok", held)
    ).all()
    for row in rows:
        row.payload = _without_texts(row.payload)
    return len(rows)


def _without_texts(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a verdict's payload without what production texts say.

    >>> _without_texts({"examples": [{"id": 1, "text": "hello"}], "cells": [{"cell": 2, "examples": ["hello"]}]})
    {'examples': [{'id': 1, 'text': ''}], 'cells': [{'cell': 2, 'examples': []}], 'texts_dropped': True}
    """
    return {
        **payload,
        "examples": [{**one, "text": ""} for one in payload.get("examples", [])],
        "cells": [{**one, "examples": []} for one in payload.get("cells", [])],
        "texts_dropped": True,
    }


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
