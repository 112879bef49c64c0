"""What commands share: opening the store, printing answers, the progress bar."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.errors import InputError, TryAgainLater

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from monitor.ingest import Progress
    from monitor.policy import Policy
    from monitor.runner import Runner
    from monitor.settings import Settings


def code_version() -> str:
    """Return the installed version of driftwarden."""
    return version("driftwarden")


def read_settings() -> "Settings":
    """Read the environment; pydantic loads here and not before, so that `--help` is instant."""
    from monitor.settings import load_settings

    return load_settings()


def open_store(settings: "Settings") -> "Engine":
    """Open the database; a new SQLite file gets its tables. Raises InputError for a stale schema."""
    from monitor import store

    try:
        fresh = settings.database_url.startswith("sqlite:///") and not _sqlite_path(settings).exists()
        engine = store.open_engine(settings.database_url)
        if fresh:
            store.upgrade_schema(engine)
        store.require_current_schema(engine)
    except (store.StaleSchema, store.BadUrl) as error:
        raise InputError(str(error)) from error
    except store.StoreError as error:
        raise TryAgainLater(str(error)) from error
    return engine


def _sqlite_path(settings: "Settings") -> Path:
    return Path(settings.database_url.removeprefix("sqlite:///"))


def policy_or_default(settings: "Settings", *, model: str | None = None) -> "Policy":
    """Read the policy; a model that only the command line names gets the defaults when there is no file."""
    from monitor.policy import DEFAULTS, Policy, load_policy

    if settings.policy_file.exists():
        return load_policy(settings.policy_file)
    if model is None:
        return Policy()
    return Policy(models={model: DEFAULTS})


def quiet_logs() -> None:
    """Let only warnings through, unless the command has configured the logs: its answer is what a user reads."""
    import logging

    import structlog

    from monitor.logs import configure_logs

    if not structlog.is_configured():
        configure_logs(level=logging.WARNING)


def make_runner(settings: "Settings", policy: "Policy") -> "Runner":
    """Compose a runner over the store and the registry."""
    quiet_logs()
    from monitor.clock import SystemClock
    from monitor.models import RegistryModels, open_registry
    from monitor.runner import Runner

    registry = open_registry(settings.mlflow_tracking_uri, settings.cache_dir)
    return Runner(
        engine=open_store(settings),
        policy=policy,
        models=RegistryModels(registry),
        clock=SystemClock(),
        code_version=code_version(),
    )


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def say(line: str) -> None:
    """Print one line on stdout."""
    sys.stdout.write(line + "\n")


def warn(line: str) -> None:
    """Print one line of warning on stderr."""
    sys.stderr.write(f"driftwarden: warning: {line}\n")


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator["Progress"]:
    """Show a progress bar with rate and time left on stderr; nothing when it is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(label, total=None)

        def advance(done: int, total: int | None = None) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
