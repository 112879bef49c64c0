"""Predictions, labels, dead letters and their counts."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain
from typing import Any

from pydantic_core import to_json
from sqlalchemy import ColumnExpressionArgument, Connection, Engine, func, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from monitor.store.tables import Counter, Prediction, PredictionKey
from monitor.store.types import (
    InsertOutcome,
    NewPrediction,
    StoredPrediction,
)

CHUNK = 500
ROWS_PER_STATEMENT = 100  # times 20 columns: well below the 32,766 parameters that SQLite takes
PREDICTIONS = Prediction.metadata.tables[Prediction.__tablename__]  # Core: no unit of work on the hot path
PARTITION_LOCK = 72657002
PARTITIONS_PER_TRANSACTION = 16
KEY_FIELDS = ("model", "event_id", "content_digest", "timestamp")

COLUMNS = (
    Prediction.id,
    Prediction.timestamp,
    Prediction.model,
    Prediction.version,
    Prediction.text,
    Prediction.text_pair,
    Prediction.label,
    Prediction.confidence,
    Prediction.scores,
    Prediction.attributes,
    Prediction.token_count,
    Prediction.tokenizer_digest,
    Prediction.inclusion_probability,
    Prediction.representative,
)


def on_postgresql(session: Session) -> bool:
    """Whether the session speaks to PostgreSQL; SQLite is the only other database."""
    return session.get_bind().dialect.name == "postgresql"


def dialect_insert(session: Session, table: Any) -> Any:
    """Return the dialect's INSERT, which knows ON CONFLICT."""
    return postgresql.insert(table) if on_postgresql(session) else sqlite.insert(table)


def insert_predictions(session: Session, rows: Sequence[NewPrediction]) -> InsertOutcome:
    """Insert each event id once; the same id with the same content is a duplicate, with other content a conflict.

    Within a batch the first of equal ids counts. Many days at once need `make_partitions` before, on PostgreSQL.
    """
    first: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        first.setdefault((row.model, row.event_id), index)
    if on_postgresql(session):
        _make_missing(session.connection(), _partitions(row.timestamp for row in rows))
    insert_each = _insert_postgresql if on_postgresql(session) else _insert_sqlite
    # in the order of the keys: two batches that share ids wait for each other and never deadlock
    fresh = insert_each(session, [rows[index] for _, index in sorted(first.items())])
    held = _kept_digests(session, [key for key in first if key not in fresh])
    return outcome_of(
        [(row.model, row.event_id) for row in rows], [row.content_digest for row in rows], fresh=fresh, held=held
    )


def _insert_postgresql(session: Session, rows: Sequence[NewPrediction]) -> set[tuple[str, ...]]:
    """Insert the rows whose id is free; return their ids."""
    keys = [{name: getattr(row, name) for name in KEY_FIELDS} for row in rows]
    fresh = insert_new(session, PredictionKey, keys, identity=("model", "event_id"))
    kept = [_columns(row) for row in rows if (row.model, row.event_id) in fresh]
    if kept:
        session.connection().execute(insert(PREDICTIONS), kept)
    return fresh


def _insert_sqlite(session: Session, rows: Sequence[NewPrediction]) -> set[tuple[str, ...]]:
    """Insert the rows whose id is free; return their ids.

    Nearly always every id is new, and then a plain insert is the fastest there is.
    """
    if not rows:
        return set()
    connection = session.connection()
    times = {moment: _for_sqlite(moment) for row in rows for moment in (row.timestamp, row.received_at)}
    connection.exec_driver_sql("SAVEPOINT new_keys")
    values = [(row.model, row.event_id, row.content_digest, times[row.timestamp]) for row in rows]
    if _insert_rows(connection, _KEYS_INSERT, values) == len(rows):
        connection.exec_driver_sql("RELEASE new_keys")
        fresh: set[tuple[str, ...]] = {(row.model, row.event_id) for row in rows}
    else:
        connection.exec_driver_sql("ROLLBACK TO new_keys")
        keys = [{name: getattr(row, name) for name in KEY_FIELDS} for row in rows]
        fresh = insert_new(session, PredictionKey, keys, identity=("model", "event_id"))
        rows = [row for row in rows if (row.model, row.event_id) in fresh]
    if rows:
        _insert_rows(connection, _SQLITE_INSERT, [_sqlite_columns(row, times) for row in rows])
    return fresh


