"""All predictions of a window beside the label that counts, labelled or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from monitor.store.tables import Label, Prediction


@dataclass(frozen=True, slots=True)
class CohortRow:
    """A sampled prediction with its newest label, None while it has none; it stands for 1 / inclusion_probability."""

    event_id: str
    label: str | None
    prediction: Any
    confidence: float | None
    scores: Mapping[str, float] | None
    stage: str | None
    inclusion_probability: float
    attributes: Mapping[str, str] | None
    timestamp: datetime
    truth: str | None
    labelled_at: datetime | None  # when the first of its labels arrived


@dataclass(frozen=True, slots=True)
class LabelMark:
    """How far the labels of a window have come: it changes whenever a prediction or a label of it arrives."""

    predictions: int
    labels: int
    newest: int  # the label's id, 0 of none


def quality_cohort(
    session: Session, *, model: str, version: str, start: datetime, end: datetime, labelled: bool = False
) -> list[CohortRow]:
    """Return what was sampled in [start, end): the labelled first, in the order their labels arrived.

    `labelled` leaves out the others.
    """
    newest = func.row_number().over(
        partition_by=(Label.model, Label.event_id), order_by=(Label.timestamp.desc(), Label.id.desc())
    )
    first = func.min(Label.received_at).over(partition_by=(Label.model, Label.event_id))
    labels = (
        select(Label.id, Label.model, Label.event_id, Label.label, first.label("first"), newest.label("place"))
        .where(Label.model == model)
        .subquery()
    )
    found = session.execute(
        select(
            Prediction.event_id,
            Prediction.label,
            Prediction.prediction,
            Prediction.confidence,
            Prediction.scores,
            Prediction.stage,
            Prediction.inclusion_probability,
            Prediction.attributes,
            Prediction.timestamp,
            labels.c.label,
            labels.c.first,
        )
        .outerjoin(
            labels,
            and_(labels.c.model == Prediction.model, labels.c.event_id == Prediction.event_id, labels.c.place == 1),
        )
        .where(*_sampled(model, version, start, end), *((labels.c.id.is_not(None),) if labelled else ()))
        .order_by(labels.c.id.is_(None), labels.c.id, Prediction.id)
    )
    return [CohortRow(*row) for row in found]


def label_mark(session: Session, *, model: str, version: str, start: datetime, end: datetime) -> LabelMark:
    """Return how far the labels of [start, end) have come."""
    row = session.execute(
        select(func.count(Prediction.id.distinct()), func.count(Label.id), func.coalesce(func.max(Label.id), 0))
        .select_from(Prediction)
        .outerjoin(Label, and_(Label.model == Prediction.model, Label.event_id == Prediction.event_id))
        .where(*_sampled(model, version, start, end))
    ).one()
    return LabelMark(int(row[0]), int(row[1]), int(row[2]))


def restated_times(session: Session, *, model: str, version: str, since: datetime) -> list[datetime]:
    """Return the times of those predictions whose label arrived since, or which themselves did after their label."""
    found = session.scalars(
        select(Prediction.timestamp)
        .join(Label, and_(Label.model == Prediction.model, Label.event_id == Prediction.event_id))
        .where(
            Prediction.model == model,
            Prediction.version == version,
            or_(Label.received_at >= since, Prediction.received_at >= since),
        )
        .distinct()
        .order_by(Prediction.timestamp)
    )
    return list(found)


def _sampled(model: str, version: str, start: datetime, end: datetime) -> tuple[Any, ...]:
    return (
        Prediction.model == model,
        Prediction.version == version,
        Prediction.timestamp >= start,
        Prediction.timestamp < end,
    )
