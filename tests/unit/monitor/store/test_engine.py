"""Opening the database, its schema and its transactions."""

import pytest
from alembic import command
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from monitor import store
from monitor.store.engine import _alembic
from tests.unit.monitor.store.rows import insert, prediction


def test_the_schema_is_what_the_tables_say(engine: Engine) -> None:
    with engine.connect() as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        command.check(config)


def test_a_stale_schema_is_refused_with_the_command_that_mends_it(engine: Engine) -> None:
    with store.writing(engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(store.StaleSchema, match="driftwarden db upgrade"):
        store.require_current_schema(engine)


def test_the_schema_goes_down_and_up_again(engine: Engine) -> None:
    with engine.begin() as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    store.upgrade_schema(engine)
    assert insert(engine, prediction(1)).accepted == 1


def test_a_transaction_that_fails_leaves_nothing(engine: Engine) -> None:
    def write_and_die() -> None:
        with store.writing(engine) as session:
            store.insert_predictions(session, [prediction(1)])
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_and_die()
    assert insert(engine, prediction(1)).accepted == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://x", "must be sqlite"),
        ("nonsense", "no database URL"),
        ("sqlite:////no/such/folder/a.db", "folder does not exist"),
        ("postgresql://user:secret@127.0.0.1:9/x", r"postgresql://user:\*\*\*@127"),
        ("postgresql://127.0.0.1:9/x?user=u&password=secret", r"x\?.*password=\*\*\*"),
        ("postgresql://user:secret@127.0.0.1:port/x", "no database URL"),
        ("sqlite:////tmp/a.db?timeout=long", r"timeout=long: .*'long'"),
    ],
)
def test_a_database_that_cannot_be_opened_is_said_in_one_line(url: str, said: str) -> None:
    with pytest.raises(store.StoreError, match=said) as caught:
        store.open_engine(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_error_of_the_database_names_no_value(engine: Engine) -> None:
    with pytest.raises(SQLAlchemyError) as caught, engine.begin() as connection:
        connection.execute(text("INSERT INTO no_such_table VALUES (:text)"), {"text": "my card is 4111 1111"})
    assert "4111" not in str(caught.value)
