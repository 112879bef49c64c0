"""Predictions beside the truth about them: which of an event's labels counts, since when, and what it restates."""

from collections import Counter
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnExpressionArgument, Integer, Subquery, and_, cast, func, or_, select
from sqlalchemy.orm import Session

from monitor.store.tables import Label, Prediction, QueuedText
from monitor.store.types import LabelCohort, LabelDelay, LabelledAnswer

Counts = Literal["newest", "majority"]
Conditions = tuple[ColumnExpressionArgument[bool], ...]


def sampled_in(*, model: str, version: str, start: datetime, end: datetime) -> Conditions:
    """Return the conditions of what was sampled in [start, end)."""
    return (
        Prediction.model == model,
        Prediction.version == version,
        Prediction.timestamp >= start,
        Prediction.timestamp < end,
    )


def labelled_sample(
    session: Session,
    *,
    model: str,
    version: str,
    start: datetime,
    end: datetime,
    counts: Counts = "newest",
    known_by: datetime | None = None,
) -> list[LabelledAnswer]:
    """Return every sampled answer of [start, end) that has a label, in the order in which their labels became known.

    Each source speaks with its newest label. `newest`: the newest of those counts. `majority`: the label that most
    sources give; of labels that as many give, the one given last counts, since leaving ties out would favour easy
    texts. Labels that arrived after `known_by` are as if they had not come.
    """
    truths = truths_of(sampled_in(model=model, version=version, start=start, end=end), counts=counts, known_by=known_by)
    found = session.execute(
        select(
            Prediction.id,
            Prediction.event_id,
            Prediction.timestamp,
            Prediction.label,
            Prediction.prediction,
            truths.c.truth,
            Prediction.confidence,
            Prediction.scores,
            Prediction.attributes,
            Prediction.stage,
            Prediction.representative,
            Prediction.inclusion_probability,
            QueuedText.probability,
            QueuedText.drawn_at_random,
            truths.c.labelled_at,
            truths.c.received_at,
            truths.c.decided_at,
            truths.c.sources,
        )
        .join(truths, same_row(truths))
        .outerjoin(QueuedText, _same_event())
        .where(truths.c.place == 1)
        .order_by(truths.c.decided_at, Prediction.id)
    )
    return [LabelledAnswer(*row) for row in found]


def labelled_answers(
    session: Session, *, model: str, version: str, start: datetime, end: datetime, counts: Counts = "newest"
) -> list[tuple[str, str]]:
    """Return (answer, truth) of the uniform sample predicted in [start, end), in the order of the labels' times.

    What a class floor alone kept is left out, and what was queued to be labelled for another reason than chance: both
    would weigh some texts beyond their share.
    """
    sample = labelled_sample(session, model=model, version=version, start=start, end=end, counts=counts)
    return [
        (one.answer, one.truth)
        for one in sample
        if one.representative and one.answer is not None and one.drawn_at_random is not False
    ]


def label_delays(
    session: Session, *, model: str, version: str, start: datetime, end: datetime, counts: Counts = "newest"
) -> list[LabelDelay]:
    """Return of everything sampled in [start, end) how long it waited for a label, in the order of the predictions."""
    window = sampled_in(model=model, version=version, start=start, end=end)
    truths = truths_of(window, counts=counts, known_by=None)
    found = session.execute(
        select(
            Prediction.timestamp,
            Prediction.label,
            Prediction.confidence,
            Prediction.inclusion_probability,
            QueuedText.event_id.is_not(None),
            truths.c.truth,
            truths.c.labelled_at,
            truths.c.received_at,
        )
        .outerjoin(truths, and_(same_row(truths), truths.c.place == 1))
        .outerjoin(QueuedText, _same_event())
        .where(*window)
        .order_by(Prediction.timestamp, Prediction.id)
    )
    return [LabelDelay(*row) for row in found]


def label_cohort(session: Session, *, model: str, version: str, start: datetime, end: datetime) -> LabelCohort:
    """Return how much of what was sampled in [start, end) is labelled."""
    window = sampled_in(model=model, version=version, start=start, end=end)
    current = _current_labels(window, known_by=None)
    labelled = (
        select(current.c.id.label("id"), current.c.at_row.label("at_row")).where(_stands(current)).distinct().subquery()
    )
    weight = 1.0 / Prediction.inclusion_probability
    marked = labelled.c.id.is_not(None)
    row = session.execute(
        select(
            func.count(),
            func.count(labelled.c.id),
            func.count(QueuedText.event_id),
            func.coalesce(func.sum(weight), 0.0),
            func.coalesce(func.sum(weight).filter(marked), 0.0),
        )
        .select_from(Prediction)
        .outerjoin(labelled, and_(labelled.c.id == Prediction.id, labelled.c.at_row == Prediction.timestamp))
        .outerjoin(QueuedText, _same_event())
        .where(*window)
    ).one()
    return LabelCohort(row[0], row[1], row[2], float(row[3]), float(row[4]))


