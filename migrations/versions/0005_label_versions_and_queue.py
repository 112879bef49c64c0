"""Every version of a label is kept; which texts were queued to be labelled stands beside its probability."""

import hashlib
from datetime import UTC, datetime

from alembic import op
import sqlalchemy as sa


revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

CHUNK = 1000
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("labels", sa.Column("version_key", sa.Text(), nullable=True))
    op.add_column("labels", sa.Column("reference", sa.Text(), nullable=True))
    _fill_version_keys()
    with op.batch_alter_table("labels", schema=None) as batch_op:
        batch_op.alter_column("version_key", existing_type=sa.Text(), nullable=False)
        batch_op.alter_column("label", existing_type=sa.Text(), nullable=True)
        batch_op.drop_constraint("uq_labels_model_event_id_source", type_="unique")
        batch_op.create_unique_constraint("uq_labels_version", ["model", "event_id", "source", "version_key"])
    op.create_index("ix_labels_received_at", "labels", ["received_at"])
    op.create_index("ix_labels_reference", "labels", ["reference"])
    op.create_table(
        "label_batches",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("window_start", TIME, nullable=False),
        sa.Column("window_end", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("design", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("chances", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_batches")),
    )
    op.create_index("ix_label_batches_window_end", "label_batches", ["window_end"])
    op.create_table(
        "label_queue",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("prediction_id", sa.BigInteger(), nullable=False),
        sa.Column("timestamp", TIME, nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("drawn_at_random", sa.Boolean(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("model", "event_id", name=op.f("pk_label_queue")),
    )
    op.create_index("ix_label_queue_batch_id", "label_queue", ["batch_id"])
    op.create_index("ix_label_queue_timestamp", "label_queue", ["timestamp"])


def downgrade() -> None:
    """Each source keeps the version that counted: its newest. Withdrawn labels and the queue go."""
    op.drop_table("label_queue")
    op.drop_table("label_batches")
    op.drop_index("ix_labels_reference", table_name="labels")
    op.drop_index("ix_labels_received_at", table_name="labels")
    op.execute(
        "DELETE FROM labels WHERE id IN (SELECT id FROM (SELECT id, label, row_number() OVER "
        "(PARTITION BY model, event_id, source ORDER BY timestamp DESC, id DESC) AS place FROM labels) AS ranked "
        "WHERE place > 1 OR label IS NULL)"
    )
    with op.batch_alter_table("labels", schema=None) as batch_op:
        batch_op.drop_constraint("uq_labels_version", type_="unique")
        batch_op.create_unique_constraint("uq_labels_model_event_id_source", ["model", "event_id", "source"])
        batch_op.alter_column("label", existing_type=sa.Text(), nullable=False)
        batch_op.drop_column("reference")
        batch_op.drop_column("version_key")


def _fill_version_keys() -> None:
    """A label without a time of its own took that of its arrival: it is known by its content, others by their time."""
    connection = op.get_bind()
    labels = sa.table(
        "labels",
        sa.column("id"),
        sa.column("timestamp", TIME),
        sa.column("received_at", TIME),
        sa.column("label"),
        sa.column("version_key"),
    )
    last = 0
    while True:
        found = connection.execute(
            sa.select(labels.c.id, labels.c.timestamp, labels.c.received_at, labels.c.label)
            .where(labels.c.id > last)
            .order_by(labels.c.id)
            .limit(CHUNK)
        ).all()
        if not found:
            return
        connection.execute(
            sa.update(labels).where(labels.c.id == sa.bindparam("row")).values(version_key=sa.bindparam("key")),
            [{"row": row.id, "key": _version_key(row.timestamp, row.received_at, row.label)} for row in found],
        )
        last = found[-1].id


def _version_key(timestamp: datetime, received_at: datetime, label: str) -> str:
    if timestamp == received_at:
        return "label " + hashlib.blake2b(label.encode(), digest_size=16).hexdigest()
    aware = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    return "at " + aware.astimezone(UTC).isoformat(timespec="microseconds")
