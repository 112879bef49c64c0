"""Which runs there are and in which order: rounds over all cells, so that an interrupted run has even tables."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from bench.power.outcome import OURS, Contender
from bench.power.scenarios import Cell

SLOW = {("alibi_mmd", 1500)}  # ten times what any other takes: half the seeds


@dataclass(frozen=True, slots=True)
class Effort:
    """How many seeds: of a drifting cell, a real-text cell without drift, a synthetic cell for ours and for peers."""

    drift: int
    calm: int
    synthetic_ours: int
    synthetic_peers: tuple[int, int, int]  # n = 200, 1,000, 5,000: fewer where a run takes long

    def runs(self, cell: Cell, contender: Contender) -> int:
        if cell.traffic != "synthetic":
            usual = self.drift if cell.drifts else self.calm
            return usual if (contender.name, cell.n) not in SLOW else max(usual // 2, 1)
        if contender.name.startswith(OURS):
            return self.synthetic_ours
        return self.synthetic_peers[0 if cell.n <= 200 else 1 if cell.n <= 1000 else 2]


QUICK = Effort(drift=5, calm=20, synthetic_ours=20, synthetic_peers=(10, 5, 0))
FULL = Effort(drift=40, calm=160, synthetic_ours=2000, synthetic_peers=(400, 100, 20))
QUICK_CELLS = ("banking77/*/500", "clinc150/none/0/500", "clinc150/*/0.2/500", "synthetic/none/0/200")


@dataclass(frozen=True, slots=True)
class Step:
    """One draw (a cell's seed) and the contenders that judge it."""

    cell: Cell
    seed: int
    contenders: tuple[Contender, ...]


def steps(cells: Sequence[Cell], contenders: Sequence[Contender], effort: Effort) -> Iterator[Step]:
    """Yield every step, a share of each cell's seeds a round."""
    for turn in range(effort.drift):
        for cell in cells:
            judges = defaultdict(list)
            for contender in contenders:
                if contender.enters(cell):
                    runs = effort.runs(cell, contender)
                    for seed in range(turn * runs // effort.drift, (turn + 1) * runs // effort.drift):
                        judges[seed].append(contender)
            for seed in sorted(judges):
                yield Step(cell, seed, tuple(judges[seed]))


def matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that match any glob. Raises ValueError naming a pattern that matches none."""
    idle = [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in names)]
    if idle:
        raise ValueError(f"{', '.join(idle)} matches none of {', '.join(names)}")
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
