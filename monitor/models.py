"""Loaded models: what the registry resolved, with the encoder that re-embeds its texts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from monitor.errors import InputError, TryAgainLater
from monitor.policy import ModelPolicy
from registry.baseline import BASELINE_DIGEST_TAG
from registry.errors import RegistryError, RegistryUnreachable
from registry.model import content_digest, parse_ref

if TYPE_CHECKING:
    from monitor.embed import EmbeddingCache, Encoder, EncoderCounts
    from registry.client import Registry
    from registry.model import ResolvedModel

_Key = tuple[str, str, str, str, int | None, str]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An encoder with the digests of what it was loaded from."""

    name: str
    version: str
    model_digest: str
    encoder: "Encoder"


@dataclass(frozen=True, slots=True)
class PinnedModel:
    """What a reference means: NAME/VERSION or an absolute folder, which any worker loads the same content by."""

    reference: str
    name: str
    version: str
    model_digest: str


class ModelSource(Protocol):
    """Where jobs get models from."""

    def version_of(self, reference: str) -> str:
        """Return the version that NAME@ALIAS or NAME/VERSION means now."""
        ...

    def load(self, name: str, version: str, policy: ModelPolicy) -> LoadedModel:
        """Return the verified model."""
        ...


def open_registry(tracking_uri: str, cache_dir: Path) -> "Registry":
    """Return the registry client (this is the moment mlflow is imported)."""
    from registry.client import Registry

    return Registry(tracking_uri, cache_dir)


@contextmanager
def _told() -> Iterator[None]:
    """Turn the registry's errors into ours: unreachable is for later, anything else is the input's fault."""
    try:
        yield
    except RegistryUnreachable as error:
        raise TryAgainLater(str(error)) from error
    except RegistryError as error:
        raise InputError(str(error)) from error


class RegistryModels:
    """Models from the registry, one encoder kept per version and digest."""

    def __init__(
        self,
        registry: "Registry",
        *,
        device: str = "auto",
        threads: int | None = None,
        tokenizer_workers: int | None = None,
    ) -> None:
        self.registry = registry
        self._device, self._threads, self._tokenizer_workers = device, threads, tokenizer_workers
        self._loaded: dict[_Key, LoadedModel] = {}
        self._caches: dict[tuple[str, int], EmbeddingCache] = {}
        self.encoder_counts: dict[str, EncoderCounts] = {}

    def resolve(self, reference: str) -> "ResolvedModel":
        """Resolve a reference. Raises InputError or TryAgainLater with the registry's one line."""
        with _told():
            return self.registry.resolve(parse_ref(reference))

    def version_of(self, reference: str) -> str:
        """Return the version that a reference means now, without fetching it."""
        with _told():
            return self.registry.version_of(parse_ref(reference))

    def tag_baseline(self, name: str, version: str, digest: str) -> None:
        """Name the baseline on the registered version, so that the registry's readers find it."""
        with _told():
            self.registry.set_version_tag(name, version, BASELINE_DIGEST_TAG, digest)

    def pin(self, name: str, version: str, model_digest: str) -> None:
        """Write on the registered version which content it has."""
        with _told():
            self.registry.pin(name, version, model_digest)

    def load(self, name: str, version: str, policy: ModelPolicy, *, accept_new_digest: bool = False) -> LoadedModel:
        """Return the model with its encoder; its files are hashed anew whenever they are read.

        Raises InputError when their digest is not the one the version was pinned at, unless that is accepted.
        """
        resolved = self.resolve(f"{name}/{version}")
        loaded = self._loaded.get(_key(resolved, policy))
        if loaded is None:
            with _told():
                resolved = self.registry.verified(resolved)
        if resolved.pinned_digest is not None and not accept_new_digest:
            require_pinned(name, version, pinned=resolved.pinned_digest, found=resolved.model_digest)
        if loaded is None:
            encoder = load_encoder(
                resolved.path,
                policy=policy,
                device=self._device,
                threads=self._threads,
                tokenizer_workers=self._tokenizer_workers,
                model_digest=resolved.model_digest,
                cache=self._cache(name, policy.embedding_cache_mebibytes),
                counts=self.encoder_counts.get(name),
            )
            self.encoder_counts[name] = encoder.counts  # they outlive the encoder, as counters must
            loaded = LoadedModel(name, resolved.version, resolved.model_digest, encoder)
            self._loaded = {_key(resolved, policy): loaded}
        return loaded

    def _cache(self, name: str, mebibytes: int) -> "EmbeddingCache | None":
        """Return a model's cache, which outlives its encoder: versions take turns in memory."""
        if not mebibytes:
            return None
        from monitor.embed import EmbeddingCache

        return self._caches.setdefault((name, mebibytes), EmbeddingCache(mebibytes * 2**20))


def _key(resolved: "ResolvedModel", policy: ModelPolicy) -> _Key:
    chosen = (policy.pooling, policy.max_length, policy.arithmetic)
    return (resolved.name, resolved.version, resolved.model_digest, *chosen)


def require_pinned(name: str, version: str, *, pinned: str, found: str) -> None:
    """Raise InputError when a version's content is not what it was pinned at."""
    if pinned != found:
        raise InputError(
            f"{name}/{version} was pinned at {pinned} and holds {found} now: its files were overwritten; register them "
            f"as a new version, or pin this one anew: driftwarden baseline {name}/{version} … --accept-new-digest"
        )


def load_encoder(
    folder: Path,
    *,
    policy: ModelPolicy,
    device: str = "auto",
    threads: int | None = None,
    tokenizer_workers: int | None = None,
    model_digest: str | None = None,
    cache: "EmbeddingCache | None" = None,
    counts: "EncoderCounts | None" = None,
) -> "Encoder":
    """Load an encoder from a checkpoint folder. Raises InputError with the reason in one line."""
    from monitor.embed import Encoder

    return Encoder.load(
        folder,
        device=device,
        pooling=policy.pooling,
        max_length=policy.max_length,
        arithmetic=policy.arithmetic,
        threads=threads,
        tokenizer_workers=tokenizer_workers,
        model_digest=model_digest,
        cache=cache,
        counts=counts,
    )


def load_reference(
    reference: str,
    *,
    tracking_uri: str,
    cache_dir: Path,
    policy: ModelPolicy,
    device: str = "auto",
    threads: int | None = None,
    tokenizer_workers: int | None = None,
) -> LoadedModel:
    """Load a registered model or a local checkpoint folder, as `--model` takes it."""
    folder = Path(reference)
    if folder.is_dir():
        with _told():
            digest = content_digest(folder)
        encoder = load_encoder(
            folder, policy=policy, device=device, threads=threads, tokenizer_workers=tokenizer_workers
        )
        return LoadedModel(folder.name, "local", digest, encoder)
    models = RegistryModels(
        open_registry(tracking_uri, cache_dir), device=device, threads=threads, tokenizer_workers=tokenizer_workers
    )
    resolved = models.resolve(reference)
    return models.load(resolved.name, resolved.version, policy)


def pin_reference(reference: str, *, tracking_uri: str, cache_dir: Path) -> PinnedModel:
    """Say what a reference means now without loading it: an alias becomes its version."""
    folder = Path(reference)
    if folder.is_dir():
        with _told():
            digest = content_digest(folder)
        return PinnedModel(str(folder.absolute()), folder.name, "local", digest)
    resolved = RegistryModels(open_registry(tracking_uri, cache_dir)).resolve(reference)
    return PinnedModel(f"{resolved.name}/{resolved.version}", resolved.name, resolved.version, resolved.model_digest)
