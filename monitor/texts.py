"""Read embeddings (.npy) and texts (.jsonl, .csv, .parquet) for the stateless commands."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.errors import InputError
from monitor.ingest import read_records

TEXT_SUFFIXES = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class TextTable:
    """Texts with the predictions that stand beside them, where every row has one."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    confidences: npt.NDArray[np.float64] | None


def load_embeddings(path: Path) -> npt.NDArray[np.floating]:
    """Read an n × d float array. Raises InputError naming file, rank, dtype or the first bad value."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npy array ({error})") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        raise InputError(f"{path}: embeddings are n × d, got an array of shape {np.shape(array)}")
    if array.dtype.kind != "f":
        raise InputError(f"{path}: embeddings are floating point, got dtype {array.dtype}")
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        row, column = bad[0]
        raise InputError(f"{path}: row {row}, column {column} is {array[row, column]}")
    return array


def load_texts(path: Path) -> TextTable:
    """Read the `text` column, and `prediction`/`confidence` where all rows carry them.

    Raises InputError naming file, row and value.
    """
    texts: list[str] = []
    labels: list[str | None] = []
    confidences: list[float | None] = []
    for number, record in _records(path):
        text = record.get("text")
        if not isinstance(text, str):
            raise InputError(f"{path}: row {number}: field text must be a string, got {text!r:.80}")
        texts.append(text)
        label = record.get("prediction")
        labels.append(label if isinstance(label, str) and label else None)
        confidences.append(_confidence(path, number, record.get("confidence")))
    if not texts:
        raise InputError(f"{path}: no rows")
    return TextTable(
        texts=tuple(texts),
        labels=None if None in labels else tuple(label or "" for label in labels),
        confidences=None if None in confidences else np.array(confidences, dtype=np.float64),
    )


def _confidence(path: Path, number: int, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        confidence = float(value)
    except (TypeError, ValueError):
        confidence = float("nan")
    if not 0.0 <= confidence <= 1.0:
        raise InputError(f"{path}: row {number}: field confidence must lie in [0, 1], got {value!r:.80}")
    return confidence


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix not in TEXT_SUFFIXES:
        raise InputError(f"{path}: expected one of .npy, {', '.join(TEXT_SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    for record in read_records(path):
        if record.error is not None:
            raise InputError(f"{path}: row {record.number}: {record.error}")
        yield record.number, record.fields
