"""Rows to audit, as columns: what was answered, what is true, the score, and the groups each row belongs to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor.errors import InputError
from monitor.ingest import readable_records
from monitor.texts import read_inclusion_probability

UNKNOWN = "unknown"  # the group of rows that do not say
TIMES = " × "  # between the parts of an intersection
TRUE_WORDS = ("1", "true", "True", "yes")
MAX_GROUPS = 1000


@dataclass(slots=True)
class AuditRows:
    """Columns of n rows. truths are None where no label is known; scores are of the positive label."""

    groups: dict[str, list[str]]
    predictions: list[str] = field(default_factory=list)
    truths: list[str | None] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    inclusion_probability: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.predictions)

    def add(
        self,
        attributes: Mapping[str, Any],
        *,
        prediction: str,
        truth: str | None,
        score: float | None,
        inclusion_probability: float,
    ) -> None:
        """Append a row; an attribute that is missing or empty makes it a row of the group `unknown`."""
        for name, values in self.groups.items():
            value = attributes.get(name)
            values.append(UNKNOWN if value is None or value == "" else _text(value))
        self.predictions.append(prediction)
        self.truths.append(truth)
        self.scores.append(score)
        self.inclusion_probability.append(inclusion_probability)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)[:200]


def read_rows(
    path: Path, groups: Sequence[str], *, label_column: str = "label", positive: str | None = None
) -> AuditRows:
    """Read rows from a .jsonl, .csv or .parquet file: `prediction`, and where known a label, scores and a probability.

    A group is a column, or a key of the object `attributes`. Raises InputError naming file, row, column and value; for
    a column that no row has, with the columns there are.
    """
    rows = AuditRows({name: [] for name in groups})
    columns: set[str] = set()
    for number, held in readable_records(path):
        where = f"{path}: row {number}:"
        attributes = held.get("attributes")
        columns |= held.keys() | (attributes.keys() if isinstance(attributes, dict) else set())
        if held.get("prediction") in (None, ""):
            raise InputError(f"{where} field prediction is missing")
        truth = held.get(label_column)
        rows.add(
            {**held, **(attributes if isinstance(attributes, dict) else {})},
            prediction=_text(held["prediction"]),
            truth=None if truth in (None, "") else _text(truth),
            score=_score(where, held, positive),
            inclusion_probability=read_inclusion_probability(path, number, held.get("inclusion_probability")),
        )
    if not len(rows):
        raise InputError(f"{path}: no row")
    missing = [name for name in groups if name not in columns]
    if missing:
        raise InputError(f"{path}: no column {missing[0]}; it has {', '.join(sorted(columns))}")
    if label_column != "label" and label_column not in columns:
        raise InputError(f"{path}: no column {label_column}; it has {', '.join(sorted(columns))}")
    return rows


def _score(where: str, held: Mapping[str, Any], positive: str | None) -> float | None:
    given = held.get("score")
    scores = held.get("scores")
    if given in (None, "") and isinstance(scores, dict):
        given = scores.get(positive) if positive is not None else None
    if given in (None, ""):
        return None
    try:
        found = float(given)
    except (OverflowError, TypeError, ValueError):
        found = float("nan")
    if not math.isfinite(found):
        raise InputError(f"{where} field score must be a number, got {given!r:.80}")
    return found


def choose_positive(rows: AuditRows, positive: str | None) -> str:
    """Return the label that counts as selected: the one named, or the true of a pair such as 0 and 1.

    Raises InputError where it never occurs, or cannot be told.
    """
    seen = {*rows.predictions, *(one for one in rows.truths if one is not None)}
    if positive is not None:
        if positive not in seen:
            raise InputError(f"the positive label {positive!r} never occurs; there are {_listed(seen)}")
        return positive
    found = [word for word in TRUE_WORDS if word in seen]
    if len(seen) <= 2 and len(found) == 1:
        return found[0]
    raise InputError(f"name the positive label with --positive; there are {_listed(seen)}")


def _listed(seen: set[str]) -> str:
    named = sorted(seen)
    return ", ".join(repr(one) for one in named[:10]) + (f" and {len(named) - 10} more" if len(named) > 10 else "")


def intersect(rows: AuditRows) -> None:
    """Add the crossing of all group columns as one more column."""
    names = list(rows.groups)
    if len(names) > 1:
        rows.groups[TIMES.join(names)] = [
            TIMES.join(parts) for parts in zip(*(rows.groups[name] for name in names), strict=True)
        ]


def require_bounded(rows: AuditRows) -> None:
    """Refuse a column of too many groups: an id, a time or a text was named by mistake."""
    for name, values in rows.groups.items():
        found = len(set(values))
        if found > MAX_GROUPS:
            raise InputError(f"{name} has {found:,} groups; an audit takes at most {MAX_GROUPS:,}")
