"""Names of registered models, and the digest and safety of a checkpoint folder."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from registry.errors import ArtifactRefused, ModelNotFound

PICKLED_SUFFIXES = frozenset(
    {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack", ".joblib", ".npy", ".npz", ".mar", ".dill"}
)
CHUNK_BYTES = 1 << 20

_REFERENCE = re.compile(r"(?P<name>[^@/\s:][^@/:]*)(?:@(?P<alias>[^@/\s:]+)|/(?P<version>[1-9][0-9]*))")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A registered model by alias or by version: exactly one of the two is set."""

    name: str
    alias: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}" if self.version is None else f"{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model version whose checkpoint lies in the cache; `pinned_digest` is what its tag says, or None."""

    name: str
    version: str
    aliases: tuple[str, ...]
    path: Path
    model_digest: str
    pinned_digest: str | None
    run_id: str | None


def parse_ref(reference: str) -> ModelRef:
    """Read NAME@ALIAS or NAME/VERSION. Raises ModelNotFound otherwise.

    >>> parse_ref("support-intents@champion")
    ModelRef(name='support-intents', alias='champion', version=None)
    >>> parse_ref("support-intents/3").version
    '3'
    """
    match = _REFERENCE.fullmatch(reference.strip())
    if match is None:
        raise ModelNotFound(f"model reference must be NAME@ALIAS or NAME/VERSION, got {reference!r:.120}")
    return ModelRef(match["name"], match["alias"], match["version"])


def checked_files(folder: Path) -> list[Path]:
    """Return a folder's files in the order of their relative paths.

    Raises ArtifactRefused naming the first symbolic link, special file or file of pickled weights.
    """
    if not folder.is_dir():
        raise ArtifactRefused(f"{folder}: not a folder")
    files = []
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise ArtifactRefused(f"{folder}: {name} is a symbolic link; a checkpoint holds plain files only")
        if path.is_dir():
            continue
        if not path.is_file():
            raise ArtifactRefused(f"{folder}: {name} is not a plain file")
        if any(suffix.lower() in PICKLED_SUFFIXES for suffix in path.suffixes[-1:]):
            raise ArtifactRefused(f"{folder}: {name} may hold pickled weights; only safetensors are loaded")
        files.append(path)
    return files


def files_digest(folder: Path, files: list[Path]) -> str:
    """Return "sha256:…" over each file's relative path and content digest, in the order of the paths."""
    whole = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix()):
        whole.update(f"{path.relative_to(folder).as_posix()}\0{_file_digest(path)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def content_digest(folder: Path) -> str:
    """Return the digest of a checkpoint folder. Raises ArtifactRefused as `checked_files` does."""
    return files_digest(folder, checked_files(folder))


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
