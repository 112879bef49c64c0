"""Backfills remember their finished parts."""

from alembic import op
import sqlalchemy as sa


revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "backfill_shards",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("shard", sa.Text(), nullable=False),
        sa.Column("kernel_digest", sa.Text(), nullable=False),
        sa.Column("counts", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("rejects", sa.JSON(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backfill_shards")),
        sa.UniqueConstraint("run", "shard", "kernel_digest", name="uq_backfill_shards_shard"),
    )
    op.create_index(op.f("ix_backfill_shards_finished_at"), "backfill_shards", ["finished_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_backfill_shards_finished_at"), table_name="backfill_shards")
    op.drop_table("backfill_shards")
