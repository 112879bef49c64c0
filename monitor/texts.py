"""Read embeddings (.npy) and texts (.jsonl, .csv, .parquet) for the stateless commands."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.clock import hour_of
from monitor.errors import InputError
from monitor.events import Refusal, clean_text, read_attributes
from monitor.ingest import readable_records

TEXT_SUFFIXES = (".jsonl", ".csv", ".parquet")
LARGEST = np.float64(np.finfo(np.float32).max)  # sketches keep rows as float32
# numpy evaluates the header as a Python literal, and allocates what it declares
UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    TokenError,
)
SPARSE = frozenset({"label", "attributes"})  # columns that need not be filled in every row
LONGEST_LABEL = 200  # characters, as capture keeps them
# what is embedded at once: enough texts to sort by length before they are packed, and a bound on memory
WINDOW_ROWS = 10_000
WINDOW_CHARACTERS = 16 << 20


@dataclass(frozen=True, slots=True)
class TextTable:
    """Texts with what stands beside them: labels, confidences and second texts, one in every row or None.

    truths : the right label of each row, attributes its segments, None where not known. repeated_ids : how many rows
    were left out because their id had been read before.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    confidences: npt.NDArray[np.float64] | None
    pairs: tuple[str, ...] | None = None
    repeated_ids: int = 0
    truths: tuple[str | None, ...] | None = None
    attributes: tuple[Mapping[str, str] | None, ...] | None = None
    hours: npt.NDArray[np.int64] | None = None  # since 1970

    def times_seen(self) -> Counter[tuple[str, str | None]]:
        """Return how many rows hold each text, or pair of texts."""
        partners: Sequence[str | None] = [None] * len(self.texts) if self.pairs is None else self.pairs
        return Counter(zip(self.texts, partners, strict=True))

    def warnings(self, path: Path, *, labels_used: bool = True) -> list[str]:
        """Return what makes verdicts on these rows doubtful, a line each; also that labels could not be used."""
        seen = self.times_seen()
        copied = sum(times for times in seen.values() if times > 1)
        found = []
        if self.repeated_ids:
            found.append(f"{path}: {self.repeated_ids} rows repeat the id of an earlier row and were left out")
        if copied > len(self.texts) / 2:
            found.append(
                f"{path}: {copied} of {len(self.texts)} rows have exactly the text of another row ({len(seen)} "
                "distinct texts); rows that a join or an export has doubled make false alarms"
            )
        if self.truths is not None and not labels_used:
            given = next(truth for truth in self.truths if truth is not None)
            found.append(
                f"{path}: the labels, such as {given!r:.80}, are not used: not one prediction is right by them"
            )
        return found


def load_embeddings(path: Path) -> npt.NDArray[np.floating]:
    """Read an n × d float array, d at least 1. Raises InputError naming file, shape, dtype or the first bad value."""
    array = _read_array(path)
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{path}: embeddings are n × d, got an array of shape {array.shape}")
    if array.dtype.kind != "f":
        raise InputError(f"{path}: embeddings are floating point, got dtype {array.dtype}")
    bad = np.argwhere(~(np.abs(array) <= LARGEST))
    if bad.size:
        row, column = bad[0]
        found = array[row, column]
        beyond = ", beyond the range of float32" if np.isfinite(found) else ""
        raise InputError(f"{path}: row {row}, column {column} is {found}{beyond}")
    return array


def _read_array(path: Path) -> npt.NDArray[Any]:
    # not np.load, which takes a zip archive or a pickle under the same name
    try:
        with path.open("rb") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable .npy array ({error})") from None


def load_texts(path: Path) -> TextTable:
    """Read `text` and, where the file has them, the columns of _READERS.

    Of rows with the same `id` the first counts. Raises InputError naming file, row and value, also for a column that
    only some rows fill; `label`, the truth, and `attributes`, a JSON object, may be known of some alone.
    """
    texts: list[str] = []
    numbers: list[int] = []
    ids: set[str] = set()
    repeated_ids = 0
    columns: dict[str, list[Any]] = {name: [] for name in _READERS}
    for number, record in _records(path):
        identity = record.get("id")
        if isinstance(identity, str | int) and identity != "":
            if str(identity) in ids:
                repeated_ids += 1
                continue
            ids.add(str(identity))
        text = record.get("text")
        if not isinstance(text, str):
            raise InputError(f"{path}: row {number}: field text must be a string, got {text!r:.80}")
        texts.append(clean_text(text))
        numbers.append(number)
        for name, read in _READERS.items():
            columns[name].append(None if record.get(name) is None else read(path, number, record[name]))
    filled = {name: _whole_column(path, name, numbers, values) for name, values in columns.items()}
    confidences = filled["confidence"]
    return TextTable(
        texts=tuple(texts),
        labels=filled["prediction"],
        confidences=None if confidences is None else np.array(confidences, dtype=np.float64),
        pairs=filled["text_pair"],
        repeated_ids=repeated_ids,
        truths=filled["label"],
        attributes=filled["attributes"],
        hours=None if filled["timestamp"] is None else np.array(filled["timestamp"], dtype=np.int64),
    )


