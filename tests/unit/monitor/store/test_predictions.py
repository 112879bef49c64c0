"""Predictions and labels: each counts once, and comes back as it went in."""

import threading
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from monitor import store
from tests.unit.monitor.store.rows import NOW, insert, prediction, waiting


def label(number: int, truth: str, *, minute: int, source: str = "default") -> store.NewLabel:
    at = NOW + timedelta(minutes=minute)
    return store.NewLabel(f"e{number}", "intents", truth, at, source, NOW, f"{truth} by {source}")


def test_a_prediction_comes_back_as_it_went_in(engine: Engine) -> None:
    assert insert(engine, prediction(1)) == store.InsertOutcome(1, (), ())
    (found,) = waiting(engine)
    assert (found.text, found.label, found.confidence, found.timestamp) == (
        "where is order 1",
        "shipping",
        0.75,
        NOW + timedelta(minutes=1),
    )
    assert found.scores == {"shipping": 0.75, "billing": 0.25}
    assert found.attributes == {"channel": "chat"}


def test_an_id_counts_once_and_other_content_under_it_is_a_conflict(engine: Engine) -> None:
    assert insert(engine, prediction(1), prediction(2), prediction(1)) == store.InsertOutcome(2, (2,), ())
    again = insert(engine, prediction(2), prediction(3), prediction(1, content_digest="other"))
    assert again == store.InsertOutcome(1, (0,), (2,))
    assert len(waiting(engine)) == 3


def test_days_far_apart_are_stored_beside_each_other(engine: Engine) -> None:
    days = [prediction(i, timestamp=NOW + timedelta(days=3 * i - 6)) for i in range(4)]
    assert insert(engine, *days).accepted == 4
    assert insert(engine, prediction(9, timestamp=NOW + timedelta(days=3))).accepted == 1
    with Session(engine) as session:
        assert store.first_event_at(session, model="intents", version="1") == NOW - timedelta(days=6)


def test_writers_at_once_keep_every_id_once(engine: Engine) -> None:
    outcomes: list[store.InsertOutcome] = []

    def write(reverse: bool) -> None:
        rows = [prediction(i, timestamp=NOW + timedelta(days=i % 7)) for i in range(200)]
        outcomes.append(insert(engine, *(reversed(rows) if reverse else rows)))

    threads = [threading.Thread(target=write, args=(bool(i % 2),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcome.accepted for outcome in outcomes) == 200
    assert sum(outcome.duplicate for outcome in outcomes) == 600


def test_a_label_counts_once_per_source(engine: Engine) -> None:
    label = store.NewLabel("e1", "intents", "billing", NOW, "review", NOW, "a")
    with store.writing(engine) as session:
        assert store.insert_labels(session, [label, label]) == store.InsertOutcome(1, (1,), ())
    with store.writing(engine) as session:
        other = [replace(label, label="shipping", content_digest="b"), replace(label, source="survey")]
        assert store.insert_labels(session, other) == store.InsertOutcome(1, (), (0,))


def test_counters_add_up(engine: Engine) -> None:
    for _ in range(2):
        with store.writing(engine) as session:
            store.add_counts(session, {("intents", "accepted"): 2, ("intents", "duplicate"): 1})
    with Session(engine) as session:
        assert store.counts(session) == {("intents", "accepted"): 4, ("intents", "duplicate"): 2}


def test_answers_stand_beside_their_newest_label_in_the_order_of_the_labels(engine: Engine) -> None:
    kept = [prediction(number) for number in range(4)]
    kept += [prediction(4, label=None), prediction(5, representative=False), prediction(6, version="2")]
    kept += [prediction(90)]
    labels = [
        label(0, "billing", minute=9),
        label(1, "billing", minute=1),
        label(1, "shipping", minute=5, source="review"),
        label(2, "login", minute=3),
        *(label(number, "login", minute=4) for number in (4, 5, 6, 90)),
    ]
    with store.writing(engine) as session:
        store.insert_predictions(session, kept)
        store.insert_labels(session, labels)
    with Session(engine) as session:
        found = store.labelled_answers(
            session, model="intents", version="1", start=NOW, end=NOW + timedelta(minutes=60)
        )
    assert found == [("shipping", "login"), ("shipping", "shipping"), ("shipping", "billing")]
