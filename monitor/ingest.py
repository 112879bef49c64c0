"""Read event files (JSON Lines, CSV, Parquet) as a stream, and take them in as capture takes requests."""

import contextlib
import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from monitor import store
from monitor.capture import Answer, Kind, Prepared, prepare_labels, prepare_predictions, write_all
from monitor.clock import Clock
from monitor.errors import InputError, TryAgainLater, one_line
from monitor.events import Refusal
from monitor.labelling import MalformedTask, label_events
from monitor.policy import Policy
from monitor.sampling import Sampler

BATCH = 1000
PARQUET_ROWS = 64  # read at once: few, for a small compressed file may hold rows of any size
LARGEST_FIELD_BYTES = 64 << 20
JSON_COLUMNS = ("scores", "attributes")  # in CSV they hold JSON


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a file: its number from 1, its fields or why it could not be read, and how far into the file it ends."""

    number: int
    fields: dict[str, Any]
    error: str | None
    raw: str
    position_bytes: int


class Progress(Protocol):
    """Hears how much was read, of how much."""

    def __call__(self, done: int, total: int | None = None) -> None:
        """Move on."""
        ...


def read_records(path: Path) -> Iterator[Record]:
    """Yield the rows of a .jsonl, .csv or .parquet file in constant memory; an unreadable row carries its error.

    Raises InputError when the file as a whole cannot be read.
    """
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise InputError(f"{path}: expected one of {', '.join(readers)}")
    try:
        yield from readers[path.suffix](path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def readable_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and fields of every row. Raises InputError also for a row that cannot be read."""
    for record in read_records(path):
        if record.error is not None:
            raise InputError(f"{path}: row {record.number}: {record.error}")
        yield record.number, record.fields


def _read_jsonl(path: Path) -> Iterator[Record]:
    position = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            position += len(line)
            if not line.strip():
                continue
            try:
                fields = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                yield _unreadable(number, f"not UTF-8 at byte {error.start}", line, position)
            except (ValueError, RecursionError) as error:
                yield _unreadable(number, f"not JSON ({error})", line, position)
            else:
                if isinstance(fields, dict):
                    yield Record(number, fields, None, "", position)
                else:
                    yield _unreadable(number, f"must be a JSON object, got {type(fields).__name__}", line, position)


def _unreadable(number: int, error: str, line: bytes, position: int) -> Record:
    return Record(number, {}, error, line.decode("utf-8", "replace").rstrip("\n"), position)


class _Lines:
    """The lines of a file, which can be read again from the second line of the record in hand."""

    def __init__(self, stream: Iterable[str]) -> None:
        self._stream = iter(stream)
        self._again: list[str] = []  # the next one last
        self._record: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._stream)
        self._record.append(line)
        return line

    def begin_record(self) -> None:
        """Forget the lines of the record before."""
        self._record.clear()

    def give_up_first(self) -> str:
        """Return the first line of the record in hand; those after it come again."""
        first, *others = self._record
        self._again += reversed(others)
        return first


def _read_csv(path: Path) -> Iterator[Record]:
    """Yield the rows; after one that is not CSV (a stray quote) reading goes on with the line after its first."""
    csv.field_size_limit(LARGEST_FIELD_BYTES)
    with (
        path.open("rb") as binary,
        io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream,
    ):
        lines = _Lines(stream)
        reader = csv.reader(lines, strict=True)
        try:
            header = next((row for row in reader if row), [])
        except csv.Error as error:
            raise InputError(f"{path}: the header is not CSV ({error})") from None
        _require_distinct(path, header)
        number = 0
        while True:
            lines.begin_record()
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                number += 1
                raw = _replaced(lines.give_up_first().rstrip("\r\n"))
                yield Record(number, {}, f"not CSV ({error})", raw, binary.tell())
                continue
            if row:
                number += 1
                yield _csv_record(number, header, row, binary.tell())


def _require_distinct(path: Path, names: Sequence[str]) -> None:
    """Raise InputError for a column that stands there twice: only one of them could be read."""
    twice = next((name for name, times in Counter(names).items() if name and times > 1), None)
    if twice is not None:
        raise InputError(f"{path}: column {twice} stands there {names.count(twice)} times")


def _replaced(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _csv_record(number: int, header: Sequence[str], row: Sequence[str], position: int) -> Record:
    values = dict(zip(header, row, strict=False))
    raw = _replaced(json.dumps(values, ensure_ascii=False))
    if len(row) > len(header):
        return Record(number, {}, f"has more fields than the header, {len(row)} and {len(header)}", raw, position)
    fields: dict[str, Any] = {name: value for name, value in values.items() if value != "" or name == "text"}
    for name, value in fields.items():
        try:
            value.encode()
        except UnicodeEncodeError:
            return Record(number, {}, f"field {name}: not UTF-8", raw, position)
    error = _read_json_columns(fields)
    if error is not None:
        return Record(number, {}, error, raw, position)
    if str(fields.get("prediction", "")).startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):  # a label may begin with a brace
            fields["prediction"] = json.loads(fields["prediction"])
    return Record(number, fields, None, raw, position)


