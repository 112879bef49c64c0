"""`driftwarden embed`: a file of texts into an array of vectors, streamed, and resumed where it stopped."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from monitor.errors import InputError, TryAgainLater
from monitor.files import require_writable, write_failed, write_whole
from monitor.ingest import Progress
from monitor.models import LoadedModel
from monitor.texts import WINDOW_CHARACTERS, WINDOW_ROWS, text_rows

HEADER_BYTES = 128
READ_BYTES = 1 << 20
REMEDY = "what is done is kept: make room and run the same command again"

Dtype = Literal["float32", "float16"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What must be the same for a half-written array to be continued."""

    input_digest: str
    model_digest: str
    tokenizer_digest: str
    numeric_mode: str
    dtype: str
    rows: int
    dimension: int


@dataclass(slots=True)
class Done:
    """How far an array is, and what was counted on the way."""

    rows: int = 0
    tokens: int = 0
    truncated: int = 0
    nonfinite: int = 0
    digest: str = ""  # of these rows as they were stored


@dataclass(frozen=True, slots=True)
class Scanned:
    """A file of texts that can be embedded: how many, whether they are pairs, and the digest of its bytes."""

    rows: int
    pairs: bool
    digest: str


@dataclass(frozen=True, slots=True)
class EmbeddedFile:
    """The array as it was written."""

    path: Path
    identity: Identity
    done: Done
    resumed_rows: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the shape that `embed --json` prints."""
        embedded = self.done.rows - self.resumed_rows
        return {
            "out": str(self.path),
            **asdict(self.identity),
            "resumed_rows": self.resumed_rows,
            "tokens": self.done.tokens,
            "truncated": self.done.truncated,
            "nonfinite": self.done.nonfinite,
            "seconds": round(self.seconds, 3),
            "texts_per_second": round(embedded / self.seconds, 1) if self.seconds > 0 else 0.0,
        }


def check_output(out: Path) -> None:
    """Raise InputError unless an array can be written at `out`."""
    if out.suffix != ".npy":
        raise InputError(f"{out}: vectors are written as .npy")
    require_writable(out)


def scan(path: Path) -> Scanned:
    """Check every row before any work. Raises InputError naming file, row and value, also for half-filled pairs."""
    rows, missing, pairs = 0, 0, 0
    for number, _, pair in text_rows(path):
        rows += 1
        pairs += pair is not None
        missing = missing or (number if pair is None else 0)
    if 0 < pairs < rows:
        raise InputError(
            f"{path}: row {missing}: field text_pair is missing, as in {rows - pairs} of {rows} rows; "
            "fill it in every row or in none"
        )
    return Scanned(rows, pairs > 0, _digest(path))


def embed_file(
    path: Path, scanned: Scanned, model: LoadedModel, *, out: Path, dtype: Dtype, progress: Progress | None = None
) -> EmbeddedFile:
    """Write the vectors (rows, d) of a file's texts, one a row and in its order.

    They gather in OUT.partial, and OUT.partial.json tells how far: after any end the same call goes on there, and
    writes the same bytes. Raises InputError when what is there was begun with another input, model or numeric mode,
    TryAgainLater while another process writes there.
    """
    started = time.monotonic()
    identity = Identity(
        input_digest=scanned.digest,
        model_digest=model.model_digest,
        tokenizer_digest=model.encoder.tokenizer_digest,
        numeric_mode=model.encoder.numeric_mode,
        dtype=dtype,
        rows=scanned.rows,
        dimension=model.encoder.dimension,
    )
    partial, book = out.with_name(f"{out.name}.partial"), out.with_name(f"{out.name}.partial.json")
    with _telling(out), _alone(partial) as stream:
        done, content = _kept(stream, book, identity)
        resumed = done.rows
        _position(stream, identity, done)
        for texts, pairs in _windows(path, skip=resumed):
            encoded = model.encoder.encode(texts, pairs if scanned.pairs else None)
            stored = _stored(encoded.vectors, identity, first=done.rows).tobytes()
            stream.write(stored)
            content.update(stored)
            done.rows += len(texts)
            done.tokens += int(encoded.token_counts.sum())
            done.truncated += int(encoded.truncated.sum())
            done.nonfinite += int((~encoded.finite).sum())
            done.digest = content.hexdigest()
            _keep(stream, book, identity, done)
            if progress is not None:
                progress(done.rows - resumed, scanned.rows - resumed)
        if done.rows != scanned.rows or _digest(path) != scanned.digest:
            raise InputError(f"{path} changed while it was read: delete {partial} and run the same command again")
        _make_last(stream)
        partial.replace(out)
        with suppress(OSError):
            book.unlink()
    return EmbeddedFile(out, identity, done, resumed, time.monotonic() - started)


def _digest(path: Path) -> str:
    found = _new_hash()
    with path.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            found.update(block)
    return f"blake2b:{found.hexdigest()}"


@contextmanager
def _alone(partial: Path) -> Iterator[BinaryIO]:
    """Open the half-written array, or a new one, for this process alone."""
    with partial.open("a+b"):  # makes it, and never cuts what another process has written
        pass
    with partial.open("r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgainLater(f"another process writes {partial} now") from None
        if not os.path.samestat(os.fstat(stream.fileno()), partial.stat()):  # it was finished in between
            raise TryAgainLater(f"another process wrote {partial} until now")
        yield stream


def _kept(stream: BinaryIO, book: Path, identity: Identity) -> tuple[Done, hashlib.blake2b]:
    """Return how far an earlier call came, with the hash of its rows; nothing where there was none or it is damaged."""
    nothing = Done(), _new_hash()
    if not os.fstat(stream.fileno()).st_size:
        return nothing
    try:
        found = json.loads(book.read_text(encoding="utf-8"))
        before, done = Identity(**found["identity"]), Done(**found["done"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return nothing
    differing = [
        f"{name.replace('_', ' ')} {old} and now {new}"
        for (name, old), new in zip(asdict(before).items(), asdict(identity).values(), strict=True)
        if old != new
    ]
    if differing:
        raise InputError(f"{stream.name} was begun with {'; '.join(differing)}: delete it to begin anew")
    counts = (done.rows, done.tokens, done.truncated, done.nonfinite)
    if not all(isinstance(one, int) and one >= 0 for one in counts) or done.rows > identity.rows:
        return nothing
    content, left = _new_hash(), _offset(identity, done.rows) - HEADER_BYTES
    stream.seek(HEADER_BYTES)
    while left and (block := stream.read(min(READ_BYTES, left))):
        content.update(block)
        left -= len(block)
    return nothing if left or content.hexdigest() != done.digest else (done, content)


def _new_hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def _offset(identity: Identity, rows: int) -> int:
    return HEADER_BYTES + rows * identity.dimension * np.dtype(identity.dtype).itemsize


def _position(stream: BinaryIO, identity: Identity, done: Done) -> None:
    """Write the header of the whole array, drop what no book tells of, and go to where the next row belongs."""
    kind = np.dtype(identity.dtype).newbyteorder("<").str
    shape = (identity.rows, identity.dimension)
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    length = HEADER_BYTES - 10
    stream.seek(0)
    stream.write(b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + head.ljust(length - 1).encode() + b"\n")
    stream.truncate(_offset(identity, done.rows))
    stream.seek(_offset(identity, done.rows))


def _keep(stream: BinaryIO, book: Path, identity: Identity, done: Done) -> None:
    """Make the rows last before the book tells of them."""
    _make_last(stream)
    write_whole(book, json.dumps({"identity": asdict(identity), "done": asdict(done)}).encode())


def _make_last(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _stored(vectors: Any, identity: Identity, *, first: int) -> Any:
    with np.errstate(over="ignore"):
        stored = vectors.astype(np.dtype(identity.dtype).newbyteorder("<"))
    beyond = np.flatnonzero((np.isinf(stored) & np.isfinite(vectors)).any(axis=1))
    if beyond.size:
        raise InputError(f"the vector of row {first + int(beyond[0]) + 1} is beyond {identity.dtype}; use float32")
    return stored


def _windows(path: Path, *, skip: int) -> Iterator[tuple[Sequence[str], Sequence[str | None]]]:
    texts: list[str] = []
    pairs: list[str | None] = []
    characters = 0
    for position, (_, text, pair) in enumerate(text_rows(path)):
        if position < skip:
            continue
        texts.append(text)
        pairs.append(pair)
        characters += len(text) + len(pair or "")
        if len(texts) >= WINDOW_ROWS or characters >= WINDOW_CHARACTERS:
            yield texts, pairs
            texts, pairs, characters = [], [], 0
    if texts:
        yield texts, pairs


@contextmanager
def _telling(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_failed(out, error, remedy=REMEDY) from error
