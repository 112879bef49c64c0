"""Talk to MLflow (the only `import mlflow`): resolve, download, register, tag, move aliases."""

import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "HF_HUB_OFFLINE": "1",  # registering would ask a hub about the model's local name
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}.items():
    os.environ.setdefault(_name, _value)

import mlflow  # noqa: E402 the environment above must stand before mlflow reads it
from mlflow.exceptions import MlflowException  # noqa: E402 likewise
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository  # noqa: E402 likewise
from mlflow.tracking import MlflowClient  # noqa: E402 likewise
from mlflow.utils.file_utils import local_file_uri_to_path  # noqa: E402 likewise

from registry.baseline import MODEL_DIGEST_TAG  # noqa: E402 likewise
from registry.errors import ArtifactRefused, ModelNotFound, RegistryError, RegistryUnreachable  # noqa: E402 likewise
from registry.layout import INCOMING, checkpoint_folder, holds, keep, lay_out  # noqa: E402 likewise
from registry.model import ModelRef, ResolvedModel, checked_files  # noqa: E402 likewise
from registry.stamps import Stamp, drop_stamp, fingerprint, read_stamp, write_stamp  # noqa: E402 likewise

EXPERIMENT = "driftwarden"
LEFTOVER_SECONDS = 86_400
NOT_FOUND = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE"}

# what stands between // and the last @ of a URL, and values of query parameters that are secrets
_SECRET = re.compile(
    r"""(?<!/)(//)(?!/)[^\s'"]+(?=@)|([?&][\w-]*(?:password|passwd|pwd|token|secret|key|sig|signature)=)[^\s&#'"]+""",
    re.IGNORECASE,
)

_T = TypeVar("_T")


