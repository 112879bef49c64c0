"""Maximum mean discrepancy: exact under many kernels at once, the Gram matrix never held; or from feature sums."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from detectors.checks import FloatArray
from detectors.errors import DetectorInputError
from detectors.gram import FAMILIES, TILE_ROWS, Kernel, PairMeans, assignments, binned, pair_means
from detectors.permutation import p_value
from detectors.results import TooLittleData
from detectors.samples import Samples, pooled_samples, sampled_distances, whitened

MINIMUM = 50
MOST_BINS = 512  # more rows than these permute in bins …
FEWEST_BINS = 64  # … of which the smaller side keeps at least these
BANDWIDTHS = 3
MIDDLE = 1  # the Gaussian kernel of the embedding whose bandwidth is near the median distance
TIE_SHARE = 0.01  # of the null's deviation: closer statistics tie; float32 rounding is below a third of it

Coordinates = Literal["embedding", "whitened"]


@dataclass(frozen=True, slots=True)
class MmdResult:
    """The aggregated p-value, and what the kernel that spoke loudest says.

    statistic : unbiased squared distance of that kernel's means, at most 2, below 0 by chance without drift.
    kernel, coordinates : what spoke; the bandwidth is in the embedding's unit, or without unit where it is whitened.
    effect_size : in [0, 1], the correlation ratio of side and position in the feature space of one Gaussian kernel on
        the embedding, whichever spoke: so that windows compare. About 0 without drift, it grows in proportion to
        the share of texts that changed and not with their number.
    """

    statistic: float
    p_value: float
    effect_size: float
    kernel: Kernel
    coordinates: Coordinates
    permutations: int
    name: str = "mmd"
    unit: str = "squared kernel distance"


def mmd(
    reference: Any,
    current: Any,
    *,
    rng: np.random.Generator,
    permutations: int = 999,
    minimum: int = MINIMUM,
    bin_width: int | None = None,
    tile_rows: int = TILE_ROWS,
) -> MmdResult | TooLittleData:
    """Test whether reference (n, d) and current (m, d) come of one distribution; no bandwidth needs choosing.

    Twelve kernels, Gaussian and Laplace with three bandwidths from half the 5 % to the 95 % quantile of the pooled
    pairwise distances, on the embedding and on its whitened coordinates, are evaluated under one shared set of
    permutations; their permutation p-values combine by the harmonic mean, itself ranked among the same permutations,
    so that the p-value is exact for exchangeable rows: (1 + #{T* >= T}) / (B + 1).

    Arrays are numpy or torch, float32 or float64, and are computed in that precision on their device, sums in
    float64 (float16 on both sides: in float32). More than 512 rows permute in bins of `bin_width` rows of one side (by
    default as many as leave 512 bins, and 64 on the smaller side): as exact, hardly less powerful, and B permutations
    cost no more than one. Permutations go by the order of the rows: another order is another draw, as another seed is,
    and may let another of two like kernels speak.

    Time O((n + m)² d + d³ + B s²) for s bins; memory O(tile_rows² + d² + B s) beside two copies of the rows.
    Returns TooLittleData below `minimum` rows a side or without two distinct rows. Raises DetectorInputError.

    Source: Gretton et al. 2012 (MMD); Schrab et al. 2023 and Biggs et al. 2023 (aggregation, bandwidths);
    Domingo-Enrich, Dwivedi & Mackey 2025 (bins).

    >>> rng = np.random.default_rng(0)
    >>> found = mmd(rng.normal(size=(100, 8)), rng.normal(0.5, size=(100, 8)), rng=rng)
    >>> found.p_value
    0.001
    """
    samples = pooled_samples(reference, current, minimum=minimum)
    if isinstance(samples, TooLittleData):
        return samples
    width = _bin_width(samples) if bin_width is None else bin_width
    smaller = min(samples.reference_n, samples.current_n)
    if permutations < 1 or tile_rows < 1 or not 1 <= width <= smaller:
        raise DetectorInputError(
            f"permutations and tile_rows must be positive and bin_width in [1, {smaller}], "
            f"got {permutations}, {tile_rows} and {width}"
        )
    bins = binned(samples, width=width, rng=rng)
    assigned = assignments(bins, permutations=permutations, rng=rng)
    parts = []
    kernels: list[tuple[Coordinates, Kernel]] = []
    for coordinates, placed in _placements(samples, rng=rng):
        ladder = _kernel_ladder(placed, rng=rng)
        parts.append(pair_means(placed, bins, ladder, assigned, tile_rows=tile_rows))
        kernels += [(coordinates, Kernel(one.family, one.bandwidth * placed.scale)) for one in ladder]
    statistics = np.concatenate([part.squared_mmd() for part in parts])
    ranks = _ranks(statistics)
    combined = np.mean(1 / ranks, axis=0)
    spoke = _loudest(statistics, ranks)
    return MmdResult(
        statistic=float(statistics[spoke, 0]),
        p_value=p_value(float(combined[0]), combined[1:]),
        effect_size=_correlation_ratio(parts[0], MIDDLE),
        kernel=kernels[spoke][1],
        coordinates=kernels[spoke][0],
        permutations=permutations,
    )


def squared_mmd(reference: Any, current: Any, *, kernel: Kernel, tile_rows: int = TILE_ROWS) -> float:
    """Return the unbiased MMD² of reference (n, d) and current (m, d) under one kernel, n and m at least 2.

    The U-statistic: means over pairs of distinct rows, so that its expectation without drift is 0. Tiles, precision
    and array kinds as in `mmd`. Source: Gretton et al. 2012, eq. 3.

    >>> x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    >>> round(squared_mmd(x, y, kernel=Kernel("laplace", 1.0)), 6)
    0.39159
    """
    if kernel.bandwidth <= 0 or not np.isfinite(kernel.bandwidth) or kernel.family not in FAMILIES:
        raise DetectorInputError(f"a kernel is gaussian or laplace with a positive bandwidth, got {kernel}")
    samples = pooled_samples(reference, current, minimum=2)
    if isinstance(samples, TooLittleData):
        if samples.reason == "distinct rows":
            return 0.0
        raise DetectorInputError(f"at least 2 {samples.reason} are needed, got {samples.got}")
    bins = binned(samples, width=1, rng=None)
    scaled = Kernel(kernel.family, kernel.bandwidth / samples.scale)
    means = pair_means(samples, bins, [scaled], bins.current[None].astype(np.uint8), tile_rows=tile_rows)
    return float(means.squared_mmd()[0, 0])


def feature_mmd(reference_total: npt.ArrayLike, n: int, current_total: npt.ArrayLike, m: int) -> float:
    """Return MMD² from sums of random features, totals (r,) over n and m rows: sums merge, so a window costs r.

    The features are those of `Basis.feature_map`, sqrt(2/r) cos(w'x + b): their inner product estimates a Gaussian
    kernel to O(1/sqrt(r)) and each has a squared norm of 1 on average, which is what is taken off to debias, as the
    U-statistic leaves out a row's kernel with itself. Source: Rahimi & Recht 2007, eq. 2; Gretton et al. 2012, eq. 3.

    >>> feature_mmd(np.array([2.0, 0.0]), 2, np.array([0.0, 2.0]), 2)
    2.0
    """
    totals = [np.asarray(total, dtype=np.float64) for total in (reference_total, current_total)]
    if totals[0].ndim != 1 or not totals[0].size or totals[0].shape != totals[1].shape:
        raise DetectorInputError(f"totals must be 1-D and of one length, got {totals[0].shape} and {totals[1].shape}")
    if min(n, m) < 2:
        raise DetectorInputError(f"feature_mmd needs at least 2 rows a side, got {n} and {m}")
    for name, total in zip(("reference_total", "current_total"), totals, strict=True):
        if not np.isfinite(total).all():
            raise DetectorInputError(f"{name} holds {total[~np.isfinite(total)][0]}")
    reference, current = totals
    within = [(total @ total - count) / (count * (count - 1)) for total, count in ((reference, n), (current, m))]
    return float(within[0] + within[1] - 2 * (reference @ current) / (n * m))


def _placements(samples: Samples, *, rng: np.random.Generator) -> Iterator[tuple[Coordinates, Samples]]:
    yield "embedding", samples
    yield "whitened", whitened(samples, rng=rng)


def _kernel_ladder(samples: Samples, *, rng: np.random.Generator) -> list[Kernel]:
    low, high = np.quantile(sampled_distances(samples, rng=rng), [0.05, 0.95])
    return [Kernel(family, float(b)) for family in FAMILIES for b in np.geomspace(low / 2, high, BANDWIDTHS)]


def _bin_width(samples: Samples) -> int:
    smaller = min(samples.reference_n, samples.current_n)
    return max(1, min(-(-samples.n // MOST_BINS), smaller // FEWEST_BINS))


def _ranks(statistics: FloatArray) -> FloatArray:
    """Return every column's p-value among all columns, kernel by kernel (K, B), near ties counted against it."""
    ranks = np.empty_like(statistics)
    for row, values in zip(ranks, statistics, strict=True):
        below = np.searchsorted(np.sort(values), values - TIE_SHARE * values.std(), side="left")
        row[:] = 1 - below / values.size
    return ranks


def _loudest(statistics: FloatArray, ranks: FloatArray) -> int:
    """Return the kernel of the smallest p-value and, among those, the farthest above its null in deviations."""
    above = statistics[:, 0] - statistics.mean(axis=1)
    deviations = np.divide(above, statistics.std(axis=1), out=np.zeros_like(above), where=statistics.std(axis=1) > 0)
    return int(np.lexsort((-deviations, ranks[:, 0]))[0])


def _correlation_ratio(means: PairMeans, kernel: int) -> float:
    """Return sqrt(between / total variance) in feature space, both sides weighing half; k(x, x) = 1."""
    reference, current, across = (
        float(part[kernel, 0]) for part in (means.within_reference, means.within_current, means.across)
    )
    between = max(0.0, reference + current - 2 * across) / 4
    total = 1 - (reference + current + 2 * across) / 4
    return float(np.sqrt(min(1.0, between / total))) if total > 0 else 0.0
