"""Lay an MLflow artifact out as one plain checkpoint folder, and keep it in the cache under its digest."""

import os
import shutil
from pathlib import Path

from registry.errors import ArtifactRefused
from registry.model import checked_files, content_digest
from registry.tokenizer import TOKENIZER_FILES

INCOMING = ".incoming-"  # what is being written; left behind only by a crash


def lay_out(artifact: Path, destination: Path) -> Path:
    """Copy model and tokenizer files of an mlflow.transformers model (or a plain checkpoint) into one folder.

    Raises ArtifactRefused when there is not exactly one folder with config.json and safetensors.
    """
    model = _model_folder(artifact)
    destination.mkdir()
    for path in checked_files(model):
        target = destination / path.relative_to(model)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    tokenizer = artifact / "components" / "tokenizer"
    if tokenizer.is_dir():
        for name in TOKENIZER_FILES:  # the component is what was registered as the tokenizer
            (destination / name).unlink(missing_ok=True)
            if (tokenizer / name).is_file():
                shutil.copyfile(tokenizer / name, destination / name)
    return destination


def _model_folder(artifact: Path) -> Path:
    for folder in (artifact / "model", artifact):
        if _is_checkpoint(folder):
            return folder
    found = [path.parent for path in sorted(artifact.rglob("config.json")) if _is_checkpoint(path.parent)]
    if len(found) != 1:
        raise ArtifactRefused(
            f"{artifact}: expected one folder with config.json and model.safetensors, found {len(found)}"
        )
    return found[0]


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def checkpoint_folder(cache_dir: Path, digest: str) -> Path:
    """Return where the cache keeps the checkpoint of a content digest."""
    return cache_dir / "models" / digest.removeprefix("sha256:")


def keep(folder: Path, cache_dir: Path) -> str:
    """Move a folder into the cache under its content digest, durably and in one step; return the digest."""
    digest = content_digest(folder)
    final = checkpoint_folder(cache_dir, digest)
    if holds(final, digest):
        return digest
    for path in [*checked_files(folder), *(path for path in folder.rglob("*") if path.is_dir()), folder]:
        _flush(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():  # damaged since: out of the way first, a rename cannot replace a folder with files
        final.rename(folder.with_name("damaged"))
    try:
        folder.rename(final)
    except OSError:
        if not holds(final, digest):  # another process may have put the same content there first
            raise
    _flush(final.parent)
    return digest


def holds(folder: Path, digest: str) -> bool:
    """Return whether a folder holds exactly the content of a digest."""
    try:
        return folder.is_dir() and content_digest(folder) == digest
    except ArtifactRefused:
        return False


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
