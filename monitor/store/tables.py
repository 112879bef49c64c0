"""The tables. On PostgreSQL `predictions` is partitioned by day of `timestamp` (see migrations)."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy import text as sql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only an INTEGER key


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes on every database; SQLite keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware time into UTC, without a zone on SQLite."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"times carry a zone, got {value}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 SQLAlchemy's signature
        """Give back an aware UTC time."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables, with constraint names that migrations can refer to."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 SQLAlchemy's declaration
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(),
        bytes: LargeBinary(),
        str: Text(),
    }


class ModelVersion(Base):
    """A model version seen, with the digests it was pinned at."""

    __tablename__ = "model_versions"
    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    model_digest: Mapped[str]
    tokenizer_digest: Mapped[str]


class PredictionKey(Base):
    """Idempotency: which event ids are taken, and by what content. Not partitioned: unique over all days."""

    __tablename__ = "prediction_keys"
    model: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    content_digest: Mapped[str]
    timestamp: Mapped[datetime] = mapped_column(index=True)


class Prediction(Base):
    """A sampled prediction."""

    __tablename__ = "predictions"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    timestamp: Mapped[datetime]
    received_at: Mapped[datetime]
    event_id: Mapped[str]
    model: Mapped[str]
    version: Mapped[str]
    text: Mapped[str | None]
    text_pair: Mapped[str | None]
    label: Mapped[str | None]
    prediction: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    confidence: Mapped[float | None]
    scores: Mapped[dict[str, Any] | None]
    latency_seconds: Mapped[float | None]
    attributes: Mapped[dict[str, Any] | None]
    stage: Mapped[str | None]
    endpoint: Mapped[str | None]
    subject: Mapped[str | None]
    token_count: Mapped[int | None]
    tokenizer_digest: Mapped[str | None]
    inclusion_probability: Mapped[float]
    embedded: Mapped[bool] = mapped_column(server_default=sql("false"))
    representative: Mapped[bool] = mapped_column(
        server_default=sql("true")
    )  # of the uniform sample; sketches fold these
    __table_args__ = (
        Index("ix_predictions_model_version_timestamp", "model", "version", "timestamp"),
        Index(
            "ix_predictions_waiting",
            "model",
            "version",
            "id",
            sqlite_where=sql("not embedded"),
            postgresql_where=sql("not embedded"),
        ),
        {"sqlite_autoincrement": True},  # sketches refer to rows by id: a freed id is never given again
    )


class Label(Base):
    """A version of the truth about a prediction: rows are added and never changed.

    Without a label the source withdrew its own. A version with a time of its own is known by that time, one without by
    its label (`version_key`).
    """

    __tablename__ = "labels"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model: Mapped[str]
    event_id: Mapped[str]
    source: Mapped[str]
    label: Mapped[str | None]
    timestamp: Mapped[datetime] = mapped_column(index=True)
    received_at: Mapped[datetime] = mapped_column(index=True)
    content_digest: Mapped[str]
    version_key: Mapped[str]
    reference: Mapped[str | None] = mapped_column(
        index=True
    )  # what the source calls it, such as an annotation's number
    __table_args__ = (UniqueConstraint("model", "event_id", "source", "version_key", name="uq_labels_version"),)


class LabelBatch(Base):
    """A draw of texts to be labelled, with every candidate's probability (`chances`: see detectors.label_draw)."""

    __tablename__ = "label_batches"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    window_start: Mapped[datetime]
    window_end: Mapped[datetime] = mapped_column(index=True)
    created_at: Mapped[datetime]
    seed: Mapped[int] = mapped_column(BigInteger)
    design: Mapped[dict[str, Any]]
    chances: Mapped[bytes]


class QueuedText(Base):
    """A text drawn to be labelled, and the probability that the draws until now had of drawing it."""

    __tablename__ = "label_queue"
    model: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(BigInteger, index=True)
    prediction_id: Mapped[int] = mapped_column(BigInteger)
    timestamp: Mapped[datetime] = mapped_column(index=True)  # of the prediction
    reasons: Mapped[list[str]]
    drawn_at_random: Mapped[bool]
    probability: Mapped[float]


