"""Nearest-neighbour and Gaussian KL by dimension and against the closed form: the tables of docs/math/kl.md.

    python -m bench.knn_kl                                       # four minutes on one core
    python -m bench.knn_kl --power [--runs 100] [--cache DIR]    # the power table, from real text: ten minutes

The cache holds the embeddings of bench.power and is filled when it is empty (from --corpora).
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import norm

from bench.power import pools
from bench.power.scenarios import Cell, draw
from detectors.kl import gaussian_kl, unbiased_gaussian_kl
from detectors.neighbours import NEIGHBOURS, _ball_kl, _neighbour_graph, _two_odds, _whitened, knn_kl, knn_kl_test
from detectors.permutation import p_value
from detectors.sketch import fit_basis

RUNS = 4
ALPHA, PERMUTATIONS, TEXTS, DIRECTIONS_AT = 0.05, 199, 1500, 32
T5_ENTROPY = 1.6275  # nats, of Student's t with 5 degrees of freedom


def embeddings(rng, n: int, *, centre: np.ndarray) -> np.ndarray:
    """Rows (n, 768) with a strong common direction, a power-law spectrum and tails heavier than a Gaussian's."""
    spectrum = np.arange(1, centre.size + 1) ** -0.5
    return centre + rng.standard_t(8, size=(n, centre.size)) * spectrum * np.sqrt(6 / 8)


def moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.mean(axis=0), np.atleast_2d(np.cov(rows.T))


def dimensions(rng, *, n: int) -> None:
    print(f"| dimension (n = {n}) | Gaussian, no drift | ball, no drift | debiased, no drift | debiased, 0.5 nats |")
    print("|---|---|---|---|---|")
    centre = 3 * rng.normal(size=768)
    fitted = embeddings(rng, 2000, centre=centre)
    _, deviations, directions = np.linalg.svd(fitted - fitted.mean(axis=0), full_matrices=False)
    scales = deviations / np.sqrt(fitted.shape[0])
    for k in (2, 4, 8, 16, 32, 64, 128, 256, 768):
        project = directions[:k].T / scales[:k]
        read = []
        for _ in range(RUNS):
            before, now, other = ((embeddings(rng, n, centre=centre) - centre) @ project for _ in range(3))
            shifted = other + np.eye(1, k)
            plain = float(gaussian_kl(*moments(now), *moments(before))) if k < n else np.nan
            debiased = [knn_kl(before, side, rng=rng, twins=2) if k <= 64 else np.nan for side in (now, shifted)]
            read.append([plain, _ball_kl(before, now, NEIGHBOURS), *debiased])
        cells = " | ".join("–" if np.isnan(x) else f"{x:.2f}" for x in np.mean(read, axis=0))
        print(f"| {k} | {cells} |", flush=True)


