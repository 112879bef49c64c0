"""Versions of labels: every one is kept, and none is changed."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from monitor.store.predictions import CHUNK, insert_new, outcome_of
from monitor.store.tables import Label, PredictionKey
from monitor.store.types import InsertOutcome, NewLabel

IDENTITY = ("model", "event_id", "source", "version_key")
COLUMNS = ("event_id", "model", "label", "timestamp", "source", "received_at", "content_digest", "reference")


def insert_labels(session: Session, rows: Sequence[NewLabel]) -> InsertOutcome:
    """Add versions; what a source said of an event at one time counts once, an unlike label of that time is a conflict.

    A label without a time of its own is a version unless its source gave that same label without a time before.
    """
    keys = [(row.model, row.event_id, row.source, _version_key(row)) for row in rows]
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    # in the order of the keys: two batches that share labels wait for each other and never deadlock
    values = [
        {**{name: getattr(rows[index], name) for name in COLUMNS}, "version_key": key[-1]}
        for key, index in sorted(first.items())
    ]
    fresh = insert_new(session, Label, values, identity=IDENTITY)
    held = _held(session, [key for key in first if key not in fresh])
    return outcome_of(keys, [row.content_digest for row in rows], fresh=fresh, held=held)


def _version_key(row: NewLabel) -> str:
    if not row.dated:
        return f"label {row.content_digest}"
    return f"at {row.timestamp.astimezone(UTC).isoformat(timespec='microseconds')}"


def _held(session: Session, keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    known: dict[tuple[str, ...], str] = {}
    for start in range(0, len(keys), CHUNK):
        part = keys[start : start + CHUNK]
        found = session.execute(
            select(Label.model, Label.event_id, Label.source, Label.version_key, Label.content_digest).where(
                Label.model.in_({key[0] for key in part}), Label.event_id.in_({key[1] for key in part})
            )
        )
        known.update({tuple(row[:-1]): row[-1] for row in found})
    return known


def labels_called(session: Session, references: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Return (model, event id, source) by reference of those labels that a source named so."""
    known: dict[str, tuple[str, str, str]] = {}
    for start in range(0, len(references), CHUNK):
        found = session.execute(
            select(Label.reference, Label.model, Label.event_id, Label.source)
            .where(Label.reference.in_(references[start : start + CHUNK]))
            .order_by(Label.id)
        )
        known.update({str(row[0]): (row[1], row[2], row[3]) for row in found})
    return known


def expire_unmatched(session: Session, *, before: Mapping[str, datetime], others_before: datetime) -> int:
    """Drop labels of ids that were never kept and that arrived before their model's time; return how many.

    before : by model; labels of models that it does not name go by `others_before`.
    """
    kept = exists().where(PredictionKey.model == Label.model, PredictionKey.event_id == Label.event_id)
    dropped = 0
    for model, moment in before.items():
        dropped += _deleted(session, Label.model == model, Label.received_at < moment, ~kept)
    return dropped + _deleted(session, Label.model.not_in(list(before)), Label.received_at < others_before, ~kept)


def _deleted(session: Session, *conditions: Any) -> int:
    done: Any = session.execute(delete(Label).where(*conditions).execution_options(synchronize_session=False))
    return int(done.rowcount)
