"""What quality and bias measures return: a value with its interval, or an honest "not known"."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure with its interval at confidence 1 - alpha; low <= value <= high.

    n counts the observations it rests on; method names the interval, such as "wilson" or "betting sequence".
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    method: str
    alpha: float = 0.05


@dataclass(frozen=True, slots=True)
class NotEstimated:
    """A measure that cannot be given honestly, why, what there was, and what it would take (None: nothing would)."""

    name: str
    reason: str
    got: int
    needed: int | None = None