def closed_form(rng, *, n: int) -> None:
    print(f"| dimension (n = {n}) | change | closed form | ball | debiased | error | Gaussian form's error |")
    print("|---|---|---|---|---|---|---|")
    for k in (1, 2, 4, 8, 16):
        for change in ("mean", "scale", "both"):
            mean, scales = np.zeros(k), np.ones(k)
            mean[0] = 0.0 if change == "scale" else 1.0
            scales[: max(1, k // 2)] = {"mean": 1.0, "scale": 1.5, "both": 0.7}[change]
            now, before = rng.normal(size=(n, k)) * scales + mean, rng.normal(size=(n, k))
            true = float(gaussian_kl(mean, np.diag(scales**2), np.zeros(k), np.eye(k)))
            ball, read = _ball_kl(before, now, NEIGHBOURS), knn_kl(before, now, rng=rng)
            fit = unbiased_gaussian_kl(*moments(now), *moments(before), n_p=n, n_q=n)
            errors = f"{read / true - 1:+.1%} | {fit / true - 1:+.1%}"
            print(f"| {k} | {change} | {true:.3f} | {ball:.3f} | {read:.3f} | {errors} |", flush=True)


def shapes(rng, *, n: int) -> None:
    """Print what is read of samples (n, 8) that are not Gaussian, of known divergence."""
    shift = 0.3216  # x + exp(-x) - 1 = 0.37 / 8: Laplace of scale 1, shifted
    tails = 0.5 * np.log(2 * np.pi * np.e * 5 / 3) - T5_ENTROPY
    sides = {
        "product Laplace, shifted": (
            8 * (shift + np.exp(-shift) - 1),
            rng.laplace(size=(n, 8)),
            rng.laplace(size=(n, 8)) + shift,
        ),
        "Student-5 against a Gaussian of its variance": (
            8 * tails,
            rng.normal(size=(n, 8)) * np.sqrt(5 / 3),
            rng.standard_t(5, size=(n, 8)),
        ),
        **{
            f"mixture of two Gaussians {gap} deviations apart, weight .1 and then .5": (
                mixtures_kl(gap),
                mixture(rng, n, gap=gap, weight=0.1),
                mixture(rng, n, gap=gap, weight=0.5),
            )
            for gap in (4, 8)
        },
    }
    print(f"| shape (d = 8, n = {n}) | true | ball | debiased |")
    print("|---|---|---|---|")
    for name, (true, before, now) in sides.items():
        plain = _ball_kl(*_whitened(before, now), NEIGHBOURS)
        print(f"| {name} | {true:.2f} | {plain:.2f} | {knn_kl(before, now, rng=rng):.2f} |", flush=True)


def mixture(rng, n: int, *, gap: float, weight: float) -> np.ndarray:
    """Rows (n, 8) of two Gaussians `gap` apart along the first axis; `weight` of them in the farther one."""
    rows = rng.normal(size=(n, 8))
    rows[rng.random(n) < weight, 0] += gap
    return rows


def mixtures_kl(gap: float) -> float:
    """The divergence in nats of weight .5 from weight .1, by summing over a grid of the first axis."""
    x, step = np.linspace(-10, gap + 10, 20_001, retstep=True)
    before, now = ((1 - w) * norm.pdf(x) + w * norm.pdf(x - gap) for w in (0.1, 0.5))
    return float(np.sum(now * np.log(now / before)) * step)


def power(found: dict[str, pools.Pool], *, runs: int) -> None:
    """Print how often the test finds a share of out-of-scope texts, by dimension; and each direction by itself."""
    print(f"| dimension ({runs} runs) | no drift | 5 % | 10 % | 20 % |")
    print("|---|---|---|---|---|")
    cells = [Cell("banking77", "oos" if share else "none", share, TEXTS) for share in (0.0, 0.05, 0.1, 0.2)]
    directions = {"current": [], "reference": []}
    for k in (4, 8, 16, 32, 64):
        rates = []
        for cell in cells:
            alarms = []
            for seed in range(runs):
                rng, drawn = np.random.default_rng([k, seed]), draw(cell, found, seed=seed)
                basis = fit_basis(drawn.further.vectors, rng=rng, dimension=k)
                sides = [basis.project(side.vectors) for side in (drawn.reference, drawn.current)]
                p = knn_kl_test(*sides, alpha=ALPHA, rng=rng, permutations=PERMUTATIONS).p_value
                alarms.append(p <= ALPHA)
                if k == DIRECTIONS_AT and cell.share == 0.1:
                    for name, alone in zip(directions, each_direction(*sides, rng=rng), strict=True):
                        directions[name].append(alone <= ALPHA)
            rates.append(f"{np.mean(alarms):.2f}")
        print(f"| {k} | {' | '.join(rates)} |", flush=True)
    found_by = ", ".join(f"{name} rows' {np.mean(alarms):.2f}" for name, alarms in directions.items())
    print(f"One direction alone, 10 %, dimension {DIRECTIONS_AT}: {found_by}")


def each_direction(before: np.ndarray, now: np.ndarray, *, rng) -> list[float]:
    """p-values of the log-odds around current rows alone and around reference rows alone."""
    neighbours = 2 * NEIGHBOURS
    graph = _neighbour_graph(np.concatenate(_whitened(before, now)), neighbours, rng=rng)
    sides = np.repeat([0.0, 1.0], [before.shape[0], now.shape[0]])[None, :]
    dealt = np.concatenate([sides, rng.permuted(np.repeat(sides, PERMUTATIONS, axis=0), axis=1)])
    odds = _two_odds(graph, dealt, neighbours)
    return [p_value(float(column[0]), column[1:]) for column in odds.T]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--power", action="store_true", help="the power table instead of the others")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "driftwarden-power")
    parser.add_argument("--corpora", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    options = parser.parse_args()
    if options.power:
        found = pools.load_pools(options.cache, corpora=options.corpora, tell=lambda line: print(line, file=sys.stderr))
        power(found, runs=options.runs)
        return
    rng = np.random.default_rng(21)
    dimensions(rng, n=1000)
    closed_form(rng, n=10_000)
    shapes(np.random.default_rng(21), n=5000)


if __name__ == "__main__":
    main()
