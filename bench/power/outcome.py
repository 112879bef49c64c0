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


LABELS = {
    "driftwarden": "driftwarden",
    "driftwarden_embeddings": "driftwarden, embeddings only",
    "driftwarden_baseline": "driftwarden, basis fitted beforehand",
    "alibi_mmd": "alibi-detect MMD",
    "alibi_lsdd": "alibi-detect LSDD",
    "alibi_classifier": "alibi-detect classifier",
    "alibi_learned_kernel": "alibi-detect learned kernel",
    "alibi_spot_the_diff": "alibi-detect spot-the-diff",
    "evidently_model": "evidently model",
    "evidently_mmd": "evidently MMD",
    "evidently_ratio": "evidently ratio",
    "evidently_distance": "evidently distance",
    "evidently_text": "evidently text content",
    "always_alarm": "always alarms",
    "never_alarm": "never alarms",
}
OURS = "driftwarden"
PEERS = tuple(name for name in LABELS if name.startswith(("alibi_", "evidently_")))


@dataclass(frozen=True, slots=True)
class Contender:
    """A named detector of one version; `judge` answers for a draw and a seed, `enters` says which cells suit it."""

    name: str
    version: str
    judge: Callable[[Draw, int], Outcome]
    enters: Callable[[Cell], bool] = lambda cell: True  # noqa: ARG005 the signature is the contract
