"""Remember in the cache which content a registered version had when it was fetched."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from registry.layout import INCOMING


@dataclass(frozen=True, slots=True)
class Stamp:
    """A fetched version: what the registry said of it then, its digest tag then, and the digest of its content."""

    name: str
    version: str
    fingerprint: str
    digest_tag: str | None
    model_digest: str


def fingerprint(source: str, last_updated: int, listing: Sequence[tuple[str, int, int]]) -> str:
    """Return "sha256:…" over an artifact's address, the version's last change (ms) and its files.

    listing : (path, bytes, time of change in ns or 0 where the store tells none). The address may hold secrets, so
    only the digest is written down.
    """
    told = json.dumps([source, last_updated, sorted(listing)], separators=(",", ":"))
    return f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"


def read_stamp(cache_dir: Path, *, name: str, version: str) -> Stamp | None:
    """Return a version's stamp; None when there is none that can be read."""
    try:
        found = Stamp(**json.loads(_path(cache_dir, name, version).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if (found.name, found.version) == (name, version) else None


def write_stamp(cache_dir: Path, stamp: Stamp) -> None:
    """Keep a stamp, whole or not at all."""
    path = _path(cache_dir, stamp.name, stamp.version)
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=cache_dir, prefix=INCOMING, delete=False) as stream:
        json.dump(asdict(stamp), stream)
        stream.flush()
        os.fsync(stream.fileno())
    Path(stream.name).replace(path)


def drop_stamp(cache_dir: Path, *, name: str, version: str) -> None:
    """Forget a version, so that it is fetched again."""
    _path(cache_dir, name, version).unlink(missing_ok=True)


def _path(cache_dir: Path, name: str, version: str) -> Path:
    key = hashlib.sha256(f"{name}\0{version}".encode()).hexdigest()
    return cache_dir / "stamps" / f"{key}.json"
