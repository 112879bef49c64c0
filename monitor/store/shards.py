"""Which parts of a backfill are done, so that nothing is embedded twice."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from monitor.store.engine import StoreError
from monitor.store.predictions import dialect_insert
from monitor.store.tables import BackfillShard
from monitor.store.types import FinishedShard

KEY = ("run", "shard", "kernel_digest")


def record_shard(session: Session, *, run: str, finished: FinishedShard, payload: bytes, at: datetime) -> None:
    """Keep a finished part of a run; of two workers that did the same part the first counts."""
    statement = dialect_insert(session, BackfillShard).values(
        run=run,
        shard=finished.shard,
        kernel_digest=finished.kernel_digest,
        counts=dict(finished.counts),
        rejects=[list(one) for one in finished.rejects],
        payload=payload,
        finished_at=at,
    )
    session.execute(statement.on_conflict_do_nothing(index_elements=list(KEY)))


def finished_shards(session: Session, *, run: str, kernel_digest: str) -> dict[str, FinishedShard]:
    """Return the finished parts of a run under one kernel, by shard and without their payloads."""
    columns = (BackfillShard.shard, BackfillShard.counts, BackfillShard.rejects)
    found = session.execute(
        select(*columns).where(BackfillShard.run == run, BackfillShard.kernel_digest == kernel_digest)
    )
    return {
        shard: FinishedShard(shard, kernel_digest, counts, [(file, row, reason) for file, row, reason in rejects])
        for shard, counts, rejects in found
    }


def shard_payload(session: Session, *, run: str, shard: str, kernel_digest: str) -> bytes:
    """Return what a finished part produced. Raises StoreError when it is gone."""
    found = session.scalar(
        select(BackfillShard.payload).where(
            BackfillShard.run == run, BackfillShard.shard == shard, BackfillShard.kernel_digest == kernel_digest
        )
    )
    if found is None:
        raise StoreError(f"shard {shard} of the backfill is gone from the database; run the same command again")
    return found


def forget_shards(session: Session, *, run: str) -> None:
    """Drop every finished part of a run, so that it begins anew."""
    session.execute(delete(BackfillShard).where(BackfillShard.run == run))
