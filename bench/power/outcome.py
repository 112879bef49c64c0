"""What a contender answers, and what a contender is."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.power.scenarios import Cell, Draw


@dataclass(frozen=True, slots=True)
class Outcome:
    """Its own verdict, and a score that is higher the surer it is of drift (compared as a tuple: ties go to the next).

    parts : p-values of the detectors inside, by name.
    """

    drift: bool
    score: tuple[float, ...]
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contender:
    """A named detector of one version; `judge` answers for a draw and a seed, `enters` says which cells suit it."""

    name: str
    family: str
    version: str
    judge: Callable[[Draw, int], Outcome]
    enters: Callable[[Cell], bool] = lambda cell: True  # noqa: ARG005 the signature is the contract