def source_labels(
    session: Session, *, model: str, version: str, start: datetime, end: datetime
) -> list[tuple[str, str, str]]:
    """Return (event id, source, label) of every source's newest label of what was sampled in [start, end)."""
    window = sampled_in(model=model, version=version, start=start, end=end)
    current = _current_labels(window, known_by=None)
    found = session.execute(
        select(current.c.event_id, current.c.source, current.c.truth)
        .where(_stands(current))
        .order_by(current.c.event_id, current.c.source)
    )
    return [(row[0], row[1], row[2]) for row in found]


def restated_times(session: Session, *, model: str, version: str, since: datetime) -> dict[datetime, int]:
    """Return the times of those labelled predictions whose truth came or changed since, and how many have each.

    A label that waited for its prediction counts when the prediction comes. Whoever asks again and again lets `since`
    reach back a few minutes before the last asking: a write may commit after a later one.
    """
    found = session.execute(
        select(Prediction.timestamp, Prediction.id)
        .join(Label, label_of())
        .where(
            Prediction.model == model,
            Prediction.version == version,
            or_(Label.received_at >= since, Prediction.received_at >= since),
        )
        .distinct()
        .order_by(Prediction.timestamp)
    )
    return dict(Counter(row[0] for row in found))


def label_of() -> ColumnExpressionArgument[bool]:
    """Join labels to the predictions they are of."""
    return and_(Label.model == Prediction.model, Label.event_id == Prediction.event_id)


def _same_event() -> ColumnExpressionArgument[bool]:
    return and_(QueuedText.model == Prediction.model, QueuedText.event_id == Prediction.event_id)


def same_row(truths: Subquery) -> ColumnExpressionArgument[bool]:
    """Join `truths_of` to its predictions."""
    # with the time: on PostgreSQL a row is found by its partition and id
    return and_(truths.c.id == Prediction.id, truths.c.at_row == Prediction.timestamp)


def _stands(current: Subquery) -> Any:
    return and_(current.c.place == 1, current.c.truth.is_not(None))


def _current_labels(window: Conditions, *, known_by: datetime | None) -> Subquery:
    """Rank every source's versions, the newest first, with the time at which any source first labelled the event."""
    newest_first = (Label.timestamp.desc(), Label.id.desc())
    arrived = () if known_by is None else (Label.received_at < known_by,)
    return (
        select(
            Prediction.id.label("id"),
            Prediction.event_id.label("event_id"),
            Prediction.timestamp.label("at_row"),
            Label.source.label("source"),
            Label.label.label("truth"),
            Label.timestamp.label("at"),
            func.min(Label.timestamp).over(partition_by=Prediction.id).label("labelled_at"),
            func.min(Label.received_at).over(partition_by=Prediction.id).label("received_at"),
            func.row_number().over(partition_by=(Prediction.id, Label.source), order_by=newest_first).label("place"),
        )
        .join(Label, label_of())
        .where(*window, *arrived)
        .subquery()
    )


def truths_of(window: Conditions, *, counts: Counts, known_by: datetime | None) -> Subquery:
    """Rank the labels of every event that stand: the one that counts has place 1."""
    current = _current_labels(window, known_by=known_by)
    votes = (
        select(
            current.c.id,
            current.c.at_row,
            current.c.truth,
            func.count().label("votes"),
            func.max(current.c.at).label("decided_at"),
            func.min(current.c.labelled_at).label("labelled_at"),
            func.min(current.c.received_at).label("received_at"),
        )
        .where(_stands(current))
        .group_by(current.c.id, current.c.at_row, current.c.truth)
        .subquery()
    )
    latest = (votes.c.decided_at.desc(), votes.c.truth)  # the label itself last: the order of arrival decides nothing
    order = (votes.c.votes.desc(), *latest) if counts == "majority" else latest
    return select(
        votes,
        cast(func.sum(votes.c.votes).over(partition_by=votes.c.id), Integer).label("sources"),
        func.row_number().over(partition_by=votes.c.id, order_by=order).label("place"),
    ).subquery()
