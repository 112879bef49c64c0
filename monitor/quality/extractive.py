"""Answers cut out of a text: exact match and token F1, normalised as SQuAD's own script does."""

import re
import string
from collections import Counter
from typing import Any

import numpy as np

from detectors.weighted import Measure
from monitor.quality.examples import Asked, Cohort, Task, Unreadable, from_json, no_warnings
from monitor.quality.looks import mean_measure

ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
PUNCTUATION = frozenset(string.punctuation)


def read_answer(value: Any) -> str:
    """Return the text of an answer; the empty one says that the text holds none."""
    given = from_json(value)
    given = given.get("text", given.get("answer")) if isinstance(given, dict) else given
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise Unreadable(f"must be a text, or an object with text, got {value!r:.80}")
    return str(given)


def read_answers(value: Any) -> tuple[str, ...]:
    """Return the accepted answers: one, a list, or SQuAD's {"text": [...]}; an empty list says that there is none."""
    given = from_json(value)
    given = given.get("text") if isinstance(given, dict) else given
    if isinstance(given, list | tuple):
        return tuple(read_answer(one) for one in given) or ("",)
    return (read_answer(given),)


def normalised(text: str) -> str:
    """Return a text in lower case without punctuation, articles and surplus spaces.

    >>> normalised("The  Eiffel Tower!")
    'eiffel tower'
    """
    bare = "".join(character for character in text.lower() if character not in PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", bare).split())


def token_f1(answer: str, truth: str) -> float:
    """Return the F1 of two texts' tokens; of empty ones 1 where both are empty. Source: SQuAD 2.0's evaluation script.

    >>> round(token_f1("in the Paris region", "Paris"), 3)
    0.5
    """
    given, true = normalised(answer).split(), normalised(truth).split()
    if not given or not true:
        return float(given == true)
    shared = sum((Counter(given) & Counter(true)).values())
    return 2 * shared / (len(given) + len(true))


def measure_answers(cohort: Cohort, asked: Asked) -> list[Measure]:
    """Return exact match and token F1, of each answer the best over the accepted ones."""
    pairs = [(one.prediction, one.truth) for one in cohort.labelled]
    exact = np.array([float(any(normalised(a) == normalised(t) for t in accepted)) for a, accepted in pairs])
    overlap = np.array([max(token_f1(a, t) for t in accepted) for a, accepted in pairs])
    return [
        mean_measure("exact_match", exact, cohort.chances(), asked),
        mean_measure("token_f1", overlap, cohort.chances(), asked),
    ]


EXTRACTIVE = Task("extractive", read_answer, read_answers, measure_answers, no_warnings)