def _read_json_columns(fields: dict[str, Any]) -> str | None:
    """Replace JSON text by what it says; return what is wrong with the first that is not JSON."""
    for name in JSON_COLUMNS:
        if isinstance(fields.get(name), str):
            try:
                fields[name] = json.loads(fields[name])
            except (ValueError, RecursionError) as error:
                return f"field {name}: not JSON ({error})"
    return None


def _read_parquet(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = path.stat().st_size
    try:
        with pq.ParquetFile(path) as file:
            _require_distinct(path, file.schema_arrow.names)
            rows, number = max(1, file.metadata.num_rows), 0
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                for row in batch.to_pylist(maps_as_pydicts="lossy"):
                    number += 1
                    yield _parquet_record(number, row, size * number // rows)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise InputError(f"{path}: not readable Parquet ({one_line(error)})") from None


def _parquet_record(number: int, row: dict[str, Any], position: int) -> Record:
    fields = {name: value for name, value in row.items() if value is not None}
    for name in JSON_COLUMNS:  # a struct column carries every key in every row
        if isinstance(fields.get(name), dict):
            fields[name] = {key: one for key, one in fields[name].items() if one is not None}
    error = _read_json_columns(fields)
    if error is not None:
        return Record(number, {}, error, json.dumps(row, ensure_ascii=False, default=str), position)
    return Record(number, fields, None, "", position)


def read_label_studio(path: Path) -> Iterator[Record]:
    """Yield the label events of Label Studio's JSON export, read whole; what does not fit carries its error.

    Raises InputError when the file is not a list of tasks.
    """
    try:
        tasks = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({one_line(error)})") from None
    if not isinstance(tasks, list):
        raise InputError(f"{path}: expected Label Studio's JSON export, a list of tasks")
    size, number = path.stat().st_size, 0
    for place, task in enumerate(tasks, start=1):
        position = size * place // len(tasks)
        for event in label_events(task):
            number += 1
            if isinstance(event, MalformedTask):
                yield Record(number, {}, f"task {place}: {event}", json.dumps(task, ensure_ascii=False), position)
            else:
                yield Record(number, event, None, "", position)


@dataclass(slots=True)
class Totals:
    """What became of all events of some files."""

    accepted: int = 0
    duplicate: int = 0
    sampled_out: int = 0
    rejected: int = 0

    def add(self, answer: Answer) -> None:
        """Count a batch."""
        self.accepted += answer.accepted
        self.duplicate += answer.duplicate
        self.sampled_out += answer.sampled_out
        self.rejected += len(answer.rejected)


def ingest_files(
    files: Sequence[Path],
    *,
    engine: Engine,
    policy: Policy,
    clock: Clock,
    kind: Kind = "predictions",
    progress: Progress | None = None,
) -> Totals:
    """Take in event files, a transaction per thousand rows; a rerun after an interruption doubles nothing.

    Raises InputError before anything is written when a file is missing or of an unknown kind.
    """
    for path in files:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        known = (".jsonl", ".csv", ".parquet", *((".json",) if kind == "labels" else ()))
        if path.suffix not in known:
            raise InputError(f"{path}: expected one of {', '.join(known)}")
    totals, sampler = Totals(), Sampler()
    whole = sum(path.stat().st_size for path in files)
    before = 0
    for path in files:
        for records in _batched(read_label_studio(path) if path.suffix == ".json" else read_records(path)):
            prepared = _prepare(records, policy=policy, sampler=sampler, clock=clock, kind=kind, source=path.name)
            try:
                (answer,) = write_all(engine, [prepared])
            except (SQLAlchemyError, store.StoreError) as error:
                raise TryAgainLater(
                    f"{path}: stopped before row {records[0].number}, the database failed ({type(error).__name__}); "
                    "run the same command again, nothing will be doubled"
                ) from error
            totals.add(answer)
            if progress is not None:
                progress(before + records[-1].position_bytes, whole)
        before += path.stat().st_size
    return totals


def _batched(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for record in records:
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _prepare(
    records: Sequence[Record], *, policy: Policy, sampler: Sampler, clock: Clock, kind: Kind, source: str
) -> Prepared[Any]:
    now = clock.now()
    readable = [record for record in records if record.error is None]
    fields = [record.fields for record in readable]
    prepared: Prepared[Any] = (
        prepare_predictions(fields, policy=policy, sampler=sampler, now=now, source=source)
        if kind == "predictions"
        else prepare_labels(fields, policy=policy, now=now, source=source)
    )
    numbers = [record.number for record in readable]
    prepared.indexes = [numbers[index] for index in prepared.indexes]
    prepared.left_out = [(numbers[index], row, event) for index, row, event in prepared.left_out]
    prepared.refused = [(numbers[index], model, refusal, event) for index, model, refusal, event in prepared.refused]
    prepared.refused += [
        (record.number, "", Refusal("", record.error), record.raw) for record in records if record.error is not None
    ]
    return prepared
