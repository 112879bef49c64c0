"""MMD beside alibi-detect's MMDDrift: 1,000 permutations at n = 1,000 and 10,000 a side, d = 768, one thread each.

python bench/mmd.py [--rounds 5] [--large-rounds 3] [--peer PYTHON]

PYTHON is an interpreter with alibi-detect and torch installed (or the environment variable BENCH_PEER_PYTHON): a
bench-only program, for its licence forbids production use. Both judge the same float32 rows in a process of their
own, by turns. At n = 10,000 the peer draws 1 and 4 permutations and 1,000 are extrapolated from their difference.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import numpy as np

DIMENSION, PERMUTATIONS = 768, 1000
PEER_PERMUTATIONS = {1_000: (1, 101), 10_000: (1, 4)}
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Figures = dict[str, float]


def status(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def judge(folder: Path) -> None:
    from detectors.mmd import mmd

    reference, current = np.load(folder / "reference.npy"), np.load(folder / "current.npy")
    held = status("VmRSS")
    started, busy = time.perf_counter(), time.process_time()
    mmd(reference, current, rng=np.random.default_rng(0), permutations=PERMUTATIONS)
    spent = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - busy}
    peak = status("VmHWM")
    print(json.dumps({**spent, "peak_mib": peak, "growth_mib": peak - held}))


def answer(*command: str) -> dict[str, Any]:
    paths = {"PYTHONPATH": str(Path(__file__).parent.parent)} if command[0] == sys.executable else {}
    environment = {**os.environ, **THREADS, **paths}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ours(folder: Path) -> Figures:
    found = {
        name: float(str(value)) for name, value in answer(sys.executable, __file__, "--judge", str(folder)).items()
    }
    return {**found, "cpu_seconds_per_permutation": found["cpu_seconds"] / PERMUTATIONS}


def peer(python: str, folder: Path, n: int) -> Figures:
    """The peer's figures: its seconds scaled to PERMUTATIONS from what building, one and several of them take."""
    few, many = PEER_PERMUTATIONS[n]
    found = answer(python, str(Path(__file__).with_name("mmd_peer.py")), str(folder), str(few), str(many))
    scaled: Figures = {}
    for name in ("seconds", "cpu_seconds"):
        first, last = found["predicted"][str(few)][name], found["predicted"][str(many)][name]
        marginal = (last - first) / (many - few)
        scaled[name] = found["built"][name] + first + (PERMUTATIONS - few) * marginal
        scaled[f"{name}_per_permutation"] = marginal
    return {**scaled, "peak_mib": found["peak_mib"], "growth_mib": found["growth_mib"]}


def installed(python: str | None) -> bool:
    if not python or not Path(python).exists():
        return False
    return (
        subprocess.run([python, "-c", "import alibi_detect, torch"], capture_output=True, check=False).returncode == 0
    )


def compare(n: int, python: str | None, *, rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(n)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side in ("reference", "current"):
            np.save(folder / f"{side}.npy", rng.normal(size=(n, DIMENSION)).astype(np.float32))
        turns: list[tuple[Figures, Figures | None]] = []
        for _ in range(rounds):
            turns.append((ours(folder), peer(python, folder, n) if python else None))
            print(n, turns[-1], file=sys.stderr, flush=True)
    result: dict[str, object] = {"rounds": rounds, "driftwarden": medians([turn[0] for turn in turns])}
    theirs = [turn[1] for turn in turns if turn[1]]
    if not theirs:
        return {**result, "alibi_detect": "not installed"}
    return {
        **result,
        "alibi_detect": {**medians(theirs), "permutations_drawn": PEER_PERMUTATIONS[n]},
        "median_paired_ratio": {
            "seconds_for_1000": paired(turns, "seconds"),
            "cpu_seconds_for_1000": paired(turns, "cpu_seconds"),
            "cpu_seconds_per_permutation": paired(turns, "cpu_seconds_per_permutation"),
            "peak_memory": paired(turns, "peak_mib"),
            "memory_growth_during_the_call": paired(turns, "growth_mib"),
        },
    }


def medians(found: list[Figures]) -> Figures:
    return {name: float(f"{statistics.median(one[name] for one in found):.4g}") for name in found[0]}


def paired(turns: list[tuple[Figures, Figures | None]], name: str) -> float:
    """The median over rounds of theirs / ours."""
    return round(statistics.median(theirs[name] / own[name] for own, theirs in turns if theirs), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large-rounds", type=int, default=3)
    parser.add_argument("--peer", default=os.environ.get("BENCH_PEER_PYTHON"))
    parser.add_argument("--judge", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.judge:
        judge(options.judge)
        return
    python = options.peer if installed(options.peer) else None
    rounds = {1_000: options.rounds, 10_000: options.large_rounds}
    sizes = {str(n): compare(n, python, rounds=count) for n, count in rounds.items()}
    machine.write("mmd", {"dimension": DIMENSION, "permutations": PERMUTATIONS, "threads": 1, "rows_a_side": sizes})


if __name__ == "__main__":
    main()
