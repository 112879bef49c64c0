"""Two samples as one pooled matrix, on numpy arrays or torch tensors: checked here, trusted after."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj
from scipy.spatial.distance import pdist

from detectors.arrays import Array, host, placed
from detectors.checks import FloatArray
from detectors.errors import DetectorInputError
from detectors.results import TooLittleData

DISTANCE_ROWS = 300
COVARIANCE_ROWS = 4096
STRIP_ROWS = 512  # taken to float64 at a time
WHITENING_RIDGE = 0.1  # of the mean variance, times columns per row: the fewer the rows, the less is whitened


@dataclass(frozen=True, slots=True)
class Samples:
    """Pooled rows (n + m, d), reference first, float32 or float64, on the device they came on.

    The rows are centred on their mean and divided by `scale`, the largest magnitude among them: neither changes a
    verdict, and float32 distances then lose nothing to the strong common direction of text embeddings.
    """

    xp: Any
    rows: Array
    reference_n: int
    current_n: int
    scale: float

    @property
    def n(self) -> int:
        """Return the number of pooled rows."""
        return self.reference_n + self.current_n

    def here(self, values: Any, *, dtype: Any = None) -> Array:
        """Return numpy values as an array of the rows' kind on their device (their dtype unless another is named)."""
        return placed(values, self.rows, dtype=dtype)


def pooled_samples(reference: Any, current: Any, *, minimum: int) -> Samples | TooLittleData:
    """Return reference (n, d) and current (m, d) pooled, or TooLittleData below `minimum` rows a side or two kinds.

    Both are numpy arrays (or nested lists) or both torch tensors, float32 or float64; integers become float64.
    Float16 on both sides is computed in float32; on one side it is refused: the rounding alone tells the sides apart.
    Raises DetectorInputError naming rank, width, dtype or the entry that is not finite.
    """
    if minimum < 2:
        raise DetectorInputError(f"minimum must be at least 2 rows a side, got {minimum}")
    sides = [_checked(name, side) for name, side in (("reference", reference), ("current", current))]
    try:
        xp = array_namespace(*sides)
    except TypeError as error:
        raise DetectorInputError(f"reference and current must be of one array library: {error}") from error
    halves = [side.dtype == xp.float16 for side in sides]
    if any(halves) and not all(halves):
        dtypes = " and current ".join(str(side.dtype) for side in sides)
        raise DetectorInputError(f"reference is {dtypes}: half precision on one side is false drift")
    sides = [xp.astype(side, xp.float32) if half else side for side, half in zip(sides, halves, strict=True)]
    widths = [side.shape[1] for side in sides]
    if widths[0] != widths[1] or not widths[0]:
        raise DetectorInputError(f"reference and current must share a positive width, got {widths[0]} and {widths[1]}")
    for name, side in zip(("reference", "current"), sides, strict=True):
        if side.shape[0] < minimum:
            return TooLittleData(f"{name} rows", got=side.shape[0], needed=minimum)
    rows = xp.concat(sides, axis=0)
    if bool(xp.all(rows == rows[:1, :])):
        return TooLittleData("distinct rows", got=1, needed=2)
    scale = max(float(xp.max(rows)), -float(xp.min(rows)))
    rows /= scale
    rows -= xp.astype(xp.sum(rows, axis=0, dtype=xp.float64) / rows.shape[0], rows.dtype)
    return Samples(xp, rows, sides[0].shape[0], sides[1].shape[0], scale)


def whitened(samples: Samples, *, rng: np.random.Generator) -> Samples:
    """Return the samples in coordinates whitened by the regularised covariance of at most 4,096 pooled rows.

    Embeddings vary most along a few directions, and those hide what is new along the others; here every direction
    whose variance stands out of the sampling noise weighs the same. The rows are drawn without regard to sides: a
    permutation test of what comes back is exact. Distances are the regularised Mahalanobis distances, without unit.
    """
    xp, width = samples.xp, samples.rows.shape[1]
    chosen = np.sort(rng.choice(samples.n, min(COVARIANCE_ROWS, samples.n), replace=False))
    covariance = samples.here(np.zeros((width, width)), dtype=xp.float64)
    for start in range(0, chosen.size, STRIP_ROWS):
        index = samples.here(chosen[start : start + STRIP_ROWS], dtype=xp.int64)
        rows = xp.astype(xp.take(samples.rows, index, axis=0), xp.float64)
        covariance += xp.matrix_transpose(rows) @ rows / chosen.size
    mean_variance = float(xp.linalg.trace(covariance)) / width
    if mean_variance == 0:  # the rows drawn are all the same
        return samples
    diagonal = xp.arange(width)
    covariance[diagonal, diagonal] += WHITENING_RIDGE * width / chosen.size * mean_variance
    unmixing = xp.astype(xp.linalg.inv(xp.linalg.cholesky(covariance)), samples.rows.dtype)
    return replace(samples, rows=samples.rows @ xp.matrix_transpose(unmixing), scale=1.0)


def sampled_distances(samples: Samples, *, rng: np.random.Generator) -> FloatArray:
    """Return the positive Euclidean distances between at most 300 pooled rows, [1.0] if those are all the same.

    The rows are drawn without regard to sides: what is set by them leaves a permutation test exact.
    """
    chosen = rng.choice(samples.n, min(DISTANCE_ROWS, samples.n), replace=False)
    index = samples.here(chosen, dtype=samples.xp.int64)
    distances = pdist(host(samples.xp.take(samples.rows, index, axis=0)))
    apart = distances[distances > 0]
    return apart if apart.size else np.ones(1)


def _checked(name: str, values: Any) -> Array:
    array = values if is_array_api_obj(values) else np.asarray(values)
    if array.ndim != 2:
        raise DetectorInputError(f"{name} must be 2-D, got shape {tuple(array.shape)}")
    xp = array_namespace(array)
    if getattr(array, "requires_grad", False):
        raise DetectorInputError(f"{name} tracks gradients: pass it detached")
    if not xp.isdtype(array.dtype, ("real floating", "integral")):
        raise DetectorInputError(f"{name} must be numeric, got dtype {array.dtype}")
    if xp.isdtype(array.dtype, "integral"):
        return xp.astype(array, xp.float64)
    if array.dtype not in (xp.float16, xp.float32, xp.float64):
        raise DetectorInputError(f"{name} must be float16, float32 or float64, got {array.dtype}")
    finite = xp.isfinite(array)
    if not bool(xp.all(finite)):
        where = [int(index[0]) for index in xp.nonzero(~finite)]
        raise DetectorInputError(f"{name}[{where[0]}, {where[1]}] is {float(array[where[0], where[1]])}")
    return array
