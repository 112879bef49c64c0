"""Write files whole or not at all, and say in time that a place cannot be written to."""

import errno
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from monitor.errors import DriftwardenError, InputError, TryAgainLater

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step, durably: a crash leaves the old one or the new one. Its mode is the umask's."""
    beside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:  # not NamedTemporaryFile, whose files are not as the umask says
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            beside.unlink()
        raise


def write_folder(folder: Path, contents: Mapping[str, str]) -> None:
    """Write files by name into a folder, made where it is missing, each whole or not at all.

    Raises InputError or TryAgainLater where it cannot be written, as `write_failed`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_whole(folder / name, content.encode())
    except OSError as error:
        raise write_failed(folder, error, remedy="name a folder that can be written") from None


def require_writable(path: Path) -> None:
    """Raise InputError unless a file can be written at `path`; nothing stays behind."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-"):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error})") from None


def write_failed(path: Path, error: OSError, *, remedy: str) -> DriftwardenError:
    """Return what to tell of a failed write: a full disk is for later, anything else the path's fault."""
    said = f"{path} could not be written ({error.strerror or error}); {remedy}"
    return TryAgainLater(said) if error.errno in NO_ROOM else InputError(said)