class Registry:
    """Registered models of one tracking server (or SQLite file), with a cache of their checkpoints."""

    def __init__(self, tracking_uri: str, cache_dir: Path) -> None:
        self.tracking_uri, self.cache_dir = tracking_uri, cache_dir
        self._shown = unquote(without_secrets(tracking_uri))
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        if (database := _sqlite_file(tracking_uri)) is not None:
            database.parent.mkdir(parents=True, exist_ok=True)
        self._client = self._ask("open", lambda: MlflowClient(tracking_uri, tracking_uri))

    def version_of(self, ref: ModelRef) -> str:
        """Return the version a reference means now; looks it up and fetches nothing.

        Raises ModelNotFound or RegistryUnreachable.
        """
        return str(self._ask(str(ref), lambda: self._find(ref)).version)

    def resolve(self, ref: ModelRef) -> ResolvedModel:
        """Return the version a reference means, its checkpoint checked and cached.

        It is fetched once, and again when its address, last change, files (path, size and, on a local store, time of
        change) or digest tag are no longer those of its stamp. The cached content is not hashed: `verified` does
        that. Raises ModelNotFound, ArtifactRefused or RegistryUnreachable.
        """
        found = self._ask(str(ref), lambda: self._find(ref))
        version, tag = str(found.version), dict(found.tags).get(MODEL_DIGEST_TAG)
        what = f"{ref.name}/{version}"
        source = self._ask(what, lambda: self._client.get_model_version_download_uri(ref.name, version))
        listing = self._ask(f"{what}: artifacts at {source}", lambda: self._listing(source))
        told = fingerprint(source, int(found.last_updated_timestamp or 0), listing)
        stamp = read_stamp(self.cache_dir, name=ref.name, version=version)
        if stamp is None or not self._holds_for(stamp, told, tag):
            digest = self._download(what, source)
            stamp = Stamp(name=ref.name, version=version, fingerprint=told, digest_tag=tag, model_digest=digest)
            write_stamp(self.cache_dir, stamp)
        return ResolvedModel(
            name=ref.name,
            version=version,
            aliases=tuple(sorted(found.aliases)),
            path=checkpoint_folder(self.cache_dir, stamp.model_digest),
            model_digest=stamp.model_digest,
            pinned_digest=tag,
            run_id=found.run_id or None,
        )

    def verified(self, resolved: ResolvedModel) -> ResolvedModel:
        """Hash the cached content before it is loaded; return the model, fetched again when the cache was damaged.

        Raises what `resolve` raises.
        """
        if holds(resolved.path, resolved.model_digest):
            return resolved
        drop_stamp(self.cache_dir, name=resolved.name, version=resolved.version)
        return self.resolve(ModelRef(resolved.name, version=resolved.version))

    def register_checkpoint(
        self, model: Any, tokenizer: Any, *, name: str, alias: str | None, tags: Mapping[str, str]
    ) -> ResolvedModel:
        """Log a transformers model with its tokenizer as a new version of `name`; point `alias` at it."""
        ref = self._ask(name, lambda: self._log(model, tokenizer, name=name))
        for key, value in tags.items():
            self.set_version_tag(name, ref.version or "", key, value)
        if alias is not None:
            self.set_alias(name, alias, ref.version or "")
        resolved = self.resolve(ref)
        self.pin(name, resolved.version, resolved.model_digest)
        return replace(resolved, pinned_digest=resolved.model_digest)

    def pin(self, name: str, version: str, model_digest: str) -> None:
        """Write on a version which content it has; other content is not loaded under its name."""
        self.set_version_tag(name, version, MODEL_DIGEST_TAG, model_digest)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias at a version."""
        what = f"{name}/{version}"
        self._ask(what, lambda: self._client.get_model_version(name, version))
        self._ask(what, lambda: self._client.set_registered_model_alias(name, alias, version))

    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._ask(f"{name}/{version}", lambda: self._client.set_model_version_tag(name, version, key, value))

    def _find(self, ref: ModelRef) -> Any:
        if ref.version is not None:
            return self._client.get_model_version(ref.name, ref.version)
        return self._client.get_model_version_by_alias(ref.name, ref.alias)

    def _holds_for(self, stamp: Stamp, told: str, tag: str | None) -> bool:
        return (
            stamp.fingerprint == told
            and tag in {stamp.digest_tag, stamp.model_digest}  # a version is pinned right after it was fetched
            and checkpoint_folder(self.cache_dir, stamp.model_digest).is_dir()
        )

    def _listing(self, source: str) -> list[tuple[str, int, int]]:
        if urlsplit(source).scheme in {"", "file"}:
            folder = Path(local_file_uri_to_path(source))
            changed = [(path, path.lstat()) for path in folder.rglob("*") if not path.is_dir()]
            return [(path.relative_to(folder).as_posix(), at.st_size, at.st_mtime_ns) for path, at in changed]
        artifacts = get_artifact_repository(source, self.tracking_uri, self.tracking_uri)
        files, folders = [], [None]
        while folders:
            for entry in artifacts.list_artifacts(folders.pop()):
                if entry.is_dir:
                    folders.append(entry.path)
                else:
                    files.append((str(entry.path), int(entry.file_size or 0), 0))
        return files

    def _download(self, what: str, source: str) -> str:
        self.cache_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.cache_dir, prefix=INCOMING) as holder:
            _sweep(self.cache_dir, now=Path(holder).stat().st_mtime)
            # a file store answers with its own folder and not a copy, so the destination is always named
            artifact = Path(holder, "artifact")
            artifact.mkdir()
            fetched = self._ask(
                f"{what}: artifacts at {source}",
                lambda: mlflow.artifacts.download_artifacts(
                    artifact_uri=source,
                    dst_path=str(artifact),
                    tracking_uri=self.tracking_uri,
                    registry_uri=self.tracking_uri,
                ),
            )
            try:
                checked_files(Path(fetched))
                laid_out = lay_out(Path(fetched), Path(holder, "checkpoint"))
            except ArtifactRefused as error:
                message = str(error).replace(str(fetched), "artifact")
                raise ArtifactRefused(f"{what}: {message}") from error
            return keep(laid_out, self.cache_dir)

    def _log(self, model: Any, tokenizer: Any, *, name: str) -> ModelRef:
        # objects and not a path: mlflow's loading of a checkpoint path fails on transformers 5.23
        import mlflow.transformers

        before = (mlflow.get_tracking_uri(), mlflow.get_registry_uri())
        mlflow.set_tracking_uri(self.tracking_uri)
        mlflow.set_registry_uri(self.tracking_uri)
        try:
            with mlflow.start_run(experiment_id=self._experiment()):
                logged = mlflow.transformers.log_model(
                    transformers_model={"model": model, "tokenizer": tokenizer},
                    name="model",
                    task="text-classification" if hasattr(model, "classifier") else "feature-extraction",
                    registered_model_name=name,
                    pip_requirements=[f"{used}=={installed_version(used)}" for used in ("torch", "transformers")],
                    await_registration_for=30,
                )
        finally:
            mlflow.set_tracking_uri(before[0])
            mlflow.set_registry_uri(before[1])
        return ModelRef(name, version=str(logged.registered_model_version))

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        database = _sqlite_file(self.tracking_uri)
        beside = None if database is None else (database.parent / "artifacts").absolute().as_uri()
        return str(self._client.create_experiment(EXPERIMENT, artifact_location=beside))

    def _ask(self, what: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except RegistryError:
            raise
        except MlflowException as error:
            asked, line = without_secrets(what), _one_line(str(error))
            if error.error_code in NOT_FOUND:
                raise ModelNotFound(f"{asked}: not in the registry {self._shown} ({line})") from error
            raise RegistryUnreachable(f"{asked}: registry {self._shown} failed ({line})") from error
        except Exception as error:  # mlflow passes through what its stores and transports raise
            asked, line = without_secrets(what), _one_line(f"{type(error).__name__}: {error}")
            raise RegistryUnreachable(f"{asked}: registry {self._shown} failed ({line})") from error


def without_secrets(line: str) -> str:
    """Return a line whose URLs name no user, password or token.

    >>> without_secrets("http://bob:pw@host/x?token=t&n=1 failed")
    'http://***@host/x?token=***&n=1 failed'
    """
    return _SECRET.sub(r"\1\2***", line)


def _one_line(said: str) -> str:
    # secrets go first: a cut could leave half a password without the @ that gives it away
    return " ".join(without_secrets(said).split())[:200]


def _sweep(cache_dir: Path, *, now: float) -> None:
    """Remove what downloads that were cut off left more than a day before `now` (POSIX seconds)."""
    for left in cache_dir.glob(f"{INCOMING}*"):
        if now - left.lstat().st_mtime > LEFTOVER_SECONDS:
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def _sqlite_file(tracking_uri: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(tracking_uri.removeprefix(prefix)) if tracking_uri.startswith(prefix) else None
