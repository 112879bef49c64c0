"""How often every detector of ours, and the verdict, alarms without drift at alpha 5 %, on anisotropic embeddings.

    python -m bench.false_alarms --runs 20 --sizes 200           # a look: prints the table
    python -m bench.false_alarms                                 # 2,000 runs of everything: hours on one core
    python -m bench.false_alarms --detectors mmd --sizes 5000    # a slice, which may run beside others
    python -m bench.false_alarms --report                        # writes JSON and page from the runs there are

Every run draws both sides anew (bench/no_drift.py) and is one line in the cache folder, so that it may be stopped
and started again; runs of older code of a detector are not counted. `verdict` is one run of all detectors inside it.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import binom, hypergeom
from threadpoolctl import threadpool_limits

from bench import machine
from bench.no_drift import ALPHA, ROOT, Judge, judges, texts
from bench.power.ledger import Entry, Ledger
from bench.power.outcome import Outcome
from bench.power.scenarios import SYNTHETIC_SIZES
from bench.power.scoring import Rate
from bench.power.tables import BAND, alarms_text, table
from detectors.univariate import anderson_darling

PAGE = ROOT / "docs" / "benchmarks" / "false-alarms.md"
COMMAND = "python -m bench.false_alarms"
WORLD = "anisotropic"  # the draws are part of every judge's version
EVERY_SECONDS = 15.0
TRUNCATED = 0.0237  # share of the synthetic texts that are
REASONS = {
    "ad_truncated": "the statistic is one small count ({sizes} of the runs can alarm at most, exactly).",
    "ad_unknown_share": "nineteen texts in twenty share a bin, so the statistic takes few values.",
    "js_classes": "counts of at most seven classes take few values.",
}

Rates = dict[str, dict[int, Rate]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    chosen = [one for one in judges() if any(fnmatch(one.name, pattern) for pattern in options.detectors)]
    ledger = _ledger(options.cache)
    if not options.report:
        with threadpool_limits(1):  # slices run side by side; more threads gain little and count as time
            for judge in chosen:
                for n in options.sizes:
                    _run(judge, n, runs=options.runs, ledger=ledger)
    ledger = _ledger(options.cache)  # read again, with what ran beside this
    found = rates(ledger)
    print(rates_table(found), reasons(found), sep="\n\n")
    if options.report:
        publish(found, ledger)


def _ledger(cache: Path) -> Ledger:
    versions = {one.name: one.version for one in judges()}
    return Ledger(cache / "false-alarms.jsonl", committed=None, world=WORLD, versions=versions)


def _run(judge: Judge, n: int, *, runs: int, ledger: Ledger) -> None:
    waiting = [seed for seed in range(runs) if not ledger.holds(str(n), judge.name, seed)]
    began = told = time.monotonic()
    for done, seed in enumerate(waiting):
        if time.monotonic() - told > EVERY_SECONDS:
            told = time.monotonic()
            left = (told - began) / done * (len(waiting) - done) / 60 if done else float("nan")
            line = f"{judge.name}, n = {n}: {done} of {len(waiting)} runs, about {left:.0f} min left"
            print(line, file=sys.stderr, flush=True)
        busy = time.process_time()  # not the clock: other slices run beside this one
        outcome = once(judge, n, seed)
        seconds = time.process_time() - busy
        asked = {"cell": str(n), "contender": judge.name, "version": judge.version}
        ledger.append(Entry.of(outcome, **asked, world=WORLD, seed=seed, seconds=seconds))


def once(judge: Judge, n: int, seed: int) -> Outcome:
    """Return what a judge says of the two sides of a seed: the same sides for every judge."""
    rng = np.random.default_rng([n, seed])
    return judge.judge(texts(n, rng), texts(n, rng), rng)


def rates(ledger: Ledger) -> Rates:
    """Return every detector's alarm rate by n: of the detectors inside the verdict, p <= alpha by itself."""
    found: Rates = {}
    for judge in judges():
        inside: Rates = {}
        for n in SYNTHETIC_SIZES:
            entries = ledger.of(str(n), judge.name)
            if not entries:
                continue
            for name in dict.fromkeys(name for entry in entries for name in entry.parts):
                alarms = [entry.parts[name] <= ALPHA for entry in entries if name in entry.parts]
                inside.setdefault(name, {})[n] = Rate(sum(alarms), len(alarms))
            found.setdefault(judge.name, {})[n] = Rate(sum(entry.drift for entry in entries), len(entries))
        found |= inside
    return found


