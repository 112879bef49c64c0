"""What the verdict would find if it were made otherwise: the table of choices in docs/math/verdict.md.

    python -m bench.design [--seeds 40] [--cache DIR] [--corpora ../shared/data]   # ten minutes on one core
    python -m bench.design --report                        # the page, from the runs there are

Draws are those of bench.power, on embeddings and answers. A variant differs from what is shipped in one choice alone:
novelty's share of alpha, the part of the reference that fits the basis, or the random-feature MMD being there.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from bench import machine
from bench.power import ours, pools
from bench.power.arithmetic import discordant
from bench.power.ledger import Entry, Ledger
from bench.power.outcome import Contender, Outcome
from bench.power.scenarios import WORDS, Cell, Draw, draw
from bench.power.scoring import Rate
from bench.power.tables import rate_text, table
from detectors import compare
from monitor.jobs.baseline import Observations, Reference, fit_observations, fold_observations

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "math" / "verdict.md"
COMMAND = "python -m bench.design"
NOTED = 0.05
CELLS = (
    Cell("banking77", "none", 0.0, 500),
    Cell("banking77", "oos", 0.02, 1500),
    Cell("banking77", "oos", 0.05, 1500),
    Cell("banking77", "oos", 0.05, 500),
    Cell("clinc150", "mix", 0.2, 500),
    Cell("clinc150", "casing", 0.2, 100),
    Cell("clinc150", "casing", 0.05, 1500),
    Cell("clinc150", "domains", 0.05, 500),
)


def variants() -> list[Contender]:
    """Return what is shipped, first, and what differs from it in one choice."""
    version = ours.contenders()[0].version
    made: dict[str, Callable[[Draw, int], Outcome]] = {
        "as it is": _judge,
        "even shares of alpha": lambda drawn, seed: _judge(drawn, seed, novelty_share=None),
        "novelty 1/2": lambda drawn, seed: _judge(drawn, seed, novelty_share=0.5),
        "novelty 8/11": lambda drawn, seed: _judge(drawn, seed, novelty_share=8 / 11),
        "half fits": lambda drawn, seed: _judge(drawn, seed, fitted=1 / 2),
        "a quarter fits": lambda drawn, seed: _judge(drawn, seed, fitted=1 / 4),
        "without MMD": lambda drawn, seed: _judge(drawn, seed, mmd=False),
    }
    return [Contender(name, version, judge) for name, judge in made.items()]


def _judge(
    drawn: Draw,
    seed: int,
    *,
    novelty_share: float | None = compare.NOVELTY_SHARE,
    fitted: float = 1 / 3,
    mmd: bool = True,
) -> Outcome:
    rng = np.random.default_rng(seed)
    reference = _reference(drawn.reference, fitted=fitted, rng=rng)
    with _otherwise(novelty_share=novelty_share, mmd=mmd):
        return ours.judge(reference, drawn.current, rng=rng)


def _reference(observed: Observations, *, fitted: float, rng: np.random.Generator) -> Reference:
    """Do as `build_reference` does, with another part of the texts for the basis."""
    order = rng.permutation(len(observed)).astype(np.int64)
    kept = len(observed) - int(len(observed) * fitted)
    basis = fit_observations(observed, order[kept:], rng=rng)
    rows = np.arange(len(observed), dtype=np.int64)
    return Reference(basis, fold_observations(basis, observed, row_ids=rows, chosen=np.sort(order[:kept])), ())


@contextmanager
def _otherwise(*, novelty_share: float | None, mmd: bool) -> Iterator[None]:
    """Judge by other choices for a while: they are constants of the shipped code, and no options of it."""
    shares, tests = compare._shares_of_alpha, compare.embedding_tests

    def shared(names: tuple[str, ...]) -> dict[str, float]:
        if novelty_share is None or "novelty" not in names:
            return dict.fromkeys(names, 1 / len(names))
        others = dict.fromkeys(names, (1 - novelty_share) / (len(names) - 1))
        return others | {"novelty": novelty_share}

    def tested(*sides: compare.Sketch, rng: np.random.Generator) -> dict[str, object]:
        return {name: one for name, one in tests(*sides, rng=rng).items() if mmd or name != "mmd_features"}

    compare._shares_of_alpha, compare.embedding_tests = shared, tested
    try:
        yield
    finally:
        compare._shares_of_alpha, compare.embedding_tests = shares, tests


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    found = pools.load_pools(options.cache, corpora=options.corpora, tell=lambda line: print(line, file=sys.stderr))
    world, entered = pools.digest(found), variants()
    versions = {one.name: one.version for one in entered}
    ledger = Ledger(options.cache / "design.jsonl", committed=None, world=world, versions=versions)
    with threadpool_limits(1):
        for seed in range(0 if options.report else options.seeds):
            print(f"seed {seed} of {options.seeds}", file=sys.stderr, flush=True)
            for cell in CELLS:
                _run(cell, seed, entered, ledger, found, world=world)
    print(rates_table(ledger))
    if options.report:
        machine.put(PAGE, command=COMMAND, body=rates_table(ledger))


def _run(
    cell: Cell,
    seed: int,
    entered: Sequence[Contender],
    ledger: Ledger,
    found: dict[str, pools.Pool],
    *,
    world: str,
) -> None:
    waiting = [one for one in entered if not ledger.holds(cell.name, one.name, seed)]
    drawn = draw(cell, found, seed=seed) if waiting else None
    for one in waiting:
        assert drawn is not None
        asked = {"cell": cell.name, "contender": one.name, "version": one.version}
        ledger.append(Entry.of(one.judge(drawn, seed), **asked, world=world, seed=seed, seconds=0.0))


def rates_table(ledger: Ledger) -> str:
    """Return every cell's alarm rate by variant; a star marks one that the pairs of draws tell from the first."""
    names = [one.name for one in variants()]
    rows = []
    for cell in CELLS:
        runs = [ledger.of(cell.name, name) for name in names]
        share = f" {cell.share:.0%}" if cell.drifts else ""
        shown = [rate_text(_rate(runs[0])), *(_beside(runs[0], one) for one in runs[1:])]
        rows.append([f"{cell.traffic}: {WORDS[cell.kind]}{share}", f"{cell.n:,}", *shown, str(len(runs[0]))])
    return table(["traffic", "n a side", *names, "runs"], rows)


def _rate(runs: Sequence[Entry]) -> Rate | None:
    return Rate(sum(entry.drift for entry in runs), len(runs)) if runs else None


def _beside(shipped: Sequence[Entry], variant: Sequence[Entry]) -> str:
    """Return a variant's rate, marked where the same draws tell it from what is shipped (McNemar, exact, p ≤ .05)."""
    rate = _rate(variant)
    if rate is None:
        return "–"
    _, _, p = discordant(list(zip(shipped, variant, strict=True)))
    return f"{rate.value:.2f}{' *' if p <= NOTED else ''}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--report", action="store_true", help="run nothing; write the page from the runs there are")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "driftwarden-power")
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "data")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
