"""Entities in a text: F1 of spans, each right in its bounds and its label (the only `import nervaluate`)."""

from typing import Any

import numpy as np
from nervaluate.entities import Entity
from nervaluate.strategies import StrictEvaluation

from detectors.checks import FloatArray
from detectors.weighted import Measure
from monitor.quality.examples import Asked, Cohort, Task, Unreadable, from_json, no_warnings
from monitor.quality.looks import ratio_measure

Spans = tuple[tuple[int, int, str], ...]


def read_spans(value: Any) -> Spans:
    """Return (start, end, label) of every entity: [{"start", "end", "label"}], end exclusive, or one BIO tag a token.

    >>> read_spans(["B-PER", "I-PER", "O", "B-LOC"])
    ((0, 2, 'PER'), (3, 4, 'LOC'))
    """
    given = from_json(value)
    if not isinstance(given, list | tuple):
        raise Unreadable(f"must be a list of spans or of BIO tags, got {value!r:.80}")
    if given and all(isinstance(one, str) for one in given):
        return _from_tags(given)
    return tuple(sorted({_span(one) for one in given}))


def _span(value: Any) -> tuple[int, int, str]:
    if isinstance(value, dict):
        start, end, label = value.get("start"), value.get("end"), value.get("label")
        whole = all(isinstance(one, int) and not isinstance(one, bool) for one in (start, end))
        if whole and isinstance(label, str) and label and 0 <= start < end:  # type: ignore[operator] # whole
            return int(start), int(end), label  # type: ignore[arg-type] # whole
    raise Unreadable(f'must hold spans {{"start", "end", "label"}} with 0 <= start < end, got {value!r:.80}')


def _from_tags(tags: Any) -> Spans:
    """Read BIO tags; an I- that continues no entity of its label begins one, as conlleval reads it."""
    spans: list[tuple[int, int, str]] = []
    begun: tuple[int, str] | None = None
    for place, tag in enumerate([*tags, "O"]):
        kind, _, label = tag.partition("-")
        if kind not in {"B", "I", "O"} or (kind == "O") == bool(label):
            raise Unreadable(f"must hold tags O, B-LABEL or I-LABEL, got {tag!r:.40}")
        continues = kind == "I" and begun is not None and begun[1] == label
        if begun is not None and not continues:
            spans.append((begun[0], place, begun[1]))
            begun = None
        if kind != "O" and not continues:
            begun = (place, label)
    return tuple(spans)


def measure_spans(cohort: Cohort, asked: Asked) -> list[Measure]:
    """Return F1, precision and recall of all spans, then of every label's; texts are the unit of chance."""
    rows = [(one.prediction, one.truth) for one in cohort.labelled]
    labels = sorted({span[2] for row in rows for side in row for span in side})
    found = _measures("", _counts(rows, labels), cohort.chances(), asked)
    for label in labels:
        of_label = [tuple(tuple(span for span in side if span[2] == label) for side in row) for row in rows]
        found += _measures(f"[{label}]", _counts(of_label, [label]), cohort.chances(), asked)
    return found


def _counts(rows: Any, labels: list[str]) -> FloatArray:
    """Return the right, predicted and true spans of every text, (n, 3)."""
    strict = StrictEvaluation()
    counts = np.zeros((len(rows), 3))
    for place, (predicted, true) in enumerate(rows):
        if predicted and true:
            sides = [[Entity(label=one[2], start=one[0], end=one[1]) for one in side] for side in (true, predicted)]
            counts[place, 0] = strict.evaluate(*sides, labels)[0].correct
        counts[place, 1:] = len(predicted), len(true)
    return counts


def _measures(label: str, counts: FloatArray, chances: FloatArray, asked: Asked) -> list[Measure]:
    right, predicted, true = counts.T
    return [
        ratio_measure(f"span_f1{label}", 2 * right, predicted + true, chances, asked),
        ratio_measure(f"span_precision{label}", right, predicted, chances, asked),
        ratio_measure(f"span_recall{label}", right, true, chances, asked),
    ]


TAGGING = Task("tagging", read_spans, read_spans, measure_spans, no_warnings)
