"""Whether int8 costs power: the verdict on the same draws, both sides embedded in fp32 and both in int8.

    python -m bench.power.arithmetic [--seeds 20] [--calm-seeds 60] [--cache DIR]   # a quarter of an hour on one core

Writes bench/results/power_int8.json and the table of docs/benchmarks/embed.md. Draws are those of bench.power: a seed
takes the same texts of either pool, so the two are compared pair by pair (McNemar's exact test).
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import binomtest
from threadpoolctl import threadpool_limits

from bench import machine
from bench.power import ours, pools
from bench.power.ledger import Entry, Ledger
from bench.power.outcome import LABELS, Contender
from bench.power.scenarios import CLINC_KINDS, WORDS, Cell, draw
from bench.power.scoring import Rate
from bench.power.tables import rate_text, table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks" / "embed.md"
COMMAND = "python -m bench.power.arithmetic"
ARITHMETICS = {pools.NATIVE: "fp32", "int8": "int8"}
CELLS = (
    Cell("banking77", "none", 0.0, 500),
    Cell("clinc150", "none", 0.0, 500),
    *(Cell("banking77", "oos", share, 1500) for share in (0.02, 0.05)),
    *(Cell("banking77", "oos", share, 500) for share in (0.05, 0.1)),
    *(Cell("clinc150", kind, 0.2, 500) for kind in CLINC_KINDS),
    *(Cell("clinc150", kind, 0.05, 1500) for kind in CLINC_KINDS),
)
Pairs = list[tuple[Entry, Entry]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    entered = [one for one in ours.contenders() if one.name != "driftwarden_baseline"]
    ledgers = {}
    for arithmetic in ARITHMETICS:
        found = pools.load_pools(options.cache, corpora=options.corpora, tell=_tell, arithmetic=arithmetic)
        ledger = ledgers[arithmetic] = _ledger(options.cache, pools.digest(found), entered)
        with threadpool_limits(1):
            for cell in CELLS:
                _tell(f"{arithmetic}: {cell.name}")
                for seed in range(options.seeds if cell.drifts else options.calm_seeds):
                    _judge(cell, seed, entered, ledger, found)
    found_pairs = {(cell, one.name): _pairs(ledgers, cell, one.name) for cell in CELLS for one in entered}
    body = rates_table(found_pairs, entered)
    print(body)
    machine.write("power_int8", _result(found_pairs))
    machine.put(PAGE, command=COMMAND, body=body)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _ledger(cache: Path, world: str, entered: Sequence[Contender]) -> Ledger:
    versions = {one.name: one.version for one in entered}
    return Ledger(cache / "arithmetic.jsonl", committed=None, world=world, versions=versions)


def _judge(cell: Cell, seed: int, entered: Sequence[Contender], ledger: Ledger, found: dict[str, pools.Pool]) -> None:
    waiting = [one for one in entered if not ledger.holds(cell.name, one.name, seed)]
    drawn = draw(cell, found, seed=seed) if waiting else None
    for one in waiting:
        assert drawn is not None
        asked = {"cell": cell.name, "contender": one.name, "version": one.version, "world": ledger.world}
        ledger.append(Entry.of(one.judge(drawn, seed), **asked, seed=seed, seconds=0.0))


def _pairs(ledgers: dict[str, Ledger], cell: Cell, contender: str) -> Pairs:
    native, int8 = (ledgers[arithmetic].of(cell.name, contender) for arithmetic in ARITHMETICS)
    return list(zip(native, int8, strict=True))


def _rates(pairs: Pairs) -> tuple[Rate, Rate]:
    return Rate(sum(one.drift for one, _ in pairs), len(pairs)), Rate(sum(one.drift for _, one in pairs), len(pairs))


def discordant(pairs: Pairs) -> tuple[int, int, float]:
    """Return how many pairs alarm in fp32 alone, in int8 alone, and McNemar's exact p-value."""
    native = sum(one.drift and not other.drift for one, other in pairs)
    int8 = sum(other.drift and not one.drift for one, other in pairs)
    return native, int8, float(binomtest(native, native + int8).pvalue) if native + int8 else 1.0


def rates_table(found: dict[tuple[Cell, str], Pairs], entered: Sequence[Contender]) -> str:
    """Return the alarm rates by cell, and all drifting cells together."""
    rows = []
    for cell in CELLS:
        share = f" {cell.share:.0%}" if cell.drifts else ""
        rates = [rate_text(rate) for one in entered for rate in _rates(found[cell, one.name])]
        runs = len(found[cell, entered[0].name])
        rows.append([f"{cell.traffic}: {WORDS[cell.kind]}{share}", f"{cell.n:,}", *rates, str(runs)])
    together = {one.name: [pair for cell in CELLS if cell.drifts for pair in found[cell, one.name]] for one in entered}
    rates = [rate_text(rate) for pairs in together.values() for rate in _rates(pairs)]
    rows.append(["**all that drift**", "", *rates, str(len(together[entered[0].name]))])
    heads = [f"{LABELS[one.name]}, {name}" for one in entered for name in ARITHMETICS.values()]
    lines = [table(["both sides in", "n a side", *heads, "runs"], rows), ""]
    for name, pairs in together.items():
        native, int8, p = discordant(pairs)
        lines.append(f"- {LABELS[name]}: {native} of the drifting draws alarm in fp32 alone, {int8} in int8 alone ")
        lines[-1] += f"(McNemar, exact: p = {p:.2f})."
    return "\n".join(lines)


def _result(found: dict[tuple[Cell, str], Pairs]) -> dict[str, object]:
    cells = []
    for (cell, contender), pairs in found.items():
        native, int8 = _rates(pairs)
        fp32_alone, int8_alone, p = discordant(pairs)
        cells.append(
            {
                "cell": cell.name, "contender": contender, "runs": len(pairs), "fp32": native.value, "int8": int8.value,
                "fp32_alone": fp32_alone, "int8_alone": int8_alone, "mcnemar_p": round(p, 4),
            }
        )  # fmt: skip
    return {"code": ours.contenders()[0].version, "cells": cells}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--calm-seeds", type=int, default=60)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "driftwarden-power")
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "data")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
