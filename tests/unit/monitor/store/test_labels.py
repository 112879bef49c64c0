"""Versions of labels and which of them counts, on SQLite and on PostgreSQL."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from alembic import command
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from monitor import store
from monitor.store.engine import _alembic

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
WINDOW = {"model": "intents", "version": "1", "start": NOW, "end": NOW + timedelta(hours=1)}


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def prediction(number: int, **fields) -> store.NewPrediction:
    usual = store.NewPrediction(
        content_digest=str(number),
        event_id=f"e{number}",
        model="intents",
        version="1",
        timestamp=NOW + minutes(number),
        received_at=NOW + minutes(number),
        text="where is it",
        label="shipping",
        confidence=0.75,
        scores={"shipping": 0.75, "billing": 0.25},
        attributes={"channel": "chat"},
    )
    return usual._replace(**fields)


def label(
    number: int, truth: str | None, *, at: float = 100, source: str = "ann", came: float = 100, dated: bool = True
) -> store.NewLabel:
    return store.NewLabel(
        f"e{number}", "intents", truth, NOW + minutes(at), source, NOW + minutes(came), f"digest of {truth}", dated
    )


def insert(engine: Engine, *rows: store.NewPrediction) -> None:
    with store.writing(engine) as session:
        store.insert_predictions(session, rows)


def give(engine: Engine, *rows: store.NewLabel) -> store.InsertOutcome:
    with store.writing(engine) as session:
        return store.insert_labels(session, rows)


def truths(engine: Engine, **choices) -> list[str]:
    with Session(engine) as session:
        return [one.truth for one in store.labelled_sample(session, **WINDOW, **choices)]


def test_every_version_is_kept_and_the_same_again_is_none(engine: Engine) -> None:
    versions = [label(1, "billing", at=1), label(1, "login", at=2), label(1, "billing", at=3)]
    assert give(engine, *versions) == store.InsertOutcome(3, (), ())
    assert give(engine, *versions) == store.InsertOutcome(0, (0, 1, 2), ())
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM labels")) == 3


def test_two_unlike_labels_of_one_source_and_time_are_a_conflict(engine: Engine) -> None:
    assert give(engine, label(1, "billing", at=1), label(1, "login", at=1)) == store.InsertOutcome(1, (), (1,))
    assert give(engine, label(1, "login", at=1)).conflicting == (0,)


def test_a_label_without_a_time_counts_once_and_an_unlike_one_is_a_version(engine: Engine) -> None:
    insert(engine, prediction(1))
    assert give(engine, label(1, "billing", at=1, dated=False)).accepted == 1
    assert give(engine, label(1, "billing", at=2, dated=False)).duplicates == (0,)
    assert give(engine, label(1, "login", at=3, dated=False)).accepted == 1
    assert truths(engine) == ["login"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [("newest", "login"), ("majority", "billing")],
)
def test_what_counts_does_not_hang_on_the_order_of_arrival(sqlite_engine: Engine, counts: str, expected: str) -> None:
    versions = [
        label(0, "shipping", at=1, source="a"),
        label(0, "billing", at=2, source="a"),
        label(0, "billing", at=3, source="b"),
        label(0, "login", at=4, source="c"),
    ]
    for number, order in enumerate(permutations(versions)):
        insert(sqlite_engine, prediction(number, timestamp=NOW))
        for one in order:
            give(sqlite_engine, store.NewLabel(f"e{number}", *[getattr(one, name) for name in list(one.__slots__)[1:]]))
    assert truths(sqlite_engine, counts=counts) == [expected] * 24


def test_of_labels_that_as_many_sources_give_the_one_given_last_counts(engine: Engine) -> None:
    insert(engine, prediction(1))
    give(engine, label(1, "login", at=9, source="a"), label(1, "billing", at=5, source="b"))
    assert truths(engine, counts="majority") == ["login"]
    give(engine, label(1, "billing", at=6, source="c"))
    assert truths(engine, counts="majority") == ["billing"]
    assert truths(engine, counts="newest") == ["login"]


def test_a_withdrawn_label_gives_way_to_the_next_source_and_then_to_none(engine: Engine) -> None:
    insert(engine, prediction(1))
    give(engine, label(1, "login", at=9, source="a"), label(1, "billing", at=5, source="b"))
    give(engine, label(1, None, at=10, source="a"))
    assert truths(engine) == ["billing"]
    give(engine, label(1, None, at=11, source="b"))
    assert truths(engine) == []
    with Session(engine) as session:
        assert store.label_cohort(session, **WINDOW) == store.LabelCohort(1, 0, 0, 1.0, 0.0)


def test_a_labelled_answer_carries_what_quality_needs(engine: Engine) -> None:
    answer = prediction(1, inclusion_probability=0.5, stage="first", prediction_json={"label": "shipping"})
    insert(engine, answer, prediction(2))
    give(engine, label(1, "billing", at=7, source="a", came=9), label(1, "login", at=30, source="b", came=31))
    with Session(engine) as session:
        (found,) = store.labelled_sample(session, **WINDOW)
    assert (found.event_id, found.timestamp, found.answer, found.truth) == ("e1", NOW + minutes(1), "shipping", "login")
    assert (found.prediction, found.stage, found.sources) == ({"label": "shipping"}, "first", 2)
    assert (found.confidence, found.scores) == (0.75, {"shipping": 0.75, "billing": 0.25})
    assert (found.attributes, found.representative) == ({"channel": "chat"}, True)
    assert (found.inclusion_probability, found.labelling_probability, found.drawn_at_random) == (0.5, None, None)
    assert found.labelled_at == NOW + minutes(7)
    assert found.received_at == NOW + minutes(9)
    assert found.decided_at == NOW + minutes(30)


def queue(engine: Engine, *drawn: tuple[int, float, bool]) -> int:
    batch = store.NewLabelBatch("intents", "1", NOW, NOW + timedelta(hours=1), NOW, 7, {"n": 9}, b"chances")
    rows = [
        store.Queued(f"e{number}", number, NOW + minutes(number), ["uncertain"], at_random, probability)
        for number, probability, at_random in drawn
    ]
    with store.writing(engine) as session:
        return store.record_label_batch(session, batch, drawn=rows, raised={})


def test_the_chance_of_being_labelled_multiplies_that_of_being_kept(engine: Engine) -> None:
    insert(engine, prediction(1, inclusion_probability=0.5), prediction(2))
    give(engine, label(1, "billing"))
    queue(engine, (1, 0.1, False))
    with Session(engine) as session:
        (found,) = store.labelled_sample(session, **WINDOW)
        cohort = store.label_cohort(session, **WINDOW)
    assert found.inclusion_probability == pytest.approx(0.05)
    assert found.labelling_probability == 0.1
    assert cohort == store.LabelCohort(2, 1, 1, 3.0, 2.0)


def test_what_was_queued_for_being_uncertain_says_nothing_of_harm(engine: Engine) -> None:
    insert(engine, *(prediction(number) for number in range(3)))
    give(engine, *(label(number, "billing") for number in range(3)))
    queue(engine, (1, 0.1, False), (2, 0.4, True))
    with Session(engine) as session:
        assert len(store.labelled_answers(session, **WINDOW)) == 2


def test_what_arrived_later_is_left_out_of_what_was_known(engine: Engine) -> None:
    insert(engine, prediction(1))
    give(engine, label(1, "login", at=5, came=10), label(1, "billing", at=6, came=20))
    assert truths(engine, known_by=NOW + minutes(10)) == []
    assert truths(engine, known_by=NOW + minutes(15)) == ["login"]
    assert truths(engine) == ["billing"]


def test_delays_are_of_every_sampled_answer_labelled_or_not(engine: Engine) -> None:
    insert(engine, prediction(1), prediction(2))
    give(engine, label(2, "login", at=50, came=60), label(2, "billing", at=70, came=70))
    with Session(engine) as session:
        waiting, labelled = store.label_delays(session, **WINDOW)
    assert (waiting.timestamp, waiting.truth, waiting.labelled_at) == (NOW + minutes(1), None, None)
    assert (labelled.truth, labelled.labelled_at, labelled.received_at) == (
        "billing",
        NOW + minutes(50),
        NOW + minutes(60),
    )


def test_a_late_label_says_which_times_it_restates(engine: Engine) -> None:
    insert(engine, prediction(1), prediction(2), prediction(3, version="2"))
    give(engine, label(1, "login", came=10), label(2, "login", came=10), label(3, "login", came=10))

    def restated(since: float) -> dict[datetime, int]:
        with Session(engine) as session:
            return store.restated_times(session, model="intents", version="1", since=NOW + minutes(since))

    assert restated(10) == {NOW + minutes(1): 1, NOW + minutes(2): 1}
    give(engine, label(2, "billing", at=120, came=20))
    assert restated(20) == {NOW + minutes(2): 1}
    assert restated(21) == {}


def test_a_label_that_waited_for_its_prediction_counts_when_that_comes(engine: Engine) -> None:
    give(engine, label(1, "login", came=5))
    assert truths(engine) == []
    insert(engine, prediction(1, received_at=NOW + minutes(30)))
    assert truths(engine) == ["login"]
    with Session(engine) as session:
        since = NOW + minutes(30)
        assert store.restated_times(session, model="intents", version="1", since=since) == {NOW + minutes(1): 1}


def test_annotators_stand_beside_each_other_with_their_newest_labels(engine: Engine) -> None:
    insert(engine, prediction(1))
    give(engine, label(1, "x", at=1, source="a"), label(1, "y", at=2, source="a"), label(1, "y", at=1, source="b"))
    with Session(engine) as session:
        assert store.source_labels(session, **WINDOW) == [("e1", "a", "y"), ("e1", "b", "y")]


def retained(engine: Engine, unmatched_before: dict[str, datetime]) -> Sequence[str]:
    long_ago = NOW - timedelta(days=400)
    steps = store.retention_steps(text_before=long_ago, results_before=long_ago, unmatched_before=unmatched_before)
    for step in steps.values():
        with store.writing(engine) as session:
            step(session)
    with engine.connect() as connection:
        return connection.scalars(text("SELECT event_id FROM labels ORDER BY event_id")).all()


def test_labels_of_unknown_ids_expire_by_policy_and_those_of_known_ids_stay(engine: Engine) -> None:
    insert(engine, prediction(1))
    give(engine, label(1, "login", came=1), label(2, "login", came=1), label(3, "login", came=90))
    assert retained(engine, {"other": NOW + timedelta(days=9)}) == ["e1", "e2", "e3"]
    assert retained(engine, {"intents": NOW + minutes(50)}) == ["e1", "e3"]


def move(engine: Engine, revision: str, *, down: bool = False) -> None:
    with engine.begin() as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


def test_labels_of_before_become_versions_and_going_back_keeps_the_newest(engine: Engine) -> None:
    move(engine, "0004", down=True)
    with engine.begin() as connection:
        for source, at in (("dated", NOW + minutes(5)), ("undated", NOW + minutes(9))):
            connection.execute(
                text(
                    "INSERT INTO labels (model, event_id, source, label, timestamp, received_at, content_digest) "
                    "VALUES ('intents', 'e1', :source, 'login', :at, :came, 'digest of login')"
                ),
                {"source": source, "at": at.isoformat(" "), "came": (NOW + minutes(9)).isoformat(" ")},
            )
    move(engine, "head")
    with engine.connect() as connection:
        keys = dict(connection.execute(text("SELECT source, version_key FROM labels")).all())
    assert keys["dated"] == "at 2026-01-10T12:05:00.000000+00:00"
    assert keys["undated"].startswith("label ")
    assert give(engine, label(1, "login", at=5, source="dated")).duplicates == (0,)
    assert (
        give(engine, label(1, "billing", at=6, source="dated"), label(1, None, at=50, source="undated")).accepted == 2
    )
    move(engine, "0004", down=True)
    with engine.connect() as connection:
        left = connection.execute(text("SELECT source, label FROM labels")).all()
    assert [tuple(row) for row in left] == [("dated", "billing")]
    move(engine, "head")
    with engine.connect() as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        command.check(config)
