"""What a quality measure looks at: answers beside the truth about them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from detectors.checks import FloatArray
from detectors.weighted import Measure

Looks = Literal["single", "every"]


class Unreadable(Exception):
    """A value is not what the task asks for; the message says what it should be, and what it was."""


@dataclass(frozen=True, slots=True)
class Example:
    """One prediction, as its task reads it, and the truth about it, None while unknown."""

    id: str
    prediction: Any
    truth: Any = None
    confidence: float | None = None
    scores: Mapping[str, float] | None = None
    inclusion_probability: float = 1.0
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """How to measure: intervals at 1 - alpha, for a single look or for every look.

    least_inclusion_probability is declared before any row is seen; without it rows of unequal chances have no interval
    at every look.
    """

    alpha: float
    looks: Looks
    classes: Sequence[str] = ()
    least_inclusion_probability: float | None = None


@dataclass(frozen=True, slots=True)
class Cohort:
    """All predictions of a span, the labelled ones in the order in which their truth became known."""

    labelled: Sequence[Example]
    unlabelled: Sequence[Example]

    @property
    def size(self) -> int:
        """How many predictions there are."""
        return len(self.labelled) + len(self.unlabelled)

    def chances(self) -> FloatArray:
        """Return the inclusion probabilities of the labelled examples, (n,)."""
        return np.array([example.inclusion_probability for example in self.labelled], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of answer: how predictions and truths read, and what is measured of them.

    The readers raise Unreadable. `warn` says in a line each what makes the measures of a cohort doubtful. `scored`
    tasks read probabilities of the classes, which sum to 1; others take no notice of scores.
    """

    name: str
    read_prediction: Callable[[Any], Any]
    read_truth: Callable[[Any], Any]
    measure: Callable[[Cohort, Asked], list[Measure]]
    warn: Callable[[Cohort, Asked], list[str]]
    scored: bool = False


def no_warnings(_cohort: Cohort, _asked: Asked) -> list[str]:
    """Return none."""
    return []


def from_json(value: Any) -> Any:
    """Return what a text holds as JSON where it looks like a list or an object, as in a CSV column; else the value."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
