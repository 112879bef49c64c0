"""The verdict on real text: the rates and the ranking of docs/math/verdict.md.

    python -m bench.verdict [--seeds 200] [--cache DIR] [--corpora ../shared/data]   # an hour on one core
    python -m bench.verdict --report                       # the page, from the runs there are

Draws and contenders are those of bench.power (the same seeds give the same texts), ours alone and with more seeds.
Every run is a line in the cache folder, which also holds the embeddings: it may be stopped and started again, and
goes over all cells before the next seed. `--report` also ranks texts (`--ranked-seeds`, two seconds each and traffic).
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from threadpoolctl import threadpool_limits

from bench import machine
from bench.power import ours, pools
from bench.power.ledger import Entry, Ledger
from bench.power.outcome import Contender
from bench.power.scenarios import WORDS, Cell, Draw, draw
from bench.power.scoring import ALPHA, Rate
from bench.power.tables import rate_text, table
from detectors.attribution import drift_scores
from detectors.sketch import Sketch
from monitor.jobs.baseline import build_reference, fold_observations

ROOT = Path(__file__).parents[1]
LEDGER = ROOT / "bench" / "results" / "power-ledger.jsonl.gz"  # runs of the same code and seeds count here too
PAGE = ROOT / "docs" / "math" / "verdict.md"
LARGE = 1500
COMMAND, RANKED_COMMAND = "python -m bench.verdict", "python -m bench.verdict (ranked)"
CELLS = (
    *(Cell("banking77", "oos" if share else "none", share, LARGE) for share in (0.0, 0.02, 0.05, 0.1)),
    *(Cell("banking77", "oos" if share else "none", share, 500) for share in (0.0, 0.05, 0.1, 0.2)),
    *(Cell("banking77", "oos" if share else "none", share, 100) for share in (0.0, 0.1, 0.2)),
    *(Cell("clinc150", "oos" if share else "none", share, LARGE) for share in (0.0, 0.02, 0.05)),
    *(Cell("clinc150", "mix", share, 1000) for share in (0.1, 0.2)),
)
RANKED = tuple(Cell(traffic, "oos", 0.1, LARGE) for traffic in ("banking77", "clinc150"))
TOP = 100
COLUMNS = {
    "driftwarden_embeddings": "embeddings",
    "driftwarden": "with answers",
    "driftwarden_baseline": "with answers, basis fitted on n further texts",
}


def main() -> None:
    options = _options()
    found = pools.load_pools(options.cache, corpora=options.corpora, tell=lambda line: print(line, file=sys.stderr))
    world, contenders = pools.digest(found), ours.contenders()
    versions = {one.name: one.version for one in contenders}
    ledger = Ledger(options.cache / "verdict.jsonl", committed=LEDGER, world=world, versions=versions)
    with threadpool_limits(1):
        for seed in range(0 if options.report else options.seeds):
            print(f"seed {seed} of {options.seeds}", file=sys.stderr, flush=True)
            for cell in CELLS:
                _judge(cell, seed, contenders, ledger, found, world=world)
    print(rates_table(ledger))
    if options.report:
        machine.put(PAGE, command=COMMAND, body=rates_table(ledger))
        machine.put(PAGE, command=RANKED_COMMAND, body=ranked_table(found, seeds=options.ranked_seeds))


def _judge(
    cell: Cell,
    seed: int,
    contenders: Sequence[Contender],
    ledger: Ledger,
    found: dict[str, pools.Pool],
    *,
    world: str,
) -> None:
    entered = [one for one in contenders if one.name != "driftwarden_baseline" or cell.n == LARGE]
    waiting = [one for one in entered if not ledger.holds(cell.name, one.name, seed)]
    drawn = draw(cell, found, seed=seed) if waiting else None
    for one in waiting:
        assert drawn is not None
        outcome = one.judge(drawn, seed)
        entry = Entry(
            cell.name, one.name, one.version, world, seed, outcome.drift, outcome.score, 0.0, parts=outcome.parts
        )
        ledger.append(entry)


def rates_table(ledger: Ledger) -> str:
    """Return every cell's alarm rates, and how often novelty alone would alarm, embeddings being all that is known."""
    rows = []
    for cell in CELLS:
        entries = {name: ledger.of(cell.name, name) for name in COLUMNS}
        rates = [
            rate_text(Rate(sum(entry.drift for entry in runs), len(runs)) if runs else None)
            for runs in entries.values()
        ]
        novel = [entry.parts["novelty"] <= ALPHA for entry in entries["driftwarden_embeddings"]]
        share = f"{cell.share:.0%}" if cell.drifts else ""
        rows.append(
            [
                f"{cell.traffic}: {WORDS[cell.kind]} {share}".strip(),
                f"{cell.n:,}",
                *rates,
                rate_text(Rate(sum(novel), len(novel)) if novel else None),
                str(len(novel)),
            ]
        )
    return table(["traffic", "n a side", *COLUMNS.values(), "novelty alone, p ≤ .05", "runs"], rows)


def ranked_table(found: dict[str, pools.Pool], *, seeds: int) -> str:
    """Return which share of the texts that rank first as new were injected, with and without novelty and texts."""
    rows = []
    for cell in RANKED:
        shares = np.array([_ranked_shares(cell, draw(cell, found, seed=seed), seed) for seed in range(seeds)])
        rows.append([cell.traffic, *(f"{fmean(column):.2f}" for column in shares.T)])
    heads = [f"{how}{texts}" for texts in ("", ", no texts at hand") for how in ("with novelty", "without novelty")]
    return table([f"injected among the first {TOP} of {RANKED[0].n:,}", *heads], rows)


def _ranked_shares(cell: Cell, drawn: Draw, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    reference = build_reference(drawn.reference, rng=rng)
    rows = np.arange(cell.n, dtype=np.int64)
    window = fold_observations(reference.basis, drawn.current, row_ids=rows, chosen=rows)
    injected = window.row_ids >= cell.n - round(cell.share * cell.n)  # they stand last
    texts = reference.texts, [drawn.current.texts[int(i)] for i in window.row_ids]
    shares = []
    for known in (texts, (None, None)):
        for sides in ((reference.sketch, window), (_without_novelty(reference.sketch), _without_novelty(window))):
            scores = drift_scores(*sides, rng=rng, reference_texts=known[0], current_texts=known[1])
            shares.append(float(injected[np.argsort(-scores)[:TOP]].mean()))
    return shares


def _without_novelty(sketch: Sketch) -> Sketch:
    return dataclasses.replace(sketch, row_novelties=np.full_like(sketch.row_novelties, np.nan))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.verdict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--ranked-seeds", type=int, default=20)
    parser.add_argument("--report", action="store_true", help="run nothing; write the page from the runs there are")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "driftwarden-power")
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "data")
    return parser.parse_args()


if __name__ == "__main__":
    main()
