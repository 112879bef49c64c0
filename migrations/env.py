"""Alembic's entry: migrates the connection that `monitor.store` hands over, or DRIFTWARDEN_DATABASE_URL."""

from alembic import context

from monitor.settings import load_settings
from monitor.store import open_engine
from monitor.store.tables import Base


def _is_partition(name: str | None, kind: str) -> bool:
    return kind == "table" and name is not None and name.startswith("predictions_")


def _migrate(connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        render_as_batch=True,
        include_name=lambda name, kind, _parents: not _is_partition(name, kind),
    )
    with context.begin_transaction():
        context.run_migrations()


handed = context.config.attributes.get("connection")
if handed is not None:
    _migrate(handed)
else:
    with open_engine(load_settings().database_url).begin() as opened:
        _migrate(opened)
