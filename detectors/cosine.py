"""Cosines of centred, whitened embeddings, made well-defined at the null; the raw cosine is only shown."""

import numpy as np

from detectors.checks import FloatArray


def lifted_cosine_distance(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return 1 - cos((1, first), (1, second)) over the last axis (..., k), in [0, 2].

    The means arrive centred and whitened. Without drift both are near the origin, where the angle between them is
    noise; the constant coordinate gives each a direction, so that the distance grows with the shift
    (half its square for small ones, in baseline standard deviations) and is symmetric under exchange.

    Raw, uncentred cosine is shown beside it and never decides: `raw_cosine`.

    >>> float(lifted_cosine_distance(np.array([0.0, 0.0]), np.array([1.0, 0.0])).round(6))
    0.292893
    """
    inner = 1 + np.sum(first * second, axis=-1)
    norms = np.sqrt((1 + np.sum(first**2, axis=-1)) * (1 + np.sum(second**2, axis=-1)))
    return np.asarray(1 - inner / norms)


def centroid_cosines(rows: FloatArray) -> FloatArray:
    """Return each row's cosine (n,) to the reference centroid, in (0, 1]; rows (n, k) are centred and whitened.

    In the lifted space of `lifted_cosine_distance` the centroid is (1, 0) and a row (1, x), so the cosine is
    1/sqrt(1 + |x|^2): 1 for a text at the centre, the smaller the less typical. Its distribution shows what the mean
    cannot: traffic that narrows to what is typical, or splits to either side of it.

    >>> centroid_cosines(np.array([[0.0, 0.0], [3.0, 4.0]])).round(6).tolist()
    [1.0, 0.196116]
    """
    return np.asarray(1 / np.sqrt(1 + np.sum(rows**2, axis=-1)))


def raw_cosine(first_mean: FloatArray, second_mean: FloatArray) -> float | None:
    """Return the cosine in [-1, 1] of two uncentred mean embeddings (d,); None where one is the origin.

    Shown for comparison, never decides. Embeddings of RoBERTa-family models lie in a narrow cone: all texts share one
    long common direction, and a mean over many texts is nearly that direction alone. So any two means have a cosine
    of .99 whatever the texts say: a drift moves it in the third decimal, no threshold carries over to another
    model, and it has no usable null. `lifted_cosine_distance` takes the common direction off (centring) and gives
    every direction its own unit (whitening). Source: Ethayarajh 2019, sec. 4.1 (anisotropy).

    >>> round(raw_cosine(np.array([20.0, 1.0]), np.array([20.0, -1.0])), 6)
    0.995012
    """
    norms = float(np.linalg.norm(first_mean) * np.linalg.norm(second_mean))
    return float(np.clip(first_mean @ second_mean / norms, -1.0, 1.0)) if norms > 0 else None
