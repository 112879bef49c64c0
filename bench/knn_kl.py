"""Nearest-neighbour and Gaussian KL by dimension and against the closed form: the tables of docs/math/kl.md.

python bench/knn_kl.py   (about three minutes on one core)
"""

import numpy as np

from detectors.kl import gaussian_kl, unbiased_gaussian_kl
from detectors.neighbours import NEIGHBOURS, _ball_kl, knn_kl

RUNS = 4


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


def main() -> None:
    rng = np.random.default_rng(21)
    dimensions(rng, n=1000)
    closed_form(rng, n=10_000)


if __name__ == "__main__":
    main()