def text_rows(path: Path) -> Iterator[tuple[int, str, str | None]]:
    """Yield the number, text and second text, where it has one, of every row, in constant memory.

    Raises InputError naming file, row and value.
    """
    for number, record in _records(path):
        text = record.get("text")
        if not isinstance(text, str):
            raise InputError(f"{path}: row {number}: field text must be a string, got {text!r:.80}")
        pair = record.get("text_pair")
        yield number, clean_text(text), None if pair is None else _pair(path, number, pair)


def _whole_column(path: Path, name: str, numbers: Sequence[int], values: Sequence[Any]) -> tuple[Any, ...] | None:
    missing = [number for number, value in zip(numbers, values, strict=True) if value is None]
    if len(missing) == len(values):  # an empty file has no column either
        return None
    if missing and name not in SPARSE:
        raise InputError(
            f"{path}: row {missing[0]}: field {name} is missing, as in {len(missing)} of {len(values)} rows; "
            "fill it in every row or in none"
        )
    return tuple(values)


def _pair(path: Path, number: int, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{path}: row {number}: field text_pair must be a string, got {value!r:.80}")
    return clean_text(value)


def read_label(path: Path | str, number: int, value: Any) -> str | None:
    """Return the class that capture makes of the same prediction; class ids count by their decimal digits."""
    label = value.get("label") if isinstance(value, dict) else value
    if isinstance(label, int) and not isinstance(label, bool):
        return str(label)
    if label is None or label == "":
        return None
    if not isinstance(label, str):
        raise InputError(f"{path}: row {number}: field prediction must be a label or a class id, got {value!r:.80}")
    return clean_text(label)[:LONGEST_LABEL]


def read_confidence(path: Path | str, number: int, value: Any) -> float | None:
    """Return a probability, None where the field is empty. Raises InputError for anything else."""
    if value == "":
        return None
    try:
        confidence = float(value)
    except (TypeError, ValueError):
        confidence = float("nan")
    if not 0.0 <= confidence <= 1.0:
        raise InputError(f"{path}: row {number}: field confidence must lie in [0, 1], got {value!r:.80}")
    return confidence


def _truth(path: Path, number: int, value: Any) -> str | None:
    if value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{path}: row {number}: field label must be a label or a class id, got {value!r:.80}")
    return clean_text(str(value))[:LONGEST_LABEL]


def _attributes(path: Path, number: int, value: Any) -> dict[str, str] | None:
    if value == "":
        return None
    found = read_attributes(value)
    if isinstance(found, Refusal):
        where = ".".join(filter(None, ("attributes", found.field)))
        raise InputError(f"{path}: row {number}: field {where}: {found.reason}")
    return found


def read_identity(path: Path, number: int, value: Any) -> str:
    """Return an id, a string or a number. Raises InputError for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise InputError(f"{path}: row {number}: field id must be a string or a number, got {value!r:.80}")
    return str(value)


def read_inclusion_probability(path: Path, number: int, value: Any) -> float:
    """Return a probability in (0, 1], 1 where the field is empty. Raises InputError for anything else."""
    if value is None or value == "":
        return 1.0
    try:
        probability = float(value)
    except (OverflowError, TypeError, ValueError):
        probability = float("nan")
    if isinstance(value, bool) or not 0.0 < probability <= 1.0:
        raise InputError(f"{path}: row {number}: field inclusion_probability must lie in (0, 1], got {value!r:.80}")
    return probability


def read_moment(path: Path, number: int, value: Any) -> datetime | None:
    """Return an ISO 8601 time with a zone, or a Parquet timestamp with one; None where the field is empty."""
    if value is None or value == "":
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InputError(
            f"{path}: row {number}: field timestamp must be ISO 8601 with a zone, such as 2026-01-31T09:00:00Z, "
            f"got {value!r:.80}"
        )
    return moment


def _hour(path: Path, number: int, value: Any) -> int | None:
    """Return the hours since 1970 of a time."""
    moment = read_moment(path, number, value)
    return None if moment is None else hour_of(moment)


_READERS: dict[str, Callable[[Path, int, Any], Any]] = {
    "text_pair": _pair,
    "prediction": read_label,
    "confidence": read_confidence,
    "label": _truth,
    "attributes": _attributes,
    "timestamp": _hour,
}


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix not in TEXT_SUFFIXES:
        raise InputError(f"{path}: expected one of .npy, {', '.join(TEXT_SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    yield from readable_records(path)
