"""The first schema."""

from alembic import op
import sqlalchemy as sa


revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('baselines',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('digest', sa.Text(), nullable=False),
    sa.Column('numeric_mode', sa.Text(), nullable=False),
    sa.Column('model_digest', sa.Text(), nullable=False),
    sa.Column('tokenizer_digest', sa.Text(), nullable=False),
    sa.Column('basis', sa.LargeBinary(), nullable=False),
    sa.Column('reference', sa.LargeBinary(), nullable=False),
    sa.Column('reference_texts', sa.JSON(), nullable=False),
    sa.Column('summary', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_baselines')),
    sa.UniqueConstraint('model', 'version', 'digest', name=op.f('uq_baselines_model_version_digest'))
    )
    op.create_table('counters',
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('name', sa.String(length=80), nullable=False),
    sa.Column('value', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('model', 'name', name=op.f('pk_counters'))
    )
    op.create_table('dead_letters',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('index', sa.Integer(), nullable=False),
    sa.Column('field', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('payload', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_dead_letters'))
    )
    with op.batch_alter_table('dead_letters', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_dead_letters_received_at'), ['received_at'], unique=False)

    op.create_table('decisions',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('evidence', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_decisions'))
    )
    op.create_table('labels',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('event_id', sa.Text(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('label', sa.Text(), nullable=False),
    sa.Column('timestamp', sa.DateTime(timezone=True), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('content_digest', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_labels')),
    sa.UniqueConstraint('model', 'event_id', 'source', name=op.f('uq_labels_model_event_id_source'))
    )
    with op.batch_alter_table('labels', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_labels_timestamp'), ['timestamp'], unique=False)

    op.create_table('leases',
    sa.Column('name', sa.String(length=80), nullable=False),
    sa.Column('holder', sa.Text(), nullable=False),
    sa.Column('term', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_leases'))
    )
    op.create_table('model_versions',
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('model_digest', sa.Text(), nullable=False),
    sa.Column('tokenizer_digest', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('model', 'version', name=op.f('pk_model_versions'))
    )
    op.create_table('prediction_keys',
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('event_id', sa.Text(), nullable=False),
    sa.Column('content_digest', sa.Text(), nullable=False),
    sa.Column('timestamp', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('model', 'event_id', name=op.f('pk_prediction_keys'))
    )
    with op.batch_alter_table('prediction_keys', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_prediction_keys_timestamp'), ['timestamp'], unique=False)

    _create_predictions()
    with op.batch_alter_table('predictions', schema=None) as batch_op:
        batch_op.create_index('ix_predictions_model_version_timestamp', ['model', 'version', 'timestamp'], unique=False)
        batch_op.create_index('ix_predictions_waiting', ['model', 'version', 'id'], unique=False, sqlite_where=sa.text('not embedded'), postgresql_where=sa.text('not embedded'))

    op.create_table('runs',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('job', sa.String(length=40), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('window_start', sa.DateTime(timezone=True), nullable=False),
    sa.Column('window_end', sa.DateTime(timezone=True), nullable=False),
    sa.Column('status', sa.String(length=40), nullable=False),
    sa.Column('drift', sa.Boolean(), nullable=True),
    sa.Column('p_value', sa.Double(), nullable=True),
    sa.Column('n', sa.BigInteger(), nullable=False),
    sa.Column('seed', sa.BigInteger(), nullable=False),
    sa.Column('policy_digest', sa.Text(), nullable=False),
    sa.Column('code_version', sa.Text(), nullable=False),
    sa.Column('baseline_digest', sa.Text(), nullable=True),
    sa.Column('payload', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_runs')),
    sa.UniqueConstraint('job', 'model', 'version', 'window_start', 'window_end', name='uq_runs_window')
    )
    with op.batch_alter_table('runs', schema=None) as batch_op:
        batch_op.create_index('ix_runs_window_end', ['window_end'], unique=False)

    op.create_table('sketches',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('hour', sa.DateTime(timezone=True), nullable=False),
    sa.Column('segment', sa.Text(), nullable=False),
    sa.Column('baseline_digest', sa.Text(), nullable=False),
    sa.Column('n', sa.BigInteger(), nullable=False),
    sa.Column('truncated', sa.BigInteger(), nullable=False),
    sa.Column('nonfinite', sa.BigInteger(), nullable=False),
    sa.Column('token_checked', sa.BigInteger(), nullable=False),
    sa.Column('token_mismatched', sa.BigInteger(), nullable=False),
    sa.Column('payload', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sketches'))
    )
    with op.batch_alter_table('sketches', schema=None) as batch_op:
        batch_op.create_index('ix_sketches_model_version_hour', ['model', 'version', 'hour'], unique=False)

    op.create_table('results',
    sa.Column('run_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('name', sa.String(length=80), nullable=False),
    sa.Column('statistic', sa.Double(), nullable=False),
    sa.Column('unit', sa.Text(), nullable=False),
    sa.Column('p_value', sa.Double(), nullable=False),
    sa.Column('threshold', sa.Double(), nullable=False),
    sa.Column('drift', sa.Boolean(), nullable=False),
    sa.ForeignKeyConstraint(['run_id'], ['runs.id'], name=op.f('fk_results_run_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('run_id', 'name', name=op.f('pk_results'))
    )


def downgrade() -> None:
    op.drop_table('results')
    with op.batch_alter_table('sketches', schema=None) as batch_op:
        batch_op.drop_index('ix_sketches_model_version_hour')

    op.drop_table('sketches')
    with op.batch_alter_table('runs', schema=None) as batch_op:
        batch_op.drop_index('ix_runs_window_end')

    op.drop_table('runs')
    with op.batch_alter_table('predictions', schema=None) as batch_op:
        batch_op.drop_index('ix_predictions_waiting', sqlite_where=sa.text('not embedded'), postgresql_where=sa.text('not embedded'))
        batch_op.drop_index('ix_predictions_model_version_timestamp')

    op.drop_table('predictions')
    with op.batch_alter_table('prediction_keys', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_prediction_keys_timestamp'))

    op.drop_table('prediction_keys')
    op.drop_table('model_versions')
    op.drop_table('leases')
    with op.batch_alter_table('labels', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_labels_timestamp'))

    op.drop_table('labels')
    op.drop_table('decisions')
    with op.batch_alter_table('dead_letters', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_dead_letters_received_at'))

    op.drop_table('dead_letters')
    op.drop_table('counters')
    op.drop_table('baselines')


def _create_predictions() -> None:
    """On PostgreSQL partitioned by day: retention drops a partition. The key then holds the day's column too."""
    partitioned = op.get_bind().dialect.name == "postgresql"
    identity: dict = {}
    if partitioned:
        op.execute("CREATE SEQUENCE predictions_id_seq AS bigint")
        identity["server_default"] = sa.text("nextval('predictions_id_seq')")
    op.create_table(
        "predictions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, **identity),
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
        sa.PrimaryKeyConstraint("id", *(["timestamp"] if partitioned else []), name=op.f("pk_predictions")),
        postgresql_partition_by="RANGE (timestamp)",
    )
    if partitioned:
        op.execute("ALTER SEQUENCE predictions_id_seq OWNED BY predictions.id")
