"""Cosine distance of centred, whitened means, made well-defined at the null."""

import numpy as np

from detectors.checks import FloatArray


def lifted_cosine_distance(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return 1 - cos((1, first), (1, second)) over the last axis (..., k), in [0, 2].

    The means arrive centred and whitened. Without drift both are near the origin, where the angle between them is
    noise; the constant coordinate gives each a direction, so that the distance grows with the shift
    (half its square for small ones, in baseline standard deviations) and is symmetric under exchange.

    Raw, uncentred cosine never decides: RoBERTa embeddings share a strong common direction, so any two means have
    a cosine of .99 whatever the texts say.

    >>> float(lifted_cosine_distance(np.array([0.0, 0.0]), np.array([1.0, 0.0])).round(6))
    0.292893
    """
    inner = 1 + np.sum(first * second, axis=-1)
    norms = np.sqrt((1 + np.sum(first**2, axis=-1)) * (1 + np.sum(second**2, axis=-1)))
    return np.asarray(1 - inner / norms)
