"""What is wrong with the configuration ends with 2, what may pass by itself with 75; no typo makes a database."""

import socket
import sqlite3
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from monitor import store
from monitor.commands.common import policy_or_default
from monitor.commands.opening import open_store, require_registry, told
from monitor.errors import InputError, TryAgainLater
from monitor.settings import load_settings
from registry.errors import ArtifactRefused, ModelNotFound, RegistryUnreachable


@pytest.fixture(autouse=True)
def _empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def code_of(error: Exception) -> int:
    ours = told(error) or error
    assert "\n" not in str(ours)
    return ours.exit_code  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "no database URL"),
        ("", "no database URL"),
        ("mysql://x/y", "got mysql://"),
        ("sqlite:///none/x.db", "none/x.db: no such file .DRIFTWARDEN_DATABASE_URL.; `driftwarden db upgrade`"),
        ("sqlite:///x.db", "x.db: no such file"),
        ("sqlite:///text.txt", "text.txt is no SQLite database"),
        ("sqlite:///.", "no such file"),
    ],
)
def test_a_store_that_no_waiting_mends_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, said: str
) -> None:
    Path("text.txt").write_text("a file of texts, and no database")
    monkeypatch.setenv("DRIFTWARDEN_DATABASE_URL", url)
    with pytest.raises((InputError, store.StoreError), match=said) as caught:
        open_store(load_settings(), first_use=True)
    assert code_of(caught.value) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("url", ["sqlite:///text.txt", "sqlite:///none/x.db", "sqlite:///folder", "mysql://x/y", "x"])
def test_the_store_itself_tells_a_bad_database_from_a_silent_one(url: str) -> None:
    Path("text.txt").write_text("a file of texts, and no database")
    Path("folder").mkdir()
    with pytest.raises(store.BadDatabase):
        store.open_engine(url)


def test_a_database_that_refuses_connections_ends_with_75(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DRIFTWARDEN_DATABASE_URL", f"postgresql://a@127.0.0.1:{closed.getsockname()[1]}/x")
        with pytest.raises(store.StoreError) as caught:
            open_store(load_settings())
    assert code_of(caught.value) == 75


def _guard(postgres_url: str) -> None:
    """Have the server ask one role of its own, `guarded`, for a password."""
    engine = create_engine(f"{postgres_url}/postgres".replace("://", "+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        rules = connection.execute(text("SHOW hba_file")).scalar_one()
        guarded = "host all guarded all scram-sha-256\nhost all all all trust"
        connection.execute(text(f"COPY (SELECT regexp_split_to_table('{guarded}', '\n')) TO '{rules}'"))
        connection.execute(text("CREATE ROLE guarded LOGIN PASSWORD 'right'"))
        loaded = connection.execute(text("SELECT pg_conf_load_time()")).scalar_one()
        connection.execute(text("SELECT pg_reload_conf()"))
        for _ in range(100):  # the server takes no connection before it has read all of it
            if connection.execute(text("SELECT pg_conf_load_time()")).scalar_one() > loaded:
                break
            time.sleep(0.05)
    engine.dispose()


@pytest.mark.integration
def test_a_database_that_refuses_the_password_the_user_or_the_name_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    _guard(postgres_url)
    address = postgres_url.partition("@")[2]
    for login, name, said in (
        ("guarded:wrong", "postgres", "password authentication failed"),
        ("guarded", "postgres", "no password supplied"),
        ("nobody", "postgres", 'role "nobody" does not exist'),
        ("driftwarden", "nowhere", 'database "nowhere" does not exist'),
    ):
        monkeypatch.setenv("DRIFTWARDEN_DATABASE_URL", f"postgresql://{login}@{address}/{name}")
        with pytest.raises(store.BadDatabase, match=said) as caught:
            open_store(load_settings())
        assert code_of(caught.value) == 2
        assert "wrong" not in str(caught.value)


def test_only_the_first_use_of_the_default_store_makes_one() -> None:
    with pytest.raises(InputError, match=r"driftwarden\.db: no such file"):
        open_store(load_settings())
    open_store(load_settings(), first_use=True).dispose()
    open_store(load_settings()).dispose()


def test_an_old_schema_ends_with_2_and_names_the_command() -> None:
    sqlite3.connect("driftwarden.db").execute("CREATE TABLE other (x)")
    with pytest.raises(store.StaleSchema, match="driftwarden db upgrade") as caught:
        open_store(load_settings(), first_use=True)
    assert code_of(caught.value) == 2


@pytest.mark.parametrize(("url", "said"), [("sqlite:///none/x.db", "no such file"), ("sqlite:///text.txt", "is no SQ")])
def test_a_registry_file_that_is_not_there_or_is_none_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, said: str
) -> None:
    Path("text.txt").write_text("a file of texts, and no database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    with pytest.raises(InputError, match=said) as caught:
        require_registry(load_settings(), first_use=True)
    assert "MLFLOW_TRACKING_URI" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_only_the_first_use_of_the_default_registry_makes_one() -> None:
    require_registry(load_settings(), first_use=True)
    with pytest.raises(InputError, match=r"mlflow\.db: no such file"):
        require_registry(load_settings())


def test_a_registry_on_a_server_is_not_looked_for_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    require_registry(load_settings())


def test_what_the_rooms_raise_gets_its_exit_code_and_no_text_of_a_prediction() -> None:
    locked = OperationalError("INSERT", {"text": "a secret"}, sqlite3.OperationalError("database is locked"))
    ours = told(locked)
    assert isinstance(ours, TryAgainLater)
    assert str(ours) == "the database does not answer (OperationalError: database is locked)"
    assert isinstance(told(RegistryUnreachable("no answer")), TryAgainLater)
    assert isinstance(told(ModelNotFound("no such model")), InputError)
    assert isinstance(told(ArtifactRefused("pickled")), InputError)
    assert told(ZeroDivisionError()) is None


def test_a_policy_that_was_named_must_exist_and_the_default_one_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy_or_default(load_settings()).models == {}
    assert set(policy_or_default(load_settings(), model="intents").models) == {"intents"}
    monkeypatch.setenv("DRIFTWARDEN_POLICY_FILE", "nope.toml")
    with pytest.raises(InputError, match=r"nope\.toml: no such policy file"):
        policy_or_default(load_settings(), model="intents")
