"""Sums of kernels over the pairs of two samples, under every permutation at once: the Gram matrix is never held."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from detectors.arrays import Array, host
from detectors.checks import FloatArray, IntArray
from detectors.permutation import dealt
from detectors.samples import Samples

TILE_ROWS = 800  # a float32 tile is then 2.5 MB and stays in the processor's cache

Family = Literal["gaussian", "laplace"]
FAMILIES: tuple[Family, ...] = ("gaussian", "laplace")


@dataclass(frozen=True, slots=True)
class Kernel:
    """exp(-d² / 2b²) (gaussian) or exp(-d / b) (laplace): d the Euclidean distance, b the bandwidth in its unit."""

    family: Family
    bandwidth: float


@dataclass(frozen=True, slots=True)
class Bins:
    """Rows that permute as one: positions (s, w) of pooled rows, -1 in empty places; current (s,) is the side."""

    positions: IntArray
    current: npt.NDArray[np.bool_]

    @property
    def width(self) -> int:
        """Return the number of rows that permute as one."""
        return int(self.positions.shape[1])


@dataclass(frozen=True, slots=True)
class PairMeans:
    """Mean of each of K kernels over pairs of distinct rows, under each of B assignments: (K, B) each."""

    within_reference: FloatArray
    within_current: FloatArray
    across: FloatArray

    def squared_mmd(self) -> FloatArray:
        """Return the unbiased MMD². Source: Gretton et al. 2012, eq. 3."""
        return self.within_reference + self.within_current - 2 * self.across


def binned(samples: Samples, *, width: int, rng: np.random.Generator | None) -> Bins:
    """Return each side's rows in bins, in an order drawn anew (the order they came in where no rng is given)."""
    sides = []
    for first, count in ((0, samples.reference_n), (samples.reference_n, samples.current_n)):
        positions = np.full(-(-count // width) * width, -1, dtype=np.int64)
        positions[:count] = first + (np.arange(count) if rng is None else rng.permutation(count))
        sides.append(positions.reshape(-1, width))
    return Bins(np.concatenate(sides), np.repeat([False, True], [side.shape[0] for side in sides]))


def assignments(bins: Bins, *, permutations: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return who is "current", (1 + B, s): first as observed, then permuted among the full bins (a subgroup)."""
    full = (bins.positions >= 0).all(axis=1)
    assigned = np.repeat(bins.current[None].astype(np.uint8), permutations + 1, axis=0)
    assigned[1:, full] = dealt(assigned[0, full], permutations, rng=rng)
    return assigned


def pair_means(
    samples: Samples, bins: Bins, kernels: Sequence[Kernel], assigned: npt.NDArray[np.uint8], *, tile_rows: int
) -> PairMeans:
    """Return the kernels' means under every assignment (B, s) of bins to sides; memory O(tile_rows² + B s)."""
    within_current, by_bin = _pair_sums(samples, bins, kernels, assigned, step=max(1, tile_rows // bins.width))
    from_current = np.zeros(within_current.shape)
    for start in range(0, by_bin.shape[1], TILE_ROWS):  # a run of bins at a time: no float64 copy of all assignments
        part = slice(start, start + TILE_ROWS)
        from_current += by_bin[:, part] @ assigned[:, part].T.astype(np.float64)
    across = from_current - within_current
    within_reference = by_bin.sum(axis=1)[:, None] - from_current - across
    n, m = samples.reference_n, samples.current_n
    return PairMeans(within_reference / (n * (n - 1)), within_current / (m * (m - 1)), across / (n * m))


def _pair_sums(
    samples: Samples, bins: Bins, kernels: Sequence[Kernel], assigned: npt.NDArray[np.uint8], *, step: int
) -> tuple[FloatArray, FloatArray]:
    """Return sums over ordered pairs: both rows current (K, B), and one row in each bin, the other any (K, s)."""
    xp = samples.xp
    sides = samples.here(assigned)
    within = samples.here(np.zeros((len(kernels), assigned.shape[0])), dtype=xp.float64)
    by_bin = samples.here(np.zeros((len(kernels), bins.current.size)), dtype=xp.float64)
    for first, second, squared in _distance_tiles(samples, bins, step=step):
        distances = xp.sqrt(squared)
        for k, kernel in enumerate(kernels):
            sums = _bin_sums(xp, _kernel_values(xp, kernel, squared, distances), width=bins.width)
            pairs = sides[:, first] @ sums  # every permutation at once
            pairs *= sides[:, second]
            by_bin[k, first] += xp.sum(sums, axis=1, dtype=xp.float64)
            if first == second:
                within[k, :] += xp.sum(pairs, axis=1, dtype=xp.float64)
            else:  # the mirror tile holds the same sums
                within[k, :] += 2 * xp.sum(pairs, axis=1, dtype=xp.float64)
                by_bin[k, second] += xp.sum(sums, axis=0, dtype=xp.float64)
    return host(within), host(by_bin)


def _distance_tiles(samples: Samples, bins: Bins, *, step: int) -> Iterator[tuple[slice, slice, Array]]:
    """Yield squared distances between the rows of two runs of bins, each pair of runs once.

    A row is infinitely far from itself and from the empty places of a bin: kernels are 0 there.
    """
    xp, count = samples.xp, bins.current.size
    runs = [slice(start, min(start + step, count)) for start in range(0, count, step)]
    for i, first in enumerate(runs):
        rows, norms = _run_rows(samples, bins.positions[first])
        for second in runs[i:]:
            others, other_norms = (rows, norms) if second == first else _run_rows(samples, bins.positions[second])
            squared = rows @ xp.matrix_transpose(others)
            squared *= -2
            squared += norms[:, None]
            squared += other_norms[None, :]
            squared = xp.clip(squared, 0, None)
            if second == first:
                itself = xp.arange(squared.shape[0])
                squared[itself, itself] = xp.inf
            yield first, second, squared


def _run_rows(samples: Samples, positions: IntArray) -> tuple[Array, Array]:
    xp = samples.xp
    index = samples.here(np.maximum(positions, 0).ravel(), dtype=xp.int64)
    rows = xp.take(samples.rows, index, axis=0)
    empty = samples.here((positions < 0).ravel(), dtype=xp.bool)
    return rows, xp.where(empty, xp.inf, xp.sum(rows * rows, axis=1))


def _kernel_values(xp: Any, kernel: Kernel, squared: Array, distances: Array) -> Array:
    if kernel.family == "gaussian":
        return xp.exp(squared * (-0.5 / kernel.bandwidth**2))
    return xp.exp(distances * (-1 / kernel.bandwidth))


def _bin_sums(xp: Any, values: Array, *, width: int) -> Array:
    if width == 1:
        return values
    by_row = xp.sum(xp.reshape(values, (-1, width, values.shape[1])), axis=1)
    return xp.sum(xp.reshape(by_row, (by_row.shape[0], -1, width)), axis=2)
