"""Power and false alarms of driftwarden's verdict and of every peer's, on the same embeddings and the same seeds.

    python -m bench.power --quick      # minutes: a few cells, a few seeds; prints tables, writes nothing committed
    python -m bench.power --full       # hours; may be stopped and started again, or run in slices side by side
    python -m bench.power --report     # only tables and plots, from the runs there are

alibi-detect runs in a virtual environment of its own (`python3 -m venv DIR`, `DIR/bin/pip install alibi-detect torch`)
named by --alibi-python; where it is missing its detectors are "not installed". Every run is a line of the ledger in
the cache folder; the committed ledger is read first, so that only what changed is run again.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import machine
from bench.power import alibi_peers, evidently_peers, ours, pools, publish
from bench.power.ledger import Entry, Ledger
from bench.power.outcome import Contender, Outcome
from bench.power.plan import FULL, QUICK, QUICK_CELLS, Effort, matching, steps
from bench.power.progress import Progress
from bench.power.scenarios import Cell, Draw, cells, draw

ROOT = Path(__file__).parents[2]
LEDGER = ROOT / "bench" / "results" / "power-ledger.jsonl.gz"


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    unmade = options.report and options.arithmetic == pools.NATIVE and not pools.are_cached(options.cache)
    found = {} if unmade else _pools(options)
    about = _about(found, options.corpora)
    entered = _contenders(options.alibi_python)
    chosen = _chosen_cells(options)
    if not options.report:
        names = matching([one.name for one in entered], options.peers)
        running = [one for one in entered if one.name in names]
        _run(chosen, running, _effort(options), found, _ledger(options, entered, about), world=str(about["world"]))
    publish.publish(
        chosen if options.quick else cells(),
        _ledger(options, entered, about),  # read again, with what ran beside this
        about=about,
        root=None if options.quick or options.arithmetic != pools.NATIVE else ROOT,
        committed=LEDGER,
    )


def _pools(options: argparse.Namespace) -> dict[str, pools.Pool]:
    return pools.load_pools(
        options.cache,
        corpora=options.corpora,
        tell=lambda line: print(line, file=sys.stderr),
        arithmetic=options.arithmetic,
    )


def _about(found: dict[str, pools.Pool], corpora: Path) -> dict[str, object]:
    """Return what the embeddings are; without them, what the committed summary says they were."""
    if not found:
        summary = json.loads((machine.RESULTS / "power.json").read_text(encoding="utf-8"))
        return {name: summary[name] for name in ("world", "model_accuracy")}
    return {"world": pools.digest(found), "model_accuracy": round(pools.accuracy(found, corpora=corpora), 4)}


def _ledger(options: argparse.Namespace, entered: Sequence[Contender], about: dict[str, object]) -> Ledger:
    return Ledger(
        options.ledger or options.cache / "ledger.jsonl",
        committed=LEDGER,
        world=str(about["world"]),
        versions={one.name: one.version for one in entered},
    )


def _run(
    chosen: Sequence[Cell],
    entered: Sequence[Contender],
    effort: Effort,
    found: dict[str, pools.Pool],
    ledger: Ledger,
    *,
    world: str,
) -> None:
    progress = Progress(steps(chosen, entered, effort), ledger)
    for step in steps(chosen, entered, effort):
        waiting = [one for one in step.contenders if not ledger.holds(step.cell.name, one.name, step.seed)]
        drawn = draw(step.cell, found, seed=step.seed) if waiting else None
        for contender in waiting:
            assert drawn is not None
            started = time.perf_counter()
            outcome = contender.judge(drawn, step.seed)
            seconds = time.perf_counter() - started
            asked = {"cell": step.cell.name, "contender": contender.name, "version": contender.version}
            ledger.append(Entry.of(outcome, **asked, world=world, seed=step.seed, seconds=seconds))
            progress.done(step.cell.name, contender.name, seconds)


def _contenders(alibi_python: Path) -> list[Contender]:
    """Return all contenders; the two that know nothing show what a score must punish."""
    peers = [*alibi_peers.contenders(alibi_python), *evidently_peers.contenders()]
    if not any(one.name.startswith("alibi_") for one in peers):
        print(f"alibi-detect is not installed at {alibi_python}: its detectors are left out", file=sys.stderr)
    return [*ours.contenders(), *peers, _constant("always_alarm", drift=True), _constant("never_alarm", drift=False)]


def _constant(name: str, *, drift: bool) -> Contender:
    def judge(draw: Draw, seed: int) -> Outcome:  # noqa: ARG001 the signature is the contract
        return Outcome(drift=drift, score=(0.0,))

    return Contender(name, "1", judge)


def _chosen_cells(options: argparse.Namespace) -> list[Cell]:
    everything = cells()
    patterns = options.cells or (QUICK_CELLS if options.quick else ("*",))
    names = set(matching([cell.name for cell in everything], patterns))
    return [cell for cell in everything if cell.name in names]


def _effort(options: argparse.Namespace) -> Effort:
    usual = QUICK if options.quick else FULL
    peers = usual.synthetic_peers if options.synthetic_peers is None else tuple(options.synthetic_peers)
    return Effort(
        drift=options.seeds or usual.drift,
        calm=options.calm_seeds or usual.calm,
        synthetic_ours=options.synthetic or usual.synthetic_ours,
        synthetic_peers=(peers[0], peers[1], peers[2]),
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.power", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--quick", action="store_true", help="a few cells and seeds; prints, commits nothing")
    mode.add_argument("--full", action="store_true", help="every cell and seed; writes tables, plots and ledger")
    mode.add_argument("--report", action="store_true", help="run nothing; write tables and plots from the ledger")
    parser.add_argument("--peers", nargs="+", default=["*"], metavar="GLOB", help="contenders to run, ours too")
    parser.add_argument("--cells", nargs="+", metavar="GLOB", help="cells to run, as traffic/kind/share/n")
    parser.add_argument("--seeds", type=int, help="seeds of a drifting cell")
    parser.add_argument("--calm-seeds", type=int, help="seeds of a real-text cell without drift")
    parser.add_argument("--synthetic", type=int, help="seeds of a synthetic cell for driftwarden")
    parser.add_argument("--synthetic-peers", type=int, nargs=3, metavar="N", help="seeds for peers at 200, 1000, 5000")
    temporary = Path(tempfile.gettempdir()) / "driftwarden-power"
    parser.add_argument("--cache", type=Path, default=temporary, help="model, embeddings and ledger")
    parser.add_argument("--corpora", type=Path, default=ROOT.parent / "shared" / "data", help="the text data sets")
    parser.add_argument("--arithmetic", choices=[pools.NATIVE, "int8"], default=pools.NATIVE, help="int8 prints alone")
    parser.add_argument("--ledger", type=Path, help="where runs are appended; default in the cache folder")
    parser.add_argument("--alibi-python", type=Path, default=temporary / "alibi" / "bin" / "python")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