class DeadLetterRow(Base):
    """A refused event."""

    __tablename__ = "dead_letters"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    received_at: Mapped[datetime] = mapped_column(index=True)
    source: Mapped[str]
    index: Mapped[int]
    field: Mapped[str]
    reason: Mapped[str]
    payload: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)  # of source, index, field and payload: sent again it counts once


class Counter(Base):
    """A count that only grows, written in the transaction of what it counts."""

    __tablename__ = "counters"
    model: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Baseline(Base):
    """What a version's windows are compared with; the newest one counts."""

    __tablename__ = "baselines"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    digest: Mapped[str]
    numeric_mode: Mapped[str]
    model_digest: Mapped[str]
    tokenizer_digest: Mapped[str]
    basis: Mapped[bytes]
    reference: Mapped[bytes]
    reference_texts: Mapped[list[str]]
    summary: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    __table_args__ = (UniqueConstraint("model", "version", "digest"),)


class SketchRow(Base):
    """A partial sketch of an hour."""

    __tablename__ = "sketches"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    hour: Mapped[datetime]
    segment: Mapped[str]
    baseline_digest: Mapped[str]
    n: Mapped[int] = mapped_column(BigInteger)
    truncated: Mapped[int] = mapped_column(BigInteger)
    nonfinite: Mapped[int] = mapped_column(BigInteger)
    token_checked: Mapped[int] = mapped_column(BigInteger)
    token_mismatched: Mapped[int] = mapped_column(BigInteger)
    payload: Mapped[bytes]
    __table_args__ = (Index("ix_sketches_model_version_hour", "model", "version", "hour"),)


class BackfillShard(Base):
    """A finished part of a backfill: its partial sketch, or its basis, with what was counted and refused."""

    __tablename__ = "backfill_shards"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    run: Mapped[str]
    shard: Mapped[str]
    kernel_digest: Mapped[str]
    counts: Mapped[dict[str, Any]]
    rejects: Mapped[list[Any]] = mapped_column(JSON)  # [file, row, reason], the first of them
    payload: Mapped[bytes]
    finished_at: Mapped[datetime] = mapped_column(index=True)
    __table_args__ = (UniqueConstraint("run", "shard", "kernel_digest", name="uq_backfill_shards_shard"),)


class Run(Base):
    """One run of a job over a window."""

    __tablename__ = "runs"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job: Mapped[str] = mapped_column(String(40))
    model: Mapped[str]
    version: Mapped[str]
    window_start: Mapped[datetime]
    window_end: Mapped[datetime]
    status: Mapped[str] = mapped_column(String(40))
    drift: Mapped[bool | None]
    p_value: Mapped[float | None]
    n: Mapped[int] = mapped_column(BigInteger)
    seed: Mapped[int] = mapped_column(BigInteger)
    policy_digest: Mapped[str]
    code_version: Mapped[str]
    baseline_digest: Mapped[str | None]
    payload: Mapped[dict[str, Any]]
    error: Mapped[str | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    __table_args__ = (
        UniqueConstraint("job", "model", "version", "window_start", "window_end", name="uq_runs_window"),
        Index("ix_runs_window_end", "window_end"),
    )


class Result(Base):
    """One detector's row of a run."""

    __tablename__ = "results"
    run_id: Mapped[int] = mapped_column(BigId, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    statistic: Mapped[float]
    unit: Mapped[str]
    p_value: Mapped[float]
    threshold: Mapped[float]
    drift: Mapped[bool]
    effect: Mapped[float | None]


class Decision(Base):
    """Who or what decided what, why, and on which evidence."""

    __tablename__ = "decisions"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model: Mapped[str]
    version: Mapped[str]
    kind: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str]
    evidence: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class LeaseRow(Base):
    """Who leads; the term fences the writes of those who led before."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    holder: Mapped[str]
    term: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime]
