"""Refused events: each is kept once, however often it is sent."""

import hashlib
from collections.abc import Sequence

from pydantic_core import to_json
from sqlalchemy import select
from sqlalchemy.orm import Session

from monitor.store.predictions import dialect_insert
from monitor.store.tables import DeadLetterRow
from monitor.store.types import DeadLetter, StoredDeadLetter

FIELDS = tuple(DeadLetter.__dataclass_fields__)


def add_dead_letters(session: Session, rows: Sequence[DeadLetter]) -> list[int]:
    """Keep refused events; return the positions of those that were not there already.

    A letter is known by its source, its place there, the field and the payload: a rerun or a retry adds none.
    """
    first: dict[str, int] = {}
    for position, row in enumerate(rows):
        first.setdefault(_digest(row), position)
    if not first:
        return []
    # in the order of the digests: two batches that share letters wait for each other and never deadlock
    values = [
        {"digest": digest, **{name: getattr(rows[position], name) for name in FIELDS}}
        for digest, position in sorted(first.items())
    ]
    statement = dialect_insert(session, DeadLetterRow).on_conflict_do_nothing(index_elements=["digest"])
    fresh = session.connection().execute(statement.returning(DeadLetterRow.digest), values)
    return sorted(first[digest] for (digest,) in fresh)


def list_dead_letters(session: Session, *, limit: int = 100) -> list[StoredDeadLetter]:
    """Return the newest refused events first, within a request or file from its end."""
    newest = (DeadLetterRow.received_at.desc(), DeadLetterRow.index.desc(), DeadLetterRow.id.desc())
    found = session.scalars(select(DeadLetterRow).order_by(*newest).limit(limit))
    return [StoredDeadLetter(id=row.id, **{name: getattr(row, name) for name in FIELDS}) for row in found]


def _digest(row: DeadLetter) -> str:
    return hashlib.blake2b(to_json([row.source, row.index, row.field, row.payload]), digest_size=16).hexdigest()
