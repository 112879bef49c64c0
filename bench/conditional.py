"""How a baseline that judges many windows spreads the false-alarm rate, what caps and `baseline_confidence` do to it.

python bench/conditional.py [--baselines 60] [--windows 24]

Per reference size n, window size m and remedy: the mean of the baselines' false-alarm rates, their 90 % and 95 %
quantiles, and the power against 10 % of rows from further out. Every window and remedy of a baseline shares its
texts; a rate over 24 windows has a standard error of .044 at .05, which widens the spread shown.
"""

import argparse
from dataclasses import dataclass

import machine
import numpy as np

from detectors.basis import Basis, fit_basis
from detectors.compare import compare_sketches
from detectors.permutation import alpha_given_baseline
from detectors.results import Comparison
from detectors.sketch import Sketch, fold

ALPHA, WIDTH, PERMUTATIONS, SHARE = 0.05, 16, 399, 0.1
SPECTRUM = np.arange(1, WIDTH + 1) ** -0.7
SIZES = ((150, 150), (150, 1000), (150, 5000), (1000, 1000), (1000, 5000))


@dataclass(frozen=True)
class Remedy:
    """Judge at most `cap` times the reference's texts, at an alpha for `confidence` of all baselines."""

    name: str
    cap: float = 1e9
    confidence: float | None = None


REMEDIES = (
    Remedy("none"),
    Remedy("cap 1", cap=1),
    Remedy("cap 2", cap=2),
    Remedy("confidence .9", confidence=0.9),
    Remedy("confidence .95", confidence=0.95),
)


def texts_like(rng: np.random.Generator, n: int, *, new: float = 0.0) -> np.ndarray:
    rows = rng.standard_t(6, size=(n, WIDTH)) * SPECTRUM + 5
    rows[: round(new * n)] += rng.normal(size=(round(new * n), WIDTH)) * SPECTRUM
    return rows


def p_value(basis: Basis, reference: Sketch, rows: np.ndarray, *, rng: np.random.Generator) -> float:
    window = fold(basis, rows, row_ids=np.arange(rows.shape[0]))
    found = compare_sketches(reference, window, alpha=ALPHA, rng=rng, permutations=PERMUTATIONS)
    assert isinstance(found, Comparison)
    return found.verdict.p_value


def alarms(basis: Basis, reference: Sketch, rows: np.ndarray, *, rng: np.random.Generator) -> dict[str, bool]:
    """Judge a window once for every cap that cuts it, and decide under every remedy."""
    sizes = {one.name: min(rows.shape[0], round(reference.n * one.cap)) for one in REMEDIES}
    found = {size: p_value(basis, reference, rng.permutation(rows)[:size], rng=rng) for size in set(sizes.values())}
    return {
        one.name: found[sizes[one.name]]
        <= (
            ALPHA
            if one.confidence is None
            else alpha_given_baseline(
                ALPHA, reference_n=reference.n, current_n=sizes[one.name], confidence=one.confidence
            )
        )
        for one in REMEDIES
    }


def measure(n: int, m: int, *, baselines: int, windows: int) -> list[dict[str, float | str]]:
    calm = {remedy.name: np.zeros((baselines, windows)) for remedy in REMEDIES}
    drifted = {remedy.name: np.zeros((baselines, max(1, windows // 8))) for remedy in REMEDIES}
    for i in range(baselines):
        rng = np.random.default_rng([n, m, i])
        basis = fit_basis(texts_like(rng, n), rng=rng)
        reference = fold(basis, texts_like(rng, n), row_ids=np.arange(n))
        for found, new in ((calm, 0.0), (drifted, SHARE)):
            for j in range(found["none"].shape[1]):
                for name, alarm in alarms(basis, reference, texts_like(rng, m, new=new), rng=rng).items():
                    found[name][i, j] = alarm
    return [
        {
            "remedy": remedy.name,
            "mean": round(float(calm[remedy.name].mean()), 3),
            "quantile_90": round(float(np.quantile(calm[remedy.name].mean(axis=1), 0.9)), 3),
            "quantile_95": round(float(np.quantile(calm[remedy.name].mean(axis=1), 0.95)), 3),
            "worst": round(float(calm[remedy.name].mean(axis=1).max()), 3),
            "power": round(float(drifted[remedy.name].mean()), 3),
        }
        for remedy in REMEDIES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baselines", type=int, default=60)
    parser.add_argument("--windows", type=int, default=24)
    given = parser.parse_args()
    found = {}
    for n, m in SIZES:
        found[f"{n} reference, {m} current"] = measure(n, m, baselines=given.baselines, windows=given.windows)
        for line in found[f"{n} reference, {m} current"]:
            print(n, m, line, flush=True)
    machine.write("conditional", {"alpha": ALPHA, "baselines": given.baselines, "windows": given.windows, **found})


if __name__ == "__main__":
    main()
