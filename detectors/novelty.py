"""How unlike everything seen before a text is: distance to its nearest texts that the baseline's basis was fitted on.

The score is fixed by the fitted texts alone, so scores of the held-out reference and of a window are exchangeable
without drift. Contamination shows in its upper tail first: see docs/math/verdict.md for the measurements.
"""

import numpy as np

from detectors.checks import FloatArray

NEIGHBOURS = 3
BODY = np.arange(1, 32) / 32
TAIL = 1 - 2.0 ** -np.arange(5.5, 10.5, 0.5)
CHUNK = 1024


def nearest_distances(sample: FloatArray, rows: FloatArray) -> FloatArray:
    """Return the mean distance (n,) of rows (n, k) to their 3 nearest rows of sample (s, k); NaN when it is empty.

    O(n s k) time, O(1024 s) memory.

    >>> nearest_distances(np.array([[0.0], [1.0], [2.0], [9.0]]), np.array([[1.0], [5.0]])).round(6).tolist()
    [0.666667, 3.666667]
    """
    if not sample.shape[0]:
        return np.full(rows.shape[0], np.nan)
    parts = [_nearest(sample, rows[first : first + CHUNK]) for first in range(0, rows.shape[0], CHUNK)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _nearest(sample: FloatArray, rows: FloatArray, *, skip: int = 0) -> FloatArray:
    squared = (rows**2).sum(axis=1)[:, None] + (sample**2).sum(axis=1) - 2 * rows @ sample.T
    count = min(NEIGHBOURS + skip, sample.shape[0])
    nearest = np.sort(np.partition(np.maximum(squared, 0.0), count - 1, axis=1)[:, :count], axis=1)[:, skip:]
    return np.asarray(np.sqrt(nearest).mean(axis=1))


def novelty_edges(sample: FloatArray) -> FloatArray:
    """Return bin edges (b + 1,), 0 to inf: quantiles of the sample's own novelty, finer in the upper tail.

    Each row's distance to itself is left out. Ties in the quantiles merge their bins.
    """
    parts = [_nearest(sample, sample[first : first + CHUNK], skip=1) for first in range(0, sample.shape[0], CHUNK)]
    inner = np.unique(np.quantile(np.concatenate(parts), np.concatenate([BODY, TAIL])))
    return np.concatenate([[0.0], inner[inner > 0], [np.inf]])


def savage_scores(pooled: FloatArray) -> FloatArray:
    """Return each bin's mean of -log(1 - u) over the ranks u it holds in the pooled counts (b,); they average 1.

    The exponential scores weigh the upper tail: locally most powerful when a few texts come from far away, and within
    2 % of the likelihood-ratio score for out-of-scope text among banking questions (docs/math/verdict.md).
    Source: Savage 1956, sec. 7; ties share their mean score.

    >>> savage_scores(np.array([1.0, 1.0])).round(6).tolist()
    [0.306853, 1.693147]
    """
    below = np.concatenate([[0.0], np.cumsum(pooled) / pooled.sum()])
    above = np.clip(1 - below, 0.0, 1.0)
    antiderivative = above * np.log(np.where(above > 0, above, 1.0)) - above
    widths = np.diff(below)
    return np.asarray(np.divide(np.diff(antiderivative), widths, out=np.ones_like(widths), where=widths > 0))


def novelty_shift(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Return the mean Savage score of current less that of reference, counts (..., b): positive when texts are newer.

    Every slice must pool to the same counts, as permutations do.

    >>> float(novelty_shift(np.array([1.0, 0.0]), np.array([0.0, 1.0])).round(6))
    1.386294
    """
    pooled = (reference + current).reshape(-1, reference.shape[-1])[0]
    scores = savage_scores(pooled)
    before = reference @ scores / np.maximum(reference.sum(axis=-1), 1.0)
    return np.asarray(current @ scores / np.maximum(current.sum(axis=-1), 1.0) - before)
