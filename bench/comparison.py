"""A window's comparison from sketches, from 10^4 to 10^6 samples: its time, and what the sketch of a window weighs.

python bench/comparison.py [--rounds 5]
"""

import argparse
import statistics
import time

import machine
import numpy as np

from detectors.compare import compare_sketches
from detectors.sketch import Basis, Sketch, fit_basis, fold, merge

DIMENSION, CHUNK = 768, 8192
SIZES = (10_000, 100_000, 1_000_000)
DRIFTED = "10000 that drifted"  # no early stop: all permutations are drawn


def window(basis: Basis, n: int, *, seed: int, shift: float = 0.0) -> Sketch:
    rng = np.random.default_rng(seed)
    merged: Sketch | None = None
    for first in range(0, n, CHUNK):
        count = min(CHUNK, n - first)
        ids = np.arange(first, first + count, dtype=np.int64)
        rows = rng.normal(shift, size=(count, DIMENSION)).astype(np.float32)
        classes = rng.integers(0, 5, size=count)
        part = fold(basis, rows, row_ids=ids, classes=classes, confidences=rng.random(count))
        merged = part if merged is None else merge([merged, part])
    assert merged is not None
    return merged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    basis = fit_basis(rng.normal(size=(2000, DIMENSION)), rng=rng, classes=[str(i) for i in range(5)])
    reference = window(basis, 5000, seed=1)
    windows = {str(n): window(basis, n, seed=2) for n in SIZES}
    windows[DRIFTED] = window(basis, SIZES[0], seed=3, shift=0.05)
    seconds: dict[str, list[float]] = {n: [] for n in windows}
    for turn in range(rounds + 1):  # the sizes take turns; the first turn warms up
        for n, current in windows.items():
            started = time.perf_counter()
            compare_sketches(reference, current, alpha=0.01, rng=np.random.default_rng(turn), permutations=999)
            if turn:
                seconds[n].append(time.perf_counter() - started)
    medians = {n: statistics.median(values) for n, values in seconds.items()}
    machine.write(
        "comparison",
        {
            "median_seconds": {n: round(value, 4) for n, value in medians.items()},
            "ratio_largest_to_smallest": round(medians[str(SIZES[-1])] / medians[str(SIZES[0])], 3),
            "sketch_bytes": {n: len(current.to_bytes()) for n, current in windows.items()},
            "seconds": {n: [round(value, 4) for value in values] for n, values in seconds.items()},
        },
    )


if __name__ == "__main__":
    main()