def _insert_rows(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> int:
    """Insert rows into SQLite, ROWS_PER_STATEMENT at a time; return how many went in.

    The driver gives the interpreter away at every statement, and a busy one comes back late: with a statement a row,
    writing waits for reading a hundred times a request.
    """
    places = f"({', '.join('?' * len(rows[0]))})"
    inserted = 0
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        part = rows[start : start + ROWS_PER_STATEMENT]
        flat = tuple(chain.from_iterable(part))
        inserted += connection.exec_driver_sql(f"{statement} VALUES {', '.join([places] * len(part))}", flat).rowcount
    return inserted


def kept_content(session: Session, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the content digest of every one of these (model, event id) that is kept, in one query."""
    parameters: dict[str, Any]
    if on_postgresql(session):
        asked = "unnest(cast(:models AS text[]), cast(:ids AS text[])) AS asked (model, event_id)"
        parameters = {"models": [model for model, _ in ids], "ids": [event_id for _, event_id in ids]}
    else:
        asked = "(SELECT value ->> 0 AS model, value ->> 1 AS event_id FROM json_each(:ids)) AS asked"
        parameters = {"ids": json.dumps(ids, ensure_ascii=False)}
    found = session.connection().execute(
        text(
            "SELECT model, event_id, content_digest "  # noqa: S608 our own words alone; every value is a parameter
            f"FROM {asked} JOIN prediction_keys USING (model, event_id)"
        ),
        parameters,
    )
    return {(model, event_id): digest for model, event_id, digest in found}


def insert_new(
    session: Session, table: Any, values: Sequence[dict[str, Any]], *, identity: tuple[str, ...]
) -> set[tuple[str, ...]]:
    """Insert the rows whose identity is free and return those identities: one short statement, whatever the number."""
    if not values:
        return set()
    name, columns = table.__tablename__, list(values[0])
    listed, returned = ", ".join(columns), ", ".join(identity)
    times = {column for column, value in values[0].items() if isinstance(value, datetime)}
    parameters: dict[str, Any]
    if on_postgresql(session):
        parts = ", ".join(f"cast(:{one} AS {'timestamptz' if one in times else 'text'}[])" for one in columns)
        source = f"SELECT * FROM unnest({parts})"  # noqa: S608 names of our own columns alone
        parameters = {column: [row[column] for row in values] for column in columns}
    else:
        parts = ", ".join(f"value ->> {position}" for position in range(len(columns)))
        source = f"SELECT {parts} FROM json_each(:rows) WHERE true"  # noqa: S608 numbers alone
        rows = [[_for_sqlite(row[column]) for column in columns] for row in values]
        parameters = {"rows": json.dumps(rows, ensure_ascii=False)}
    # names of our own tables and columns alone; every value is a parameter
    statement = f"INSERT INTO {name} ({listed}) {source} ON CONFLICT ({returned}) DO NOTHING RETURNING {returned}"
    return {tuple(row) for row in session.connection().execute(text(statement), parameters)}


_COLUMN_NAMES = (
    "event_id",
    "model",
    "version",
    "timestamp",
    "received_at",
    "text",
    "text_pair",
    "label",
    "prediction",
    "confidence",
    "scores",
    "latency_seconds",
    "attributes",
    "stage",
    "endpoint",
    "subject",
    "token_count",
    "tokenizer_digest",
    "inclusion_probability",
    "representative",
)
_KEYS_INSERT = "INSERT OR IGNORE INTO prediction_keys (model, event_id, content_digest, timestamp)"
_SQLITE_INSERT = f"INSERT INTO predictions ({', '.join(_COLUMN_NAMES)})"
_TIMES = tuple(_COLUMN_NAMES.index(name) for name in ("timestamp", "received_at"))
_JSON_COLUMNS = tuple(_COLUMN_NAMES.index(name) for name in ("prediction", "scores", "attributes"))


def _for_sqlite(value: Any) -> Any:
    # as the DateTime type of SQLAlchemy writes it
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(" ", "microseconds")[:26]
    return value


def outcome_of(
    keys: Sequence[tuple[str, ...]],
    digests: Sequence[str],
    *,
    fresh: Collection[tuple[str, ...]],
    held: Mapping[Any, str],
) -> InsertOutcome:
    """Tell of a batch which rows were there already and which are at odds with what is.

    keys, digests : identity and content of every row. fresh : the identities that went in. held : content by identity
    of those that were there before.
    """
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    known = {key: digests[first[key]] for key in fresh} | dict(held)
    accepted = 0
    duplicates, conflicting = [], []
    for index, key in enumerate(keys):
        if key in fresh and first[key] == index:
            accepted += 1
        elif known.get(key) == digests[index]:
            duplicates.append(index)
        else:
            conflicting.append(index)
    return InsertOutcome(accepted, tuple(duplicates), tuple(conflicting))


def _kept_digests(session: Session, keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    known: dict[tuple[str, ...], str] = {}
    for start in range(0, len(keys), CHUNK):
        part = keys[start : start + CHUNK]
        found = session.execute(
            select(PredictionKey.model, PredictionKey.event_id, PredictionKey.content_digest).where(
                PredictionKey.model.in_({key[0] for key in part}), PredictionKey.event_id.in_({key[1] for key in part})
            )
        )
        known.update({(row[0], row[1]): row[2] for row in found})
    return known


def _columns(row: NewPrediction) -> dict[str, Any]:
    return dict(zip(_COLUMN_NAMES, row[1:], strict=True))


def _sqlite_columns(row: NewPrediction, times: Mapping[datetime, str]) -> list[Any]:
    values: list[Any] = list(row[1:])
    for position in _TIMES:
        values[position] = times[values[position]]
    for position in _JSON_COLUMNS:
        if values[position] is not None:
            values[position] = to_json(values[position]).decode()
    return values


def partition_name(day: str) -> str:
    """Return the partition of an ISO day.

    >>> partition_name("2026-01-31")
    'predictions_20260131'
    """
    return f"predictions_{day.replace('-', '')}"


def make_partitions(engine: Engine, timestamps: Iterable[datetime]) -> None:
    """Make the missing partitions of many days, a few a transaction; `insert_predictions` makes those of few itself.

    A lock on every new table is held until its transaction ends, and PostgreSQL has room for some thousands in all.
    """
    if engine.dialect.name != "postgresql":
        return
    moments = list(timestamps)
    if not moments or max(moments) - min(moments) < timedelta(days=PARTITIONS_PER_TRANSACTION):
        return
    days = list(_partitions(moments).items())
    for start in range(0, len(days), PARTITIONS_PER_TRANSACTION):
        with engine.begin() as connection:
            _make_missing(connection, dict(days[start : start + PARTITIONS_PER_TRANSACTION]))


def _partitions(timestamps: Iterable[datetime]) -> dict[str, date]:
    days = {moment.astimezone(UTC).date() for moment in timestamps}
    return {partition_name(day.isoformat()): day for day in sorted(days)}


def _make_missing(connection: Connection, days: Mapping[str, date]) -> None:
    if not _missing_partitions(connection, days):
        return
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": PARTITION_LOCK})
    for name in _missing_partitions(connection, days):
        _make_partition(connection, name, datetime.combine(days[name], time(), UTC))


def _missing_partitions(connection: Connection, names: Iterable[str]) -> list[str]:
    # asks pg_class and not to_regclass(), which may answer from a cache older than the lock
    question = text(
        "SELECT n FROM unnest(cast(:names AS text[])) AS n WHERE NOT EXISTS (SELECT FROM pg_class WHERE relname = n)"
    )
    return sorted(connection.scalars(question, {"names": list(names)}))


def _make_partition(connection: Connection, name: str, start: datetime) -> None:
    # attaching, unlike CREATE … PARTITION OF, lets other transactions go on inserting
    connection.execute(text(f"CREATE TABLE {name} (LIKE predictions INCLUDING ALL)"))
    connection.execute(
        text(
            f"ALTER TABLE predictions ATTACH PARTITION {name} "
            f"FOR VALUES FROM ('{start.isoformat()}') TO ('{(start + timedelta(days=1)).isoformat()}')"
        )
    )


def add_counts(session: Session, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to counters, (model, name) → how many; in the order of the keys, so that writers never deadlock."""
    values = [{"model": model, "name": name, "value": value} for (model, name), value in sorted(counts.items())]
    if values:
        statement = dialect_insert(session, Counter).values(values)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["model", "name"], set_={"value": Counter.value + statement.excluded.value}
            )
        )


