"""Synthetic rows shaped like text embeddings."""

from functools import cache

import numpy as np

DIMENSION = 768


def anisotropic(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return embeddings (n, 768): power-law spectrum, heavy tails, one direction that all rows share, rotated."""
    spectrum = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -0.5  # standard deviations: variances 1/i
    rows = rng.standard_normal((n, DIMENSION), dtype=np.float32) * spectrum
    rows *= np.sqrt(6 / rng.chisquare(6, size=(n, 1))).astype(np.float32)
    rows[:, 0] += 8.0
    return np.asarray(rows @ _rotation())


@cache
def _rotation() -> np.ndarray:
    square = np.random.default_rng(0).standard_normal((DIMENSION, DIMENSION))
    return np.asarray(np.linalg.qr(square)[0], dtype=np.float32)
