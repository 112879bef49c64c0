"""Draws of texts to be labelled: the batches, and what each drew."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, exists, func, insert, select, update
from sqlalchemy.orm import Session

from monitor.store.predictions import CHUNK
from monitor.store.tables import Label, LabelBatch, Prediction, QueuedText
from monitor.store.types import NewLabelBatch, Queued, StoredLabelBatch

BATCH_FIELDS = tuple(NewLabelBatch.__dataclass_fields__)
QUEUED_FIELDS = tuple(Queued.__dataclass_fields__)
Candidate = tuple[int, str, datetime, float | None]


def label_candidates(
    session: Session, *, model: str, version: str, start: datetime, end: datetime, limit: int
) -> list[Candidate]:
    """Return (id, event id, time, confidence) of what may be drawn in [start, end), by id; at most `limit` and one.

    That is every sampled text but those that have a label which no draw asked for.
    """
    queued = exists().where(QueuedText.model == Prediction.model, QueuedText.event_id == Prediction.event_id)
    labelled = exists().where(Label.model == Prediction.model, Label.event_id == Prediction.event_id)
    found = session.execute(
        select(Prediction.id, Prediction.event_id, Prediction.timestamp, Prediction.confidence)
        .where(
            Prediction.model == model,
            Prediction.version == version,
            Prediction.timestamp >= start,
            Prediction.timestamp < end,
            Prediction.text.is_not(None),
            queued | ~labelled,
        )
        .order_by(Prediction.id)
        .limit(limit + 1)
    )
    return [(row[0], row[1], row[2], row[3]) for row in found]


def label_batches(
    session: Session, *, model: str, version: str, start: datetime, end: datetime
) -> list[StoredLabelBatch]:
    """Return the draws whose windows touch [start, end), in their order."""
    found = session.scalars(
        select(LabelBatch)
        .where(
            LabelBatch.model == model,
            LabelBatch.version == version,
            LabelBatch.window_start < end,
            LabelBatch.window_end > start,
        )
        .order_by(LabelBatch.id)
    )
    return [_stored(row) for row in found]


def label_batch(session: Session, number: int) -> StoredLabelBatch | None:
    """Return a draw by its number."""
    row = session.get(LabelBatch, number)
    return None if row is None else _stored(row)


def count_label_batches(session: Session, *, model: str, version: str) -> int:
    """Return how many draws a model version had that retention has left."""
    return (
        session.scalar(
            select(func.count()).select_from(LabelBatch).where(LabelBatch.model == model, LabelBatch.version == version)
        )
        or 0
    )


def queued_of(session: Session, *, model: str, prediction_ids: Sequence[int]) -> dict[int, Queued]:
    """Return by prediction what is queued among these."""
    held: dict[int, Queued] = {}
    for start in range(0, len(prediction_ids), CHUNK):
        found = session.scalars(
            select(QueuedText).where(
                QueuedText.model == model, QueuedText.prediction_id.in_(prediction_ids[start : start + CHUNK])
            )
        )
        held.update({row.prediction_id: _queued(row) for row in found})
    return held


def queued_in_batch(session: Session, number: int) -> list[Queued]:
    """Return what a draw queued, in the order of the predictions."""
    found = session.scalars(select(QueuedText).where(QueuedText.batch_id == number).order_by(QueuedText.prediction_id))
    return [_queued(row) for row in found]


def record_label_batch(
    session: Session,
    batch: NewLabelBatch,
    *,
    drawn: Sequence[Queued],
    raised: Mapping[str, tuple[float, bool]],
) -> int:
    """Record a draw with what it queued, and return its number.

    raised : of texts that earlier draws queued, by event id, the probability of all draws together, and whether this
    draw drew them at random.
    """
    row = LabelBatch(**{name: getattr(batch, name) for name in BATCH_FIELDS})
    session.add(row)
    session.flush()
    if drawn:
        session.execute(
            insert(QueuedText),
            [
                {"model": batch.model, "batch_id": row.id, **{name: getattr(one, name) for name in QUEUED_FIELDS}}
                for one in drawn
            ],
        )
    for event_id, (probability, at_random) in sorted(raised.items()):
        session.execute(
            update(QueuedText)
            .where(and_(QueuedText.model == batch.model, QueuedText.event_id == event_id))
            .values(
                probability=probability,
                drawn_at_random=QueuedText.drawn_at_random | at_random,
            )
        )
    return row.id


def _stored(row: LabelBatch) -> StoredLabelBatch:
    return StoredLabelBatch(id=row.id, **{name: getattr(row, name) for name in BATCH_FIELDS})


def _queued(row: QueuedText) -> Queued:
    return Queued(**{name: getattr(row, name) for name in QUEUED_FIELDS})
