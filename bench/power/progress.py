"""How far a run is, and how long it still takes: judged by what each kind of run took so far."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable

from bench.power.ledger import Ledger
from bench.power.plan import Step

EVERY_SECONDS = 15.0


class Progress:
    """Counts what is left per (cell, contender) and tells now and then on stderr."""

    def __init__(self, steps: Iterable[Step], ledger: Ledger) -> None:
        self._left: Counter[tuple[str, str]] = Counter()
        self._spent: dict[tuple[str, str], list[float]] = defaultdict(list)
        for step in steps:
            for contender in step.contenders:
                key = step.cell.name, contender.name
                if not ledger.holds(step.cell.name, contender.name, step.seed):
                    self._left[key] += 1
        for (cell, contender), entries in ledger.entries.items():
            self._spent[_kind(cell, contender)] += [entry.seconds for entry in entries.values()]
        self.total, self._told = sum(self._left.values()), 0.0

    def done(self, cell: str, contender: str, seconds: float) -> None:
        self._left[cell, contender] -= 1
        self._spent[_kind(cell, contender)].append(seconds)
        if time.monotonic() - self._told > EVERY_SECONDS:
            self._told = time.monotonic()
            left = sum(self._left.values())
            print(
                f"{self.total - left} of {self.total} runs, about {_hours(self._seconds_left())} left"
                f" (now {contender} on {cell})",
                file=sys.stderr,
                flush=True,
            )

    def _seconds_left(self) -> float:
        known = {kind: sum(found) / len(found) for kind, found in self._spent.items()}
        usual = sum(known.values()) / max(len(known), 1)
        return sum(count * known.get(_kind(*key), usual) for key, count in self._left.items())


def _kind(cell: str, contender: str) -> tuple[str, str]:
    return contender, cell.rpartition("/")[2]  # what a run takes depends on n


def _hours(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
