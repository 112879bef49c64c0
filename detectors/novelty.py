"""How unlike everything seen before a text is: distance to its nearest texts that the baseline's basis was fitted on.

The score is fixed by the fitted texts alone, so scores of the held-out reference and of a window are exchangeable
without drift. Contamination shows in its upper tail first: see docs/math/verdict.md for the measurements.
"""

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_namespace

from detectors.arrays import Array
from detectors.checks import FloatArray

NEIGHBOURS = 3
BODY = np.arange(1, 32) / 32
TAIL = 1 - 2.0 ** -np.arange(5.5, 10.5, 0.5)
CHUNK = 1024


def nearest_distances(sample: Array, rows: Array) -> Array:
    """Return the mean distance (n,) of rows (n, k) to their 3 nearest rows of sample (s, k); NaN when it is empty.

    Both are numpy arrays, or torch tensors on one device, where the distances stay. O(n s k) time, O(1024 s) memory.

    >>> nearest_distances(np.array([[0.0], [1.0], [2.0], [9.0]]), np.array([[1.0], [5.0]])).round(6).tolist()
    [0.666667, 3.666667]
    """
    xp = array_namespace(sample, rows)
    if not sample.shape[0] or not rows.shape[0]:
        return xp.full((rows.shape[0],), xp.nan, dtype=rows.dtype, device=rows.device)
    return xp.concat([_nearest(sample, rows[first : first + CHUNK]) for first in range(0, rows.shape[0], CHUNK)])


def _nearest(sample: Array, rows: Array, *, skip: int = 0) -> Array:
    xp = array_namespace(sample, rows)
    norms = xp.sum(rows**2, axis=1)[:, None] + xp.sum(sample**2, axis=1)
    squared = norms - 2 * rows @ xp.matrix_transpose(sample)
    nearest = _smallest(xp, squared, count=min(NEIGHBOURS + skip, sample.shape[0]))[:, skip:]
    return xp.mean(xp.sqrt(xp.maximum(nearest, 0.0)), axis=1)


def _smallest(xp: Any, values: Array, *, count: int) -> Array:
    """Return the `count` smallest of each row, ascending: the array API has only a full sort, 70 times slower."""
    if is_numpy_namespace(xp):
        return np.sort(np.partition(values, count - 1, axis=1)[:, :count], axis=1)
    return xp.topk(values, count, dim=1, largest=False).values


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
