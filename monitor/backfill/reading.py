"""Read a shard as windows of checked rows; a row that cannot be used is told and never stops the rest."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from monitor.backfill.shards import Shard
from monitor.backfill.sources import is_as_written, is_of_storage, open_filesystem, storage_told
from monitor.errors import InputError, TryAgainLater, one_line
from monitor.events import MAX_TEXT_CHARACTERS, Refusal, clean_text, confidence_of, read_scores
from monitor.texts import WINDOW_CHARACTERS, WINDOW_ROWS, read_confidence, read_label

READ_ROWS = 64  # few: 500 rows of 5 MB, a compressed file of 1 kB, took 5 GB as they were read
LISTED = 100  # refused rows that are named, a shard; all are counted


Reject = tuple[str, int, str]


class UnreadableShard(InputError):
    """A part of a file is damaged; the message says how."""


@dataclass(slots=True)
class Rejects:
    """Refused rows: how many, and the first of them as (file, row of it from 1, reason)."""

    count: int = 0
    listed: list[Reject] = field(default_factory=list)

    def add(self, file: str, row: int, reason: str, *, rows: int = 1) -> None:
        """Count a refused row, or so many from it on."""
        self.count += rows
        if len(self.listed) < LISTED:
            self.listed.append((file, row, reason))


@dataclass(frozen=True, slots=True)
class TextBatch:
    """Checked rows: texts (n), and each other column one a row, or None where the file has none.

    row_ids (n,) : an id of every row that depends on its file and place alone, and so not on who reads it when.
    """

    texts: Sequence[str]
    row_ids: npt.NDArray[np.int64]
    pairs: Sequence[str | None] | None = None
    labels: Sequence[str | None] | None = None
    confidences: npt.NDArray[np.float64] | None = None
    scores: Sequence[Mapping[str, float] | None] | None = None


def row_ids(uri: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return 64-bit ids of rows (n,) of a file, counted from 0.

    >>> row_ids("a.parquet", np.array([0, 1])).tolist() == row_ids("b.parquet", np.array([0, 1])).tolist()
    False
    """
    base = int.from_bytes(hashlib.blake2b(uri.encode(), digest_size=8).digest(), "little")
    with np.errstate(over="ignore"):
        return np.asarray((rows.astype(np.uint64) + np.uint64(base)).astype(np.int64))


def read_windows(shard: Shard, rejects: Rejects, *, fitted: bool = False) -> Iterator[TextBatch]:
    """Yield the shard's rows but those its basis was fitted on, or those alone, in windows of like size every time.

    Raises UnreadableShard for damaged pages, TryAgainLater when an object store does not answer.
    """
    left_out = frozenset(shard.fitted)
    window = _Window(shard)
    position = 0  # rows of the shard read so far
    for batch in _unchanged(shard):
        columns = {name: _values(batch.column(name)) for name in shard.columns}
        for offset in range(batch.num_rows):
            if (position in left_out) is fitted:
                window.add(position, {name: values[offset] for name, values in columns.items()}, rejects)
                if window.is_full():
                    yield window.take()
            position += 1
    if window.texts:
        yield window.take()


def _unchanged(shard: Shard) -> Iterator[Any]:
    """Yield the shard's record batches. Raises TryAgainLater when its file was rewritten since the shards were cut."""
    try:
        yield from _record_batches(shard)
    except UnreadableShard:
        _require_as_written(shard)
        raise
    _require_as_written(shard)


def _require_as_written(shard: Shard) -> None:
    if not is_as_written(shard.uri, shard.written):
        raise TryAgainLater(f"{shard.name} was rewritten while it was read; run the same command again")


def _record_batches(shard: Shard) -> Iterator[Any]:
    filesystem, path = open_filesystem(shard.uri)
    skip, left = shard.skip, shard.rows
    with storage_told(shard.uri), filesystem.open_input_file(path) as stream, _damage_told():
        file = pq.ParquetFile(stream, pre_buffer=False)
        for batch in file.iter_batches(READ_ROWS, row_groups=list(shard.groups), columns=list(shard.columns)):
            kept = batch.slice(skip, left)
            skip, left = max(0, skip - batch.num_rows), left - kept.num_rows
            if kept.num_rows:
                yield kept
            if not left:
                return
    raise UnreadableShard(f"not readable Parquet ({left} rows fewer than its footer says)")


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UnreadableShard(f"not readable Parquet ({one_line(error)})") from None
    except OSError as error:
        if error.errno is not None or is_of_storage(error):
            raise
        raise UnreadableShard(f"not readable Parquet ({one_line(error)})") from None


