"""Leadership among replicas: a row with a holder, an end and a term that fences late writes."""

from datetime import datetime, timedelta

from sqlalchemy import CursorResult, or_, select, update
from sqlalchemy.orm import Session

from monitor.store.predictions import dialect_insert
from monitor.store.tables import LeaseRow
from monitor.store.types import Lease


def take_lease(session: Session, *, name: str, holder: str, now: datetime, ttl: timedelta) -> Lease | None:
    """Take a lease that is free, expired or our own, under a new term; None while another holds it."""
    term = session.scalar(
        update(LeaseRow)
        .where(LeaseRow.name == name, or_(LeaseRow.expires_at <= now, LeaseRow.holder == holder))
        .values(holder=holder, term=LeaseRow.term + 1, expires_at=now + ttl)
        .returning(LeaseRow.term)
        .execution_options(synchronize_session=False)
    )
    if term is None:
        term = session.scalar(
            dialect_insert(session, LeaseRow)
            .values(name=name, holder=holder, term=1, expires_at=now + ttl)
            .on_conflict_do_nothing(index_elements=["name"])
            .returning(LeaseRow.term)
        )
    return None if term is None else Lease(name=name, holder=holder, term=term, expires_at=now + ttl)


def renew_lease(session: Session, lease: Lease, *, now: datetime, ttl: timedelta) -> bool:
    """Put the end of a lease off; False when it has ended or another holds it."""
    done = session.execute(
        update(LeaseRow)
        .where(
            LeaseRow.name == lease.name,
            LeaseRow.holder == lease.holder,
            LeaseRow.term == lease.term,
            LeaseRow.expires_at > now,
        )
        .values(expires_at=now + ttl)
        .execution_options(synchronize_session=False)
    )
    return isinstance(done, CursorResult) and done.rowcount == 1


def holds_lease(session: Session, lease: Lease, *, now: datetime) -> bool:
    """Whether the lease still stands; its row stays locked to the end of the transaction, so no other can take it."""
    found = session.scalar(
        select(LeaseRow.expires_at)
        .where(LeaseRow.name == lease.name, LeaseRow.holder == lease.holder, LeaseRow.term == lease.term)
        .with_for_update(read=True)
    )
    return found is not None and found > now


def release_lease(session: Session, lease: Lease, *, now: datetime) -> None:
    """Give a lease back, so that another replica need not wait for its end."""
    session.execute(
        update(LeaseRow)
        .where(LeaseRow.name == lease.name, LeaseRow.holder == lease.holder, LeaseRow.term == lease.term)
        .values(expires_at=now)
        .execution_options(synchronize_session=False)
    )
