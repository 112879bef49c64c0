"""Open the database: SQLite in WAL mode or PostgreSQL, with its schema brought up to date or refused."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

import migrations
from monitor.errors import one_line

WRITING = "driftwarden_writing"
BUSY_SECONDS = 30
NO_DATABASE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN}
# a refused connection has no SQLSTATE in libpq: 28P01, 28000 and 3D000 are known by their words alone
REFUSED = re.compile(r"authentication failed|no password supplied|no pg_hba\.conf entry|FATAL: .* does not exist")


class StoreError(Exception):
    """The database cannot be reached or used now; one line, without secrets."""


class BadDatabase(StoreError):
    """The URL, or the file it names, is no database: waiting mends nothing."""


class StaleSchema(StoreError):
    """The schema is not the one this code was written for."""


def open_engine(url: str) -> Engine:
    """Open a database by URL and prove that it answers.

    Raises BadDatabase, or StoreError naming the URL without its passwords.
    """
    parsed = _read_url(url)
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    options: dict[str, Any] = (
        {"connect_args": {"timeout": BUSY_SECONDS}}
        if kind == "sqlite"
        else {"connect_args": {"connect_timeout": 5, "options": "-c timezone=UTC"}, "pool_pre_ping": True}
    )
    try:
        engine = create_engine(parsed, json_serializer=_to_json, hide_parameters=True, **options)
        if kind == "sqlite":
            _set_up_sqlite(engine)
        with engine.connect():
            pass
    except (SQLAlchemyError, ImportError) as error:
        cause = error.__cause__ or getattr(error, "orig", None) or error
        if getattr(cause, "sqlite_errorcode", None) in NO_DATABASE:
            raise BadDatabase(f"{_shown(parsed)} is no database that can be opened ({one_line(cause)})") from error
        if REFUSED.search(str(cause)):
            raise BadDatabase(f"database {_shown(parsed)} refuses ({one_line(cause)})") from error
        raise StoreError(f"database {_shown(parsed)} does not answer ({one_line(cause)})") from error
    except ValueError as error:  # a query parameter of a wrong kind
        raise BadDatabase(f"DRIFTWARDEN_DATABASE_URL={_shown(parsed)}: {one_line(error)}") from None
    return engine


def _read_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is a ValueError, and its text holds the password
        raise BadDatabase(
            "DRIFTWARDEN_DATABASE_URL is no database URL; use sqlite:///path or postgresql://user@host:5432/name"
        ) from None
    kind = parsed.get_backend_name()
    if kind not in {"sqlite", "postgresql"}:
        raise BadDatabase(f"DRIFTWARDEN_DATABASE_URL must be sqlite:///path or postgresql://…, got {kind}://…")
    if kind == "sqlite" and parsed.database and not Path(parsed.database).absolute().parent.is_dir():
        raise BadDatabase(f"{parsed.database}: its folder does not exist")
    return parsed


def _shown(url: URL) -> str:
    secrets = [name for name in url.query if "password" in name.lower()]
    masked = url.update_query_dict(dict.fromkeys(secrets, "***"))
    return masked.set(drivername=url.get_backend_name()).render_as_string().replace("%2A%2A%2A", "***")


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _set_up_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own transactions begin too late to fence a write
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_SECONDS * 1000}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # a transaction that reads before it writes must own the write lock first, or its upgrade fails at once
        writing = connection.get_execution_options().get(WRITING)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """Yield a session whose one transaction commits at the end, or leaves nothing behind."""
    with Session(engine.execution_options(**{WRITING: True})) as session, session.begin():
        yield session


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def upgrade_schema(engine: Engine) -> None:
    """Bring the schema to the newest revision; safe to repeat and to run from several processes."""
    try:
        with engine.execution_options(**{WRITING: True}).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(72657001)")
            config = _alembic()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise StoreError(f"the schema could not be upgraded ({one_line(error)})") from error


def require_current_schema(engine: Engine) -> None:
    """Raise StaleSchema unless the database is at the revision this code knows."""
    head = ScriptDirectory.from_config(_alembic()).get_current_head()
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        raise StoreError(f"the schema could not be read ({one_line(error)})") from error
    if found != head:
        raise StaleSchema(
            f"database schema is at revision {found or 'none'}, this driftwarden needs {head}; "
            "run: driftwarden db upgrade"
        )
