"""One JSON line per (cell, contender, seed): an interrupted run goes on where it stopped."""

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.power.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender's answer for a cell's seed; `world` identifies the embeddings, `version` the contender's code."""

    cell: str
    contender: str
    version: str
    world: str
    seed: int
    drift: bool
    score: tuple[float, ...]
    seconds: float
    parts: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, outcome: Outcome, *, cell: str, contender: str, version: str, world: str, seed: int, seconds: float
    ) -> "Entry":
        """Return the entry of an outcome that took so many seconds."""
        return cls(cell, contender, version, world, seed, outcome.drift, outcome.score, seconds, outcome.parts)


class Ledger:
    """The entries of this world and of the contenders' present versions; every new one is appended at once."""

    def __init__(self, path: Path, *, committed: Path | None, world: str, versions: dict[str, str]) -> None:
        self._path, self.world = path, world
        self.entries: dict[tuple[str, str], dict[int, Entry]] = defaultdict(dict)
        for entry in (*(_read(committed) if committed else ()), *_read(path)):
            if entry.world == world and versions.get(entry.contender, entry.version) == entry.version:
                self.entries[entry.cell, entry.contender][entry.seed] = entry

    def holds(self, cell: str, contender: str, seed: int) -> bool:
        return seed in self.entries.get((cell, contender), {})

    def append(self, entry: Entry) -> None:
        """Write the entry as one whole line, so that runs side by side may share the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(_plain(entry)) + "\n")
        self.entries[entry.cell, entry.contender][entry.seed] = entry

    def of(self, cell: str, contender: str) -> list[Entry]:
        """Return the entries in the order of their seeds."""
        return [entry for _, entry in sorted(self.entries.get((cell, contender), {}).items())]

    def commit(self, path: Path) -> None:
        """Write all entries compressed, the same bytes for the same entries."""
        rows = sorted((key, seed) for key, found in self.entries.items() for seed in found)
        text = "".join(json.dumps(_plain(self.entries[key][seed])) + "\n" for key, seed in rows)
        path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _plain(entry: Entry) -> dict[str, Any]:
    parts = {name: round(value, 6) for name, value in entry.parts.items()}
    plain = asdict(entry) | {"score": [round(value, 10) for value in entry.score], "seconds": round(entry.seconds, 4)}
    return plain | {"parts": parts} if parts else {key: value for key, value in plain.items() if key != "parts"}


def _read(path: Path) -> Iterator[Entry]:
    if not path.is_file():
        return
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
        yield from _parsed(stream)


def _parsed(lines: Iterable[str]) -> Iterator[Entry]:
    for line in lines:
        try:
            found = json.loads(line)
        except json.JSONDecodeError:  # the half line of a run that was killed while it wrote
            continue
        yield Entry(**(found | {"score": tuple(found["score"])}))
