"""Rows of the uniform sample are marked, SQLite never gives an id of a prediction twice, and a dead letter counts once."""

import hashlib

from alembic import op
import sqlalchemy as sa
from pydantic_core import to_json


revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

CHUNK = 1000


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("predictions", _representative())
    else:
        _rebuild_predictions(_representative(), sqlite_autoincrement=True)
        _never_reuse_ids()
    op.add_column("dead_letters", sa.Column("digest", sa.Text(), nullable=True))
    _digest_dead_letters()
    with op.batch_alter_table("dead_letters", schema=None) as batch_op:
        batch_op.alter_column("digest", existing_type=sa.Text(), nullable=False)
        batch_op.create_unique_constraint(op.f("uq_dead_letters_digest"), ["digest"])


def downgrade() -> None:
    with op.batch_alter_table("dead_letters", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("uq_dead_letters_digest"), type_="unique")
        batch_op.drop_column("digest")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_column("predictions", "representative")
    else:
        _rebuild_predictions(sqlite_autoincrement=False)


def _representative() -> sa.Column:
    return sa.Column("representative", sa.Boolean(), server_default=sa.text("true"), nullable=False)


def _rebuild_predictions(*added: sa.Column, sqlite_autoincrement: bool) -> None:
    """SQLite takes AUTOINCREMENT only when a table is made."""
    columns = [
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("text_pair", sa.Text(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("prediction", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("scores", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("latency_seconds", sa.Double(), nullable=True),
        sa.Column("attributes", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("token_count", sa.Integer(), nullable=True),
        sa.Column("tokenizer_digest", sa.Text(), nullable=True),
        sa.Column("inclusion_probability", sa.Double(), nullable=False),
        sa.Column("embedded", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    ]
    kept = ", ".join(column.name for column in columns)
    op.drop_index("ix_predictions_waiting", table_name="predictions")
    op.drop_index("ix_predictions_model_version_timestamp", table_name="predictions")
    op.rename_table("predictions", "predictions_before")
    op.create_table(
        "predictions",
        *columns,
        *added,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_predictions")),
        sqlite_autoincrement=sqlite_autoincrement,
    )
    op.execute(f"INSERT INTO predictions ({kept}) SELECT {kept} FROM predictions_before ORDER BY id")
    op.drop_table("predictions_before")
    op.create_index("ix_predictions_model_version_timestamp", "predictions", ["model", "version", "timestamp"])
    op.create_index(
        "ix_predictions_waiting", "predictions", ["model", "version", "id"], sqlite_where=sa.text("not embedded")
    )


def _never_reuse_ids() -> None:
    """Count on from the highest id ever given: at most one an accepted event, even where retention freed it."""
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'predictions'")
    op.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'predictions', max("
        "coalesce((SELECT max(id) FROM predictions), 0), "
        "coalesce((SELECT sum(value) FROM counters WHERE name = 'events.accepted'), 0))"
    )


def _digest_dead_letters() -> None:
    """Give every dead letter its digest; of letters that are the same the first stays."""
    connection = op.get_bind()
    letters = sa.table(
        "dead_letters", *(sa.column(name) for name in ("id", "source", "index", "field", "payload", "digest"))
    )
    last = 0
    while True:
        found = connection.execute(
            sa.select(letters.c.id, letters.c.source, letters.c.index, letters.c.field, letters.c.payload)
            .where(letters.c.id > last)
            .order_by(letters.c.id)
            .limit(CHUNK)
        ).all()
        if not found:
            break
        digests = [
            {"letter": row[0], "content": hashlib.blake2b(to_json(list(row[1:])), digest_size=16).hexdigest()}
            for row in found
        ]
        connection.execute(
            sa.update(letters).where(letters.c.id == sa.bindparam("letter")).values(digest=sa.bindparam("content")),
            digests,
        )
        last = found[-1].id
    first = sa.select(sa.func.min(letters.c.id)).group_by(letters.c.digest)
    connection.execute(sa.delete(letters).where(letters.c.id.not_in(first)))
