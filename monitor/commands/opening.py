"""Opening the store and the registry: what is wrong with the configuration ends with 2, what may pass with 75."""

from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import DriftwardenError, InputError, TryAgainLater

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from monitor.models import LoadedModel, RegistryModels
    from monitor.policy import Policy
    from monitor.runner import Runner
    from monitor.settings import Settings

SQLITE = "sqlite:///"
SQLITE_HEADER = b"SQLite format 3\x00"


def require_sqlite(url: str, *, variable: str, remedy: str) -> None:
    """Raise InputError when a SQLite URL names a file that is not there or is no database; other URLs pass."""
    if not url.startswith(SQLITE):
        return
    path = Path(url.removeprefix(SQLITE).partition("?")[0])
    if not path.is_file():
        raise InputError(f"{path}: no such file ({variable}); {remedy}")
    try:
        with path.open("rb") as file:
            head = file.read(len(SQLITE_HEADER))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror} ({variable})") from None
    if head not in {SQLITE_HEADER, b""}:
        raise InputError(f"{path} is no SQLite database ({variable})")


def open_store(settings: "Settings", *, first_use: bool = False) -> "Engine":
    """Open the database at the current schema.

    On `first_use` the default local file gets made; any other SQLite file is made by `driftwarden db upgrade` alone.
    Raises InputError for a URL or file that is no database and for a stale schema, TryAgainLater when it is silent.
    """
    from monitor import store
    from monitor.settings import LOCAL_STORE

    fresh = first_use and settings.database_url == LOCAL_STORE and not _path(LOCAL_STORE).exists()
    if not fresh:
        require_sqlite(
            settings.database_url,
            variable="DRIFTWARDEN_DATABASE_URL",
            remedy="`driftwarden db upgrade` makes a new database",
        )
    engine = store.open_engine(settings.database_url)
    if fresh:
        store.upgrade_schema(engine)
    store.require_current_schema(engine)
    return engine


def require_registry(settings: "Settings", *, first_use: bool = False) -> None:
    """Raise InputError when the registry is a SQLite file that is not there; MLflow would make an empty one."""
    from monitor.settings import LOCAL_REGISTRY

    if first_use and settings.mlflow_tracking_uri == LOCAL_REGISTRY and not _path(LOCAL_REGISTRY).exists():
        return
    require_sqlite(
        settings.mlflow_tracking_uri,
        variable="DRIFTWARDEN_MLFLOW_TRACKING_URI or MLFLOW_TRACKING_URI",
        remedy="name the registry that holds your models, for example http://mlflow.example:5000",
    )


def open_models(settings: "Settings", *, first_use: bool = False) -> "RegistryModels":
    """Open the registry (this is the moment mlflow is imported). Raises as `require_registry`."""
    from monitor.models import RegistryModels, open_registry

    require_registry(settings, first_use=first_use)
    return RegistryModels(open_registry(settings.mlflow_tracking_uri, settings.cache_dir), threads=settings.threads)


def load_named(model: str, settings: "Settings", *, device: str, tokenizer_workers: int | None = None) -> "LoadedModel":
    """Load a registered model by its policy, or a checkpoint folder by the defaults. Raises as `require_registry`."""
    from monitor.commands.common import model_policy
    from monitor.models import load_reference
    from monitor.policy import DEFAULTS
    from registry.model import parse_ref

    policy = DEFAULTS
    if not Path(model).is_dir():
        require_registry(settings)
        policy = model_policy(settings, parse_ref(model).name)
    return load_reference(
        model,
        tracking_uri=settings.mlflow_tracking_uri,
        cache_dir=settings.cache_dir,
        policy=policy,
        device=device,
        threads=settings.threads,
        tokenizer_workers=tokenizer_workers,
    )


def make_runner(
    settings: "Settings", policy: "Policy", *, models: "RegistryModels | None" = None, first_use: bool = False
) -> "Runner":
    """Compose a runner over the store and the registry, or models that are open already."""
    from monitor.clock import SystemClock
    from monitor.commands.common import code_version, quiet_logs
    from monitor.runner import Runner

    quiet_logs()
    engine = open_store(settings, first_use=first_use)
    return Runner(
        engine=engine,
        policy=policy,
        models=open_models(settings, first_use=first_use) if models is None else models,
        clock=SystemClock(),
        code_version=code_version(),
    )


def told(error: Exception) -> DriftwardenError | None:
    """Return what a store or a registry raised as an error of ours with its exit code; None for anything else.

    Of a database error only the driver's first line is shown: the statement's values are texts of predictions.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from monitor import store
    from registry.errors import RegistryError, RegistryUnreachable

    if isinstance(error, store.BadDatabase | store.StaleSchema):
        return InputError(str(error))
    if isinstance(error, store.StoreError | RegistryUnreachable):
        return TryAgainLater(str(error))
    if isinstance(error, RegistryError):
        return InputError(str(error))
    if isinstance(error, SQLAlchemyError):
        cause = str(getattr(error, "orig", None) or type(error).__name__).strip().splitlines()[0]
        return TryAgainLater(f"the database does not answer ({type(error).__name__}: {cause[:200]})")
    return None


def _path(url: str) -> Path:
    return Path(url.removeprefix(SQLITE))