def rates_table(found: Rates) -> str:
    rows = [
        [f"**{name}**" if name == "verdict" else name]
        + [alarms_text(by_size[n]) if n in by_size else "–" for n in SYNTHETIC_SIZES]
        for name, by_size in found.items()
    ]
    return table(["detector", *[f"n = {n:,}" for n in SYNTHETIC_SIZES]], rows)


def reasons(found: Rates) -> str:
    """Return why each detector alarms less than it might: below 3 %, and below 5 % beyond chance."""
    low = [
        name
        for name, by_size in found.items()
        if any(rate.value < BAND[0] and rate.interval[1] < ALPHA for rate in by_size.values())
    ]
    sizes = ", ".join(f"{largest_size(n // 2, n, TRUNCATED):.1%} at n = {n:,}" for n in SYNTHETIC_SIZES)
    told = {name: REASONS.get(name, "no reason known.").format(sizes=sizes) for name in low}
    return "\n".join(f"- `{name}`, below 3 %: {reason}" for name, reason in told.items())


def largest_size(reference_n: int, current_n: int, share: float) -> float:
    """Return how often a test at alpha of a property that this share of texts has can alarm without drift.

    Over the pooled count c the exact null of Anderson-Darling (two bins) is a few steps; the largest not above alpha
    is what it reaches.

    >>> round(largest_size(100, 200, 0.0237), 3)
    0.027
    """
    size, n = 0.0, reference_n + current_n
    for pooled in range(int(binom.isf(1e-6, n, share)) + 1):
        current = np.arange(max(0, pooled - reference_n), min(pooled, current_n) + 1)
        null = hypergeom.pmf(current, n, pooled, current_n)
        before = np.column_stack([reference_n - pooled + current, pooled - current]).astype(float)
        now = np.column_stack([current_n - current, current]).astype(float)
        statistic = anderson_darling(before, now)
        p = np.array([null[statistic >= value * (1 - 1e-9)].sum() for value in statistic])
        size += float(binom.pmf(pooled, n, share)) * float(null[p <= ALPHA].sum())
    return size


def publish(found: Rates, ledger: Ledger) -> None:
    """Write the summary and put the table between the page's markers."""
    seconds: dict[str, Any] = {
        f"{judge.name}, n = {n}": round(median(entry.seconds for entry in entries), 3)
        for judge in judges()
        for n in SYNTHETIC_SIZES
        if (entries := ledger.of(str(n), judge.name))
    }
    by_detector = {name: {str(n): _plain(rate) for n, rate in by_size.items()} for name, by_size in found.items()}
    versions = {one.name: one.version for one in judges()}
    machine.write(
        "false_alarms",
        {"alpha": ALPHA, "versions": versions, "median_cpu_seconds_a_run": seconds, "detectors": by_detector},
    )
    parts = rates_table(found), reasons(found)
    machine.put(PAGE, command=COMMAND, body="\n\n".join(part for part in parts if part))


def _plain(rate: Rate) -> dict[str, float | int]:
    low, high = rate.interval
    return {"alarms": rate.count, "runs": rate.runs, "rate": rate.value, "low": round(low, 4), "high": round(high, 4)}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [one.name for one in judges()]
    parser = argparse.ArgumentParser(
        prog="python -m bench.false_alarms", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--sizes", type=int, nargs="+", default=SYNTHETIC_SIZES, choices=SYNTHETIC_SIZES)
    parser.add_argument("--detectors", nargs="+", default=["*"], metavar="GLOB", help=", ".join(names))
    parser.add_argument("--report", action="store_true", help="run nothing; write JSON and page")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "driftwarden-false-alarms")
    found = parser.parse_args(arguments)
    idle = [pattern for pattern in found.detectors if not any(fnmatch(name, pattern) for name in names)]
    if idle or found.runs < 1:
        parser.error(f"{idle} matches none of {', '.join(names)}" if idle else f"--runs is positive, got {found.runs}")
    return found


if __name__ == "__main__":
    main()