def _values(column: Any) -> list[Any]:
    """Return a column's values; a string that is not UTF-8 stays bytes."""
    try:
        return list(column.to_pylist(maps_as_pydicts="lossy"))
    except UnicodeDecodeError:
        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        return [_decoded(one) for one in plain.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


class _Window:
    """Checked rows on their way into a batch."""

    def __init__(self, shard: Shard) -> None:
        self._shard, self._name = shard, shard.name
        self.texts: list[str] = []
        self._clear()

    def _clear(self) -> None:
        self.texts, self._pairs, self._labels, self._confidences, self._scores = [], [], [], [], []
        self._rows: list[int] = []
        self._characters = 0

    _pairs: list[str | None]
    _labels: list[str | None]
    _confidences: list[float]
    _scores: list[Mapping[str, float] | None]

    def add(self, position: int, record: Mapping[str, Any], rejects: Rejects) -> None:
        """Check a row and take it in, or reject it."""
        row = self._shard.first_row + position
        try:
            text = _text("text", record["text"], required=True)
            pair = _text("text_pair", record.get("text_pair"), required="text_pair" in record)
            label = self._read(read_label, row, record.get("prediction"))
            scores = _scores(record.get("scores"))
            confidence = self._read(read_confidence, row, record.get("confidence"))
        except (InputError, ValueError) as error:
            rejects.add(self._name, row + 1, str(error).removeprefix(f"{self._name}: row {row + 1}: "))
            return
        if confidence is None:
            confidence = confidence_of(label, scores)
        self.texts.append(text or "")
        self._pairs.append(pair)
        self._labels.append(label)
        self._scores.append(scores)
        self._confidences.append(np.nan if confidence is None else confidence)
        self._rows.append(row)
        self._characters += len(text or "") + len(pair or "")

    def _read(self, read: Any, row: int, value: Any) -> Any:
        return None if value is None else read(self._name, row + 1, value)

    def is_full(self) -> bool:
        return len(self.texts) >= WINDOW_ROWS or self._characters >= WINDOW_CHARACTERS

    def take(self) -> TextBatch:
        """Return the rows and begin anew."""
        has = set(self._shard.columns)
        taken = TextBatch(
            texts=self.texts,
            row_ids=row_ids(self._name, np.array(self._rows, dtype=np.int64)),
            pairs=self._pairs if "text_pair" in has else None,
            labels=self._labels if "prediction" in has else None,
            confidences=np.array(self._confidences) if has & {"confidence", "scores"} else None,
            scores=self._scores if "scores" in has else None,
        )
        self._clear()
        return taken


def _text(name: str, value: Any, *, required: bool) -> str | None:
    if value is None and not required:
        return None
    if isinstance(value, bytes):
        raise ValueError(f"field {name}: not UTF-8")
    if not isinstance(value, str):
        raise ValueError(f"field {name} must be a string, got {'null' if value is None else type(value).__name__}")
    if len(value) > MAX_TEXT_CHARACTERS:
        raise ValueError(f"field {name} has {len(value)} characters, at most {MAX_TEXT_CHARACTERS} are taken")
    return clean_text(value)


def _scores(value: Any) -> dict[str, float] | None:
    if value is None or value == "":
        return None
    try:
        given = json.loads(value) if isinstance(value, str | bytes) else value
    except (ValueError, RecursionError) as error:
        raise ValueError(f"field scores: not JSON ({error})") from None
    if isinstance(given, Mapping):  # a struct column carries every key in every row
        given = {name: one for name, one in given.items() if one is not None}
    found = read_scores(given)
    if isinstance(found, Refusal):
        where = found.field if found.field.startswith("scores") else ".".join(filter(None, ("scores", found.field)))
        raise ValueError(f"field {where}: {found.reason}")
    return found or None
