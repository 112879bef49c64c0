"""Predictions beside the truth about them."""

from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from monitor.store.predictions import answered_in
from monitor.store.tables import Label, Prediction


def labelled_answers(
    session: Session, *, model: str, version: str, start: datetime, end: datetime
) -> list[tuple[str, str]]:
    """Return (answer, truth) of the uniform sample predicted in [start, end), in the order of the labels' times.

    Of several labels of one event the newest counts, whoever gave it. What a class floor alone kept is left out: it
    would weigh rare classes beyond their share.
    """
    newest = func.row_number().over(partition_by=Prediction.id, order_by=(Label.timestamp.desc(), Label.id.desc()))
    ranked = (
        select(
            Prediction.label.label("answer"),
            Label.label.label("truth"),
            Label.timestamp.label("at"),
            Label.id.label("label_id"),
            newest.label("place"),
        )
        .join(Label, and_(Label.model == Prediction.model, Label.event_id == Prediction.event_id))
        .where(*answered_in(model=model, version=version, start=start, end=end))
        .subquery()
    )
    found = session.execute(
        select(ranked.c.answer, ranked.c.truth).where(ranked.c.place == 1).order_by(ranked.c.at, ranked.c.label_id)
    )
    return [(str(answer), str(truth)) for answer, truth in found]
