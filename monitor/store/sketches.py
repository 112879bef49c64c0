"""Model versions, baselines and sketches."""

from collections import Counter as Totals
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import CursorResult, delete, func, insert, select, update
from sqlalchemy.orm import Session

from monitor.store.engine import StoreError
from monitor.store.predictions import add_counts, dialect_insert
from monitor.store.tables import Baseline, ModelVersion, Prediction, Run, SketchRow
from monitor.store.types import NewSketch, SketchTotals, StoredBaseline, StoredSketch, StoredVersion

BASELINE_FIELDS = tuple(StoredBaseline.__dataclass_fields__)
SKETCH_FIELDS = tuple(NewSketch.__dataclass_fields__)
SKETCH_KEY = ("model", "version", "hour", "segment", "baseline_digest")
SKETCH_COUNTS = ("n", "truncated", "nonfinite", "token_checked", "token_mismatched")
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
    """Keep a baseline under its digest; saving the same one again makes it the newest, with its summary."""
    statement = dialect_insert(session, Baseline).values(**{name: getattr(baseline, name) for name in BASELINE_FIELDS})
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["model", "version", "digest"],
            set_={"created_at": baseline.created_at, "summary": baseline.summary},
        )
    )


def latest_baseline(session: Session, *, model: str, version: str) -> StoredBaseline | None:
    """Return the newest baseline of a version."""
    row = session.scalar(
        select(Baseline)
        .where(Baseline.model == model, Baseline.version == version)
        .order_by(Baseline.created_at.desc(), Baseline.id.desc())
        .limit(1)
    )
    return None if row is None else StoredBaseline(**{name: getattr(row, name) for name in BASELINE_FIELDS})


def record_embedded(
    session: Session,
    *,
    sketches: Sequence[NewSketch],
    prediction_ids: Sequence[int],
    join: Callable[[bytes, bytes], bytes],
) -> None:
    """Fold sketches into those of their hour by `join`, and mark their predictions, so that each folds once.

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
    totals: Totals[tuple[str, str]] = Totals()
    for sketch in sketches:
        _fold(session, sketch, join)
        for name in SKETCH_COUNTS:
            totals[sketch.model, f"texts.{sketch.version}.{name}"] += getattr(sketch, name)
        if _has_verdict(session, sketch):
            totals[sketch.model, f"texts.{sketch.version}.late"] += sketch.n
    add_counts(session, totals)


def _fold(session: Session, sketch: NewSketch, join: Callable[[bytes, bytes], bytes]) -> None:
    """Add a sketch to the row of its hour, or make that row; readers merge whatever rows there are."""
    row = session.scalar(
        select(SketchRow)
        .where(*(getattr(SketchRow, name) == getattr(sketch, name) for name in SKETCH_KEY))
        .order_by(SketchRow.id)
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is None:
        session.execute(insert(SketchRow), [{name: getattr(sketch, name) for name in SKETCH_FIELDS}])
        return
    for name in SKETCH_COUNTS:
        setattr(row, name, getattr(row, name) + getattr(sketch, name))
    row.payload = join(row.payload, sketch.payload)
    session.flush()


def _has_verdict(session: Session, sketch: NewSketch) -> bool:
    question = select(Run.id).where(
        Run.job == "drift",
        Run.model == sketch.model,
        Run.version == sketch.version,
        Run.status == "ok",
        Run.window_start <= sketch.hour,
        Run.window_end > sketch.hour,
    )
    return session.scalar(question.limit(1)) is not None


def sketched_texts(session: Session, *, model: str, version: str, since: datetime) -> dict[datetime, int]:
    """Return how many texts the sketches of each hour hold, under the version's newest baseline."""
    baseline = latest_baseline(session, model=model, version=version)
    if baseline is None:
        return {}
    found = session.execute(
        select(SketchRow.hour, func.sum(SketchRow.n))
        .where(
            SketchRow.model == model,
            SketchRow.version == version,
            SketchRow.baseline_digest == baseline.digest,
            SketchRow.hour >= since,
        )
        .group_by(SketchRow.hour)
    )
    return {hour: int(n) for hour, n in found}


def baselined(session: Session) -> list[tuple[str, str]]:
    """Return every (model, version) that has a baseline."""
    found = session.execute(
        select(Baseline.model, Baseline.version).distinct().order_by(Baseline.model, Baseline.version)
    )
    return [(model, version) for model, version in found]


def release_embedded(session: Session, *, model: str, version: str, baseline_digest: str, since: datetime) -> int:
    """Let the kept predictions from `since`, a full hour, be folded anew under a baseline; return how many.

    What that baseline's sketches hold of those hours goes, so that nothing folds twice.
    """
    session.execute(
        delete(SketchRow).where(
            SketchRow.model == model,
            SketchRow.version == version,
            SketchRow.baseline_digest == baseline_digest,
            SketchRow.hour >= since,
        )
    )
    done = session.execute(
        update(Prediction)
        .where(
            Prediction.model == model, Prediction.version == version, Prediction.timestamp >= since, Prediction.embedded
        )
        .values(embedded=False)
        .execution_options(synchronize_session=False)
    )
    return done.rowcount if isinstance(done, CursorResult) else 0


def require_newest_baseline(session: Session, *, model: str, version: str, digest: str) -> None:
    """Raise StoreError when a newer baseline stands; until the transaction ends none can be saved.

    `upsert_version`, which every save begins with, waits for the lock that is taken here.
    """
    held = select(ModelVersion.model).where(ModelVersion.model == model, ModelVersion.version == version)
    session.execute(held.with_for_update(read=True)).all()
    newest = latest_baseline(session, model=model, version=version)
    if newest is None or newest.digest != digest:
        raise StoreError(f"{model}/{version} has a new baseline since this batch was embedded; it is embedded again")


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
