"""Model versions, baselines and sketches."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import CursorResult, func, insert, select, update
from sqlalchemy.orm import Session

from monitor.store.engine import StoreError
from monitor.store.predictions import dialect_insert
from monitor.store.tables import Baseline, ModelVersion, Prediction, SketchRow
from monitor.store.types import NewSketch, SketchTotals, StoredBaseline, StoredSketch, StoredVersion

BASELINE_FIELDS = tuple(StoredBaseline.__dataclass_fields__)
SKETCH_FIELDS = tuple(NewSketch.__dataclass_fields__)
IDS_PER_UPDATE = 5000


def upsert_version(session: Session, version: StoredVersion) -> None:
    """Record a model version with its digests."""
    statement = dialect_insert(session, ModelVersion).values(
        model=version.model,
        version=version.version,
        model_digest=version.model_digest,
        tokenizer_digest=version.tokenizer_digest,
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["model", "version"],
            set_={"model_digest": version.model_digest, "tokenizer_digest": version.tokenizer_digest},
        )
    )


def versions(session: Session) -> list[StoredVersion]:
    """Return every recorded model version."""
    found = session.scalars(select(ModelVersion).order_by(ModelVersion.model, ModelVersion.version))
    return [StoredVersion(row.model, row.version, row.model_digest, row.tokenizer_digest) for row in found]


def save_baseline(session: Session, baseline: StoredBaseline) -> None:
    """Keep a baseline under its digest; saving the same one again changes nothing."""
    statement = dialect_insert(session, Baseline).values(**{name: getattr(baseline, name) for name in BASELINE_FIELDS})
    session.execute(statement.on_conflict_do_nothing(index_elements=["model", "version", "digest"]))


def latest_baseline(session: Session, *, model: str, version: str) -> StoredBaseline | None:
    """Return the newest baseline of a version."""
    row = session.scalar(
        select(Baseline)
        .where(Baseline.model == model, Baseline.version == version)
        .order_by(Baseline.id.desc())
        .limit(1)
    )
    return None if row is None else StoredBaseline(**{name: getattr(row, name) for name in BASELINE_FIELDS})


def record_embedded(session: Session, *, sketches: Sequence[NewSketch], prediction_ids: Sequence[int]) -> None:
    """Keep sketches and mark their predictions, so that each prediction folds once.

    Raises StoreError, leaving the caller's transaction to roll back, when one of them was folded meanwhile.
    """
    marked = 0
    for start in range(0, len(prediction_ids), IDS_PER_UPDATE):
        ids = prediction_ids[start : start + IDS_PER_UPDATE]
        done = session.execute(
            update(Prediction)
            .where(Prediction.id.in_(ids), ~Prediction.embedded)
            .values(embedded=True)
            .execution_options(synchronize_session=False)
        )
        marked += done.rowcount if isinstance(done, CursorResult) else 0
    if marked != len(prediction_ids):
        raise StoreError(
            f"{len(prediction_ids) - marked} of {len(prediction_ids)} predictions were embedded or dropped meanwhile"
        )
    if sketches:
        session.execute(insert(SketchRow), [{name: getattr(one, name) for name in SKETCH_FIELDS} for one in sketches])


def sketches_in(
    session: Session, *, model: str, version: str, baseline_digest: str, start: datetime, end: datetime
) -> list[StoredSketch]:
    """Return the partial sketches whose hour begins in [start, end), of one baseline."""
    found = session.scalars(
        select(SketchRow)
        .where(
            SketchRow.model == model,
            SketchRow.version == version,
            SketchRow.baseline_digest == baseline_digest,
            SketchRow.hour >= start,
            SketchRow.hour < end,
        )
        .order_by(SketchRow.hour, SketchRow.id)
    )
    return [StoredSketch(id=row.id, **{name: getattr(row, name) for name in SKETCH_FIELDS}) for row in found]


def sketch_totals(
    session: Session, *, start: datetime | None = None, end: datetime | None = None
) -> dict[tuple[str, str], SketchTotals]:
    """Return what was sketched by (model, version), over all time or hours in [start, end)."""
    question = select(
        SketchRow.model,
        SketchRow.version,
        func.sum(SketchRow.n),
        func.sum(SketchRow.truncated),
        func.sum(SketchRow.nonfinite),
        func.sum(SketchRow.token_checked),
        func.sum(SketchRow.token_mismatched),
    ).group_by(SketchRow.model, SketchRow.version)
    if start is not None:
        question = question.where(SketchRow.hour >= start)
    if end is not None:
        question = question.where(SketchRow.hour < end)
    return {
        (model, version): SketchTotals(*(int(count) for count in counts))
        for model, version, *counts in session.execute(question)
    }
