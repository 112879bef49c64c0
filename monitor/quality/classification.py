"""Classes: one of a text or of a pair of texts, or several at once."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.calibration_error import calibration_error
from detectors.checks import FloatArray
from detectors.estimates import NotEstimated
from detectors.label_sets import class_sequences, set_quality
from detectors.quality import classification_quality
from detectors.weighted import Measure
from monitor.events import clean_text
from monitor.quality.examples import Asked, Cohort, Task, Unreadable, from_json
from monitor.quality.looks import NO_SEQUENCE, UNEQUAL, alike, mean_measure

LONGEST_LABEL = 200  # characters, as capture keeps them


def read_class(value: Any) -> str:
    """Return a class by its name or its id.

    >>> read_class({"label": "pay"}), read_class(3)
    ('pay', '3')
    """
    label = value.get("label") if isinstance(value, dict) else value
    if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
        raise Unreadable(f"must be a label or a class id, got {value!r:.80}")
    return clean_text(str(label))[:LONGEST_LABEL]


def read_classes(value: Any) -> tuple[str, ...]:
    """Return a list of classes, in any order and perhaps empty, each once.

    >>> read_classes('["urgent", "billing", "urgent"]')
    ('billing', 'urgent')
    """
    listed = from_json(value)
    if isinstance(listed, dict):
        listed = listed.get("labels")
    if not isinstance(listed, list | tuple):
        raise Unreadable(f"must be a list of labels, got {value!r:.80}")
    return tuple(sorted({read_class(one) for one in listed}))


def measure_classes(cohort: Cohort, asked: Asked) -> list[Measure]:
    """Return accuracy, macro-F1, calibration error and Brier score where there are scores, and the classes' own."""
    rows, chances = cohort.labelled, cohort.chances()
    answers, truths = [one.prediction for one in rows], [one.truth for one in rows]
    hits = np.array([float(answer == truth) for answer, truth in zip(answers, truths, strict=True)])
    if asked.looks == "single":
        accuracy, macro, *by_class = classification_quality(
            answers, truths, inclusion_probability=chances, alpha=asked.alpha
        )
    else:
        accuracy = mean_measure("accuracy", hits, chances, asked)
        macro, *by_class = _at_every_look([(one,) for one in answers], [(one,) for one in truths], chances, asked)
    return [accuracy, macro, *_of_scores(cohort, hits, asked), *by_class]


def _at_every_look(
    predicted: Sequence[Sequence[str]], true: Sequence[Sequence[str]], chances: FloatArray, asked: Asked
) -> list[Measure]:
    if not alike(chances):
        return [NotEstimated(name, UNEQUAL, len(true)) for name in ("macro_f1", "by class")]
    return class_sequences(predicted, true, alpha=asked.alpha)


def _of_scores(cohort: Cohort, hits: FloatArray, asked: Asked) -> list[Measure]:
    known = np.array([one.confidence is not None for one in cohort.labelled], dtype=np.bool_)
    if not known.any():
        reason = "no prediction has scores or a confidence"
        return [NotEstimated(name, reason, 0) for name in ("calibration_error", "brier_score")]
    confidences = np.array([one.confidence for one in cohort.labelled if one.confidence is not None])
    right, chances = hits[known], cohort.chances()[known]
    calibration: Measure = (
        calibration_error(confidences, right, inclusion_probability=chances, alpha=asked.alpha)
        if asked.looks == "single"
        else NotEstimated("calibration_error", NO_SEQUENCE, int(known.sum()))
    )
    return [calibration, mean_measure("brier_score", (confidences - right) ** 2, chances, asked)]


def measure_sets(cohort: Cohort, asked: Asked) -> list[Measure]:
    """Return exact match, micro-F1 and macro-F1 of sets of classes, and the classes' own."""
    rows, chances = cohort.labelled, cohort.chances()
    predicted, true = [one.prediction for one in rows], [one.truth for one in rows]
    if asked.looks == "single":
        return set_quality(predicted, true, inclusion_probability=chances, alpha=asked.alpha)
    exact = np.array([float(answer == truth) for answer, truth in zip(predicted, true, strict=True)])
    return [
        mean_measure("exact_match", exact, chances, asked),
        NotEstimated("micro_f1", NO_SEQUENCE, len(rows)),
        *_at_every_look(predicted, true, chances, asked),
    ]


def warn_classes(cohort: Cohort, asked: Asked) -> list[str]:
    """Say which truths no prediction could meet: outside the class set, or in other names altogether."""
    return _warnings([(one.truth,) for one in cohort.labelled], _answers(cohort), asked.classes)


def warn_sets(cohort: Cohort, asked: Asked) -> list[str]:
    """Say the same of sets of classes."""
    return _warnings(
        [one.truth for one in cohort.labelled], [one for row in _answers(cohort) for one in row], asked.classes
    )


def _answers(cohort: Cohort) -> list[Any]:
    return [one.prediction for one in (*cohort.labelled, *cohort.unlabelled)]


def _warnings(truths: Sequence[Sequence[str]], answers: Sequence[str], classes: Sequence[str]) -> list[str]:
    seen = Counter(one for row in truths for one in row)
    if not seen:
        return []
    if classes:
        return [
            f"{sum(outside.values())} {what} outside the class set, such as {next(iter(outside))!r}; {counted}"
            for what, outside, counted in (
                ("labels are", _outside(seen, classes), "each counts as an error of the prediction"),
                ("predictions are", _outside(Counter(answers), classes), "they count as they are"),
            )
            if outside
        ]
    if not seen.keys() & set(answers):
        told, answered = next(iter(seen)), next(iter(answers), "none")
        return [f"not one label names a class that is predicted: labels such as {told!r}, predictions {answered!r}"]
    return []


def _outside(seen: "Counter[str]", classes: Sequence[str]) -> "Counter[str]":
    known = set(classes)
    return Counter({name: count for name, count in seen.items() if name not in known})


CLASSIFICATION = Task("classification", read_class, read_class, measure_classes, warn_classes, scored=True)
PAIR = Task("pair", read_class, read_class, measure_classes, warn_classes, scored=True)
MULTI_LABEL = Task("multilabel", read_classes, read_classes, measure_sets, warn_sets)
