"""From entries to rates: own thresholds, thresholds at an equal false-alarm rate, intervals, and the ranking."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from scipy.stats import binomtest

from bench.power.ledger import Entry, Ledger
from bench.power.outcome import OURS, PEERS
from bench.power.scenarios import NO_DRIFT, Cell

ALPHA = 0.05
DRIFTING_SHARE = 1 / 20  # of windows, for precision: a team looks at twenty windows, one of them drifted
FEWEST_CALM = 20  # runs without drift below which no threshold for one alarm in twenty can be told


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of runs with its exact binomial 95 % interval. Source: Clopper & Pearson 1934."""

    count: int
    runs: int

    @property
    def value(self) -> float:
        return self.count / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        found = binomtest(self.count, self.runs).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True)
class Standing:
    """A contender in a cell: alarms by its own verdict, alarms at an equal false-alarm rate (None: no calm runs)."""

    alarms: Rate
    calibrated: Rate | None
    calibrated_alarms: dict[int, bool]
    seconds: float


@dataclass(frozen=True, slots=True)
class Duel:
    """Ours beside the best peer of a cell at equal false-alarm rate, on the same seeds."""

    ours: Rate
    peer: str
    theirs: Rate
    p_lower: float  # one-sided exact McNemar: the chance of so few wins if both were as good
    p_higher: float

    @property
    def outcome(self) -> str:
        if self.p_lower <= ALPHA:
            return "below"
        return "above" if self.p_higher <= ALPHA else "level"


@dataclass(frozen=True, slots=True)
class Place:
    """A contender over all drifting cells; false alarms over all real-text cells without drift."""

    contender: str
    false_alarms: Rate
    power: float
    informedness: float
    precision: float
    calibrated_power: float | None
    seconds: float
    cells: int


def threshold(scores: Sequence[tuple[float, ...]], alpha: float = ALPHA) -> tuple[float, ...]:
    """Return the score above which at most alpha of these no-drift scores lie.

    >>> threshold([(float(i),) for i in range(100)])
    (94.0,)
    """
    ordered = sorted(scores, reverse=True)
    return ordered[int(alpha * len(ordered) + 1e-9)]


def standing(entries: Sequence[Entry], calm: Sequence[Entry]) -> Standing | None:
    """Return how a contender stands in a cell, or None where it has no runs."""
    if not entries:
        return None
    alarms = {}
    if len(calm) >= FEWEST_CALM:
        level = threshold([entry.score for entry in calm])
        alarms = {entry.seed: entry.score > level for entry in entries}
    return Standing(
        alarms=Rate(sum(entry.drift for entry in entries), len(entries)),
        calibrated=Rate(sum(alarms.values()), len(alarms)) if alarms else None,
        calibrated_alarms=alarms,
        seconds=median(entry.seconds for entry in entries),
    )


def standings(cells: Sequence[Cell], contenders: Sequence[str], ledger: Ledger) -> dict[tuple[Cell, str], Standing]:
    """Return every contender's standing in every cell, calibrated on the same traffic's no-drift cell of the same n."""
    found = {}
    for cell in cells:
        calm_cell = Cell(cell.traffic, NO_DRIFT, 0.0, cell.n).name
        for contender in contenders:
            stood = standing(ledger.of(cell.name, contender), ledger.of(calm_cell, contender))
            if stood is not None:
                found[cell, contender] = stood
    return found


def duel(cell: Cell, stood: dict[tuple[Cell, str], Standing]) -> Duel | None:
    """Return ours beside the peer with the highest calibrated power, or None where either is missing."""
    mine = stood.get((cell, OURS))
    rivals = [(stood[cell, name], name) for name in PEERS if (cell, name) in stood and stood[cell, name].calibrated]
    if mine is None or mine.calibrated is None or not rivals:
        return None
    best, name = max(rivals, key=lambda one: one[0].calibrated.value if one[0].calibrated else 0.0)
    assert best.calibrated is not None
    shared = mine.calibrated_alarms.keys() & best.calibrated_alarms.keys()
    wins = sum(mine.calibrated_alarms[seed] and not best.calibrated_alarms[seed] for seed in shared)
    losses = sum(best.calibrated_alarms[seed] and not mine.calibrated_alarms[seed] for seed in shared)
    if not wins + losses:
        return Duel(mine.calibrated, name, best.calibrated, 1.0, 1.0)
    test = {side: float(binomtest(wins, wins + losses, alternative=side).pvalue) for side in ("less", "greater")}
    return Duel(mine.calibrated, name, best.calibrated, test["less"], test["greater"])


def ranking(cells: Sequence[Cell], contenders: Sequence[str], stood: dict[tuple[Cell, str], Standing]) -> list[Place]:
    """Return the contenders by informedness: mean power less the false-alarm rate of the same traffic and n.

    Always alarming and never alarming both come to 0. Precision: of the alarms, the share that are drift, when one
    window in twenty drifts. Source: Youden 1950 (J); Bayes' rule.
    """
    places = [place for one in contenders if (place := _place(one, cells, stood)) is not None]
    return sorted(places, key=lambda place: (-place.informedness, -(place.calibrated_power or 0.0), place.contender))


def _place(contender: str, cells: Sequence[Cell], stood: dict[tuple[Cell, str], Standing]) -> Place | None:
    mine = {cell: stood[cell, contender] for cell in cells if (cell, contender) in stood}
    calm = {
        (cell.traffic, cell.n): one for cell, one in mine.items() if not cell.drifts and cell.traffic != "synthetic"
    }
    drifting = {cell: one for cell, one in mine.items() if cell.drifts and (cell.traffic, cell.n) in calm}
    if not drifting:
        return None
    false_alarms = Rate(sum(one.alarms.count for one in calm.values()), sum(one.alarms.runs for one in calm.values()))
    power = fmean(one.alarms.value for one in drifting.values())
    calibrated = [one.calibrated.value for one in drifting.values() if one.calibrated]
    caught, cried = DRIFTING_SHARE * power, (1 - DRIFTING_SHARE) * false_alarms.value
    return Place(
        contender=contender,
        false_alarms=false_alarms,
        power=power,
        informedness=fmean(
            one.alarms.value - calm[cell.traffic, cell.n].alarms.value for cell, one in drifting.items()
        ),
        precision=caught / (caught + cried) if caught + cried else 0.0,
        calibrated_power=fmean(calibrated) if calibrated else None,
        seconds=median(one.seconds for one in drifting.values()),
        cells=len(drifting),
    )
