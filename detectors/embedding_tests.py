"""What is measured on the sampled embeddings of both sides: statistics of one joint permutation, and their effects."""

import math
from dataclasses import dataclass

import numpy as np

from detectors.checks import FloatArray
from detectors.cosine import centroid_cosines, lifted_cosine_distance
from detectors.kl import gaussian_kl, shrunk
from detectors.mmd import feature_mmd
from detectors.permutation import RowTest
from detectors.sketch import Sketch
from detectors.univariate import anderson_darling, ks_distance, pooled_bins

GAUSSIAN_DIMENSION = 32
KERNEL_FEATURES = 256
BANDWIDTHS = (0.25, 0.5, 1.0)  # of the root mean squared distance: docs/math/verdict.md
COSINE_DIGITS = 4  # copies of one text, embedded in other batches, stay one value


@dataclass(frozen=True, slots=True)
class Measured:
    """A statistic of the pooled projected rows (N, k), those of the reference first; its unit, and its effect."""

    test: RowTest
    unit: str
    effect: float


def embedding_tests(reference: Sketch, current: Sketch, *, rng: np.random.Generator) -> dict[str, Measured]:
    """Return what is measured on the embeddings of two sketches of one basis, by detector."""
    rows = np.concatenate([reference.rows, current.rows]).astype(np.float64)
    sizes = (reference.rows.shape[0], current.rows.shape[0])
    return {
        "kl_gaussian": Measured(_gaussian_test(rows, *sizes), "nats", _spread_ratio(reference, current)),
        "cosine": Measured(_cosine_test(rows, *sizes), "distance", _mean_shift(reference, current)),
        "cosine_spread": _cosine_spread(rows, sizes[0]),
        "mmd_features": _mmd(rows, *sizes, rng=rng),
    }


def _cosine_test(rows: FloatArray, reference_n: int, current_n: int) -> RowTest:
    """Return the test of the cosine distance of the two mean embeddings."""
    return RowTest(rows, lambda before, now: lifted_cosine_distance(before / reference_n, now / current_n))


def _cosine_spread(rows: FloatArray, reference_n: int) -> Measured:
    """Measure how the sampled texts' cosines to the baseline's centroid are spread."""
    bins = pooled_bins(np.round(centroid_cosines(rows), COSINE_DIGITS))
    indicators = np.eye(int(bins.max()) + 1)[bins]
    effect = ks_distance(indicators[:reference_n].sum(axis=0), indicators[reference_n:].sum(axis=0))
    return Measured(RowTest(indicators, anderson_darling), "A²", float(effect))


def _mmd(rows: FloatArray, reference_n: int, current_n: int, *, rng: np.random.Generator) -> Measured:
    """Measure the distance of mean random features: MMD under a sum of Gaussian kernels.

    Their bandwidths are shares of the pooled rows' root mean squared distance, so they do not know who is who. The
    effect is sqrt(MMD² / (the two mean kernels within a side)), both unbiased: 0 alike, 1 when no text is near one of
    the other side. Source: Rahimi & Recht 2007, Algorithm 1; Gretton et al. 2012, lemma 6.
    """
    distance = math.sqrt(2 * float(rows.var(axis=0).sum())) or 1.0
    frequencies = rng.normal(size=(rows.shape[1], KERNEL_FEATURES)) / np.resize(BANDWIDTHS, KERNEL_FEATURES)
    phases = rng.uniform(0.0, 2 * np.pi, size=KERNEL_FEATURES)
    # angles of some radians lose nothing that matters in single precision, and cosines cost a third
    scaled = ((rows - rows.mean(axis=0)) / distance).astype(np.float32)
    angles = scaled @ frequencies.astype(np.float32) + phases.astype(np.float32)
    features = np.sqrt(2 / KERNEL_FEATURES) * np.cos(angles).astype(np.float64)

    def statistic(before: FloatArray, now: FloatArray) -> FloatArray:
        return np.asarray(((now / current_n - before / reference_n) ** 2).sum(axis=1))

    before, now = features[:reference_n].sum(axis=0), features[reference_n:].sum(axis=0)
    within = sum((float(side @ side) - n) / (n * (n - 1)) for side, n in ((before, reference_n), (now, current_n)))
    apart = feature_mmd(before, reference_n, now, current_n)
    effect = math.sqrt(min(1.0, max(0.0, apart) / within)) if within > 0 else 0.0
    return Measured(RowTest(features, statistic), "MMD²", effect)


def _gaussian_test(rows: FloatArray, reference_n: int, current_n: int) -> RowTest:
    """Return the test of the Gaussian divergence of the leading 32 coordinates, from sums and sums of products.

    Rows are centred on their mean and, where they lie far out, divided by their root mean square: else the rounding of
    their products would pass the covariance of a side that hardly varies, and leave it not positive definite.
    """
    leading = rows[:, :GAUSSIAN_DIMENSION]
    centred = leading - leading.mean(axis=0)
    leading = np.ascontiguousarray(centred.T) / max(1.0, math.sqrt(float((centred**2).mean())))
    k = leading.shape[0]
    first, second = np.triu_indices(k)
    packed = np.zeros((k, k), dtype=np.int64)  # where the product of coordinates i and j stands in the feature sums
    packed[first, second] = packed[second, first] = np.arange(k, k + first.size)

    def moments(sums: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
        mean = sums[:, :k] / n
        products = np.take(sums, packed.ravel(), axis=1).reshape(-1, k, k)
        return mean, shrunk(products / n - mean[:, :, None] * mean[:, None, :], n)

    def statistic(before: FloatArray, now: FloatArray) -> FloatArray:
        return gaussian_kl(*moments(now, current_n), *moments(before, reference_n))

    return RowTest(np.concatenate([leading, leading[first] * leading[second]]).T, statistic)


def _mean_shift(reference: Sketch, current: Sketch) -> float:
    """Return the distance of the two means less what sampling alone adds, in baseline standard deviations."""
    gap = current.total / current.n - reference.total / reference.n
    noise = sum(float(np.trace(_covariance(sketch))) / sketch.n for sketch in (reference, current))
    return math.sqrt(max(0.0, float(gap @ gap) - noise))


def _spread_ratio(reference: Sketch, current: Sketch) -> float:
    """Return the ratio of the generalised standard deviations per direction."""
    k = min(GAUSSIAN_DIMENSION, reference.total.size)
    before, now = (
        float(np.linalg.slogdet(shrunk(_covariance(sketch)[:k, :k], sketch.n))[1]) for sketch in (reference, current)
    )
    return math.exp((now - before) / (2 * k))


def _covariance(sketch: Sketch) -> FloatArray:
    mean = sketch.total / sketch.n
    return np.asarray(sketch.outer / sketch.n - np.outer(mean, mean))
