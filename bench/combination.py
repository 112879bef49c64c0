"""Many p-values, one verdict: size and power of the combinations, the table of docs/math/calibration.md.

python bench/combination.py [--runs 100000]   (under a minute)
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from detectors.combination import cauchy_p_value, combined_p_value, harmonic_mean_p_value

ALPHA = 0.01
CASES = (  # detectors, correlation of their scores, shift of how many of them
    (5, 0.0, 0.0, 0),
    (5, 0.5, 0.0, 0),
    (5, 0.9, 0.0, 0),
    (8, 0.5, 0.0, 0),
    (8, 0.9, 0.0, 0),
    (5, 0.0, 3.0, 1),
    (5, 0.5, 3.0, 1),
    (5, 0.0, 1.8, 5),
    (5, 0.9, 1.8, 5),
)
COMBINATIONS: dict[str, Callable[[np.ndarray], float]] = {
    "Bonferroni": combined_p_value,
    "harmonic, with its factor": harmonic_mean_p_value,
    "Cauchy": cauchy_p_value,
}


def p_values(rng: np.random.Generator, runs: int, m: int, correlation: float, shift: float, shifted: int) -> np.ndarray:
    """One-sided p-values (runs, m) of normal scores that share one component."""
    shared, own = rng.standard_normal((runs, 1)), rng.standard_normal((runs, m))
    scores = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    scores[:, :shifted] += shift
    return np.maximum(ndtr(-scores), 1e-300)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    runs = parser.parse_args().runs
    rng = np.random.default_rng(22)
    print(f"| m | ρ | shift | {' | '.join(COMBINATIONS)} |")
    print("|---|---|---|" + "---|" * len(COMBINATIONS))
    for m, correlation, shift, shifted in CASES:
        drawn = p_values(rng, runs, m, correlation, shift, shifted)
        rates = [np.mean([combine(p) <= ALPHA for p in drawn]) for combine in COMBINATIONS.values()]
        where = "none" if not shifted else f"{shift:g} in {'one' if shifted == 1 else 'all'}"
        cells = " | ".join(f"{rate:.3f}" for rate in rates)
        print(f"| {m} | {correlation:g} | {where} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