def counts(session: Session) -> dict[tuple[str, str], int]:
    """Return every counter."""
    return {(row.model, row.name): row.value for row in session.scalars(select(Counter))}


def unembedded(session: Session, *, model: str, version: str, before: datetime, limit: int) -> list[StoredPrediction]:
    """Return samples that no sketch holds yet, oldest arrival first."""
    found = session.execute(
        select(*COLUMNS)
        .where(
            Prediction.model == model,
            Prediction.version == version,
            ~Prediction.embedded,
            Prediction.timestamp < before,
        )
        .order_by(Prediction.id)
        .limit(limit)
    )
    return [StoredPrediction(*row) for row in found]


def count_unembedded(session: Session, *, most: int = 200) -> dict[tuple[str, str], int]:
    """Return how many samples wait to be embedded, by (model, version): of those the `most` largest."""
    waiting = func.count()
    found = session.execute(
        select(Prediction.model, Prediction.version, waiting)
        .where(~Prediction.embedded)
        .group_by(Prediction.model, Prediction.version)
        .order_by(waiting.desc(), Prediction.model, Prediction.version)
        .limit(most)
    )
    return {(model, version): count for model, version, count in found}


def predictions_by_id(session: Session, ids: Sequence[int]) -> dict[int, StoredPrediction]:
    """Return the predictions that retention has not taken, by id."""
    held: dict[int, StoredPrediction] = {}
    for start in range(0, len(ids), CHUNK):
        found = session.execute(select(*COLUMNS).where(Prediction.id.in_(ids[start : start + CHUNK])))
        held.update({row.id: StoredPrediction(*row) for row in found})
    return held


def answered_in(
    *, model: str, version: str, start: datetime, end: datetime
) -> tuple[ColumnExpressionArgument[bool], ...]:
    """Return the conditions of the uniform sample of [start, end) that has an answer."""
    return (
        Prediction.model == model,
        Prediction.version == version,
        Prediction.timestamp >= start,
        Prediction.timestamp < end,
        Prediction.representative,
        Prediction.label.is_not(None),
    )


def prediction_mix(session: Session, *, model: str, version: str, start: datetime, end: datetime) -> dict[str, int]:
    """Return how many predictions of the uniform sample in [start, end) carry each label."""
    found = session.execute(
        select(Prediction.label, func.count())
        .where(*answered_in(model=model, version=version, start=start, end=end))
        .group_by(Prediction.label)
        .order_by(Prediction.label)
    )
    return {str(label): count for label, count in found}


def first_event_at(session: Session, *, model: str, version: str) -> datetime | None:
    """Return the time of the earliest stored prediction."""
    return session.scalar(
        select(Prediction.timestamp)
        .where(Prediction.model == model, Prediction.version == version)
        .order_by(Prediction.timestamp)
        .limit(1)
    )
