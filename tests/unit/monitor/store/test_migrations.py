"""A database with rows in it moves to the second revision and back, on SQLite and on PostgreSQL."""

from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from monitor import store
from monitor.store.engine import _alembic
from monitor.store.predictions import _make_missing, _partitions

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


def move(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        (command.downgrade if revision == "0001" else command.upgrade)(config, revision)


def insert_at_0001(connection: Connection, event_id: str, *, embedded: bool) -> None:
    if connection.dialect.name == "postgresql":
        _make_missing(connection, _partitions([NOW]))
    connection.execute(
        text(
            "INSERT INTO predictions (timestamp, received_at, event_id, model, version, text, scores, "
            "inclusion_probability, embedded) VALUES (:at, :at, :id, 'intents', '1', 'where is it', "
            ":scores, 0.5, :done)"
        ),
        {"at": NOW.isoformat(" "), "id": event_id, "scores": '{"a":1.0}', "done": embedded},
    )


def letter_at_0001(connection: Connection, payload: str) -> None:
    connection.execute(
        text(
            'INSERT INTO dead_letters (received_at, source, "index", field, reason, payload) '
            "VALUES (:at, 'http', 3, 'text', 'is missing', :payload)"
        ),
        {"at": NOW.isoformat(" "), "payload": payload},
    )


def check(engine: Engine) -> None:
    with engine.connect() as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        command.check(config)


@pytest.fixture
def at_0001(engine: Engine) -> Engine:
    move(engine, "0001")
    return engine


def test_rows_of_before_are_kept_and_count_as_representative(at_0001: Engine) -> None:
    with at_0001.begin() as connection:
        insert_at_0001(connection, "e1", embedded=False)
        insert_at_0001(connection, "e2", embedded=True)
        before = connection.execute(text("SELECT id, event_id, embedded FROM predictions ORDER BY id")).all()
    move(at_0001, "head")
    check(at_0001)
    with at_0001.connect() as connection:
        assert connection.execute(text("SELECT id, event_id, embedded FROM predictions ORDER BY id")).all() == before
    with Session(at_0001) as session:
        (found,) = store.unembedded(session, model="intents", version="1", before=NOW + timedelta(1), limit=9)
    assert (found.representative, found.inclusion_probability, found.scores) == (True, 0.5, {"a": 1.0})
    assert (found.timestamp, found.text) == (NOW, "where is it")


def test_going_back_keeps_the_rows_too(at_0001: Engine) -> None:
    with at_0001.begin() as connection:
        insert_at_0001(connection, "e1", embedded=False)
        letter_at_0001(connection, "{}")
    move(at_0001, "head")
    move(at_0001, "0001")
    with at_0001.begin() as connection:
        insert_at_0001(connection, "e2", embedded=False)
        assert connection.scalars(text("SELECT event_id FROM predictions ORDER BY id")).all() == ["e1", "e2"]
        assert connection.scalars(text("SELECT payload FROM dead_letters")).all() == ["{}"]
    move(at_0001, "head")
    check(at_0001)


def test_letters_of_before_get_their_digest_and_those_that_are_the_same_become_one(at_0001: Engine) -> None:
    with at_0001.begin() as connection:
        for payload in ("{}", "[]", "{}"):
            letter_at_0001(connection, payload)
    move(at_0001, "head")
    again = store.DeadLetter(NOW, "http", 3, "text", "is missing", "[]")
    with store.writing(at_0001) as session:
        assert store.add_dead_letters(session, [again]) == []
        assert [letter.payload for letter in store.list_dead_letters(session)] == ["[]", "{}"]


def test_an_id_that_retention_freed_before_is_not_given_again(at_0001: Engine) -> None:
    with at_0001.begin() as connection:
        for number in range(3):
            insert_at_0001(connection, f"e{number}", embedded=True)
        connection.execute(text("INSERT INTO counters VALUES ('intents', 'events.accepted', 3)"))
        connection.execute(text("DELETE FROM predictions"))
    move(at_0001, "head")
    assert new_id(at_0001) == 4


def test_the_highest_id_is_not_given_again_when_its_row_is_gone(engine: Engine) -> None:
    assert new_id(engine, "a") == 1
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM predictions"))
    assert new_id(engine, "b") == 2


def new_id(engine: Engine, event_id: str = "new") -> int:
    row = store.NewPrediction("digest", event_id, "intents", "1", NOW, NOW, text="x")
    with store.writing(engine) as session:
        store.insert_predictions(session, [row])
        return store.unembedded(session, model="intents", version="1", before=NOW + timedelta(1), limit=1)[0].id
