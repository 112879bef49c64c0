"""All predictions of a window beside the label that counts, labelled or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from monitor.store.labelled import Counts, label_of, same_row, sampled_in, truths_of
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
    session: Session,
    *,
    model: str,
    version: str,
    start: datetime,
    end: datetime,
    counts: Counts = "newest",
    labelled: bool = False,
) -> list[CohortRow]:
    """Return what was sampled in [start, end): the labelled first, in the order their labels arrived.

    counts : which of an event's labels is its truth, see `labelled_sample`; `labelled` leaves out the others.
    """
    window = sampled_in(model=model, version=version, start=start, end=end)
    truths = truths_of(window, counts=counts, known_by=None)
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
            truths.c.truth,
            truths.c.received_at,
        )
        .join(truths, and_(same_row(truths), truths.c.place == 1), isouter=not labelled)
        .where(*window)
        .order_by(truths.c.received_at.is_(None), truths.c.received_at, Prediction.id)
    )
    return [CohortRow(*row) for row in found]


def label_mark(session: Session, *, model: str, version: str, start: datetime, end: datetime) -> LabelMark:
    """Return how far the labels of [start, end) have come."""
    row = session.execute(
        select(func.count(Prediction.id.distinct()), func.count(Label.id), func.coalesce(func.max(Label.id), 0))
        .select_from(Prediction)
        .outerjoin(Label, label_of())
        .where(*sampled_in(model=model, version=version, start=start, end=end))
    ).one()
    return LabelMark(int(row[0]), int(row[1]), int(row[2]))
