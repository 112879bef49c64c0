"""Classifier two-sample test: can a cross-fitted classifier tell current rows from reference rows, and which ones?"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.arrays import Array, host
from detectors.checks import FloatArray
from detectors.errors import DetectorInputError
from detectors.permutation import dealt_in_blocks, p_value
from detectors.results import TooLittleData
from detectors.samples import Samples, pooled_samples, sampled_distances

MINIMUM = 50
FOLDS = 5
RANDOM_FEATURES = 256
RIDGE = 1.0  # in mean eigenvalues of the features' covariance
BLOCK = 128  # permutations refitted at a time: bounds memory at n · BLOCK scores


@dataclass(frozen=True, slots=True)
class ClassifierResult:
    """The test and every row's cross-fitted score, in the order the rows came.

    statistic : area under the ROC curve of the held-out scores, 0.5 on average without drift.
    effect_size : 2 AUC - 1 (Somers' D), in [-1, 1].
    reference_scores (n,), current_scores (m,) : estimates of P(current | row) less the share of current rows;
        the highest current ones are the most typical of what is new.
    """

    statistic: float
    p_value: float
    effect_size: float
    reference_scores: FloatArray
    current_scores: FloatArray
    permutations: int
    name: str = "classifier"
    unit: str = "AUC"


@dataclass(frozen=True, slots=True)
class _Fold:
    """One held-out fold: its rows, the features' mean over the others, and their regularised covariance (p, p)."""

    held: slice
    mean: Array
    covariance: Array


def classifier(
    reference: Any,
    current: Any,
    *,
    rng: np.random.Generator,
    permutations: int = 999,
    minimum: int = MINIMUM,
) -> ClassifierResult | TooLittleData:
    """Test whether a classifier tells current (m, d) from reference (n, d) better than chance on rows it never saw.

    Ridge regression of the side on the embeddings and 256 random Fourier features, cross-fitted over five folds drawn
    without regard to sides. Held-out scores of one fit depend on each other, so no binomial or Mann–Whitney null
    holds for their AUC; but ridge is linear in the labels, so that a refit for every one of B permuted labellings is
    a column more in the same matrix products, and p = (1 + #{AUC* >= AUC}) / (B + 1) is exact for exchangeable rows.

    Arrays are numpy or torch, float32 or float64, computed in that precision on their device, normal equations solved
    in float64 (float16 on both sides: in float32). Folds go by the order of the rows: another order is another draw, as
    another seed is. Time O((n + m) p (p + B) + p³) for p = d + 256; memory O((n + m) p). Returns TooLittleData below
    `minimum` rows a side or without two distinct rows. Raises DetectorInputError.

    Source: Lopez-Paz & Oquab 2017, sec. 3 (the test); Friedman 2003 (any classifier score as a statistic, permuted).

    >>> rng = np.random.default_rng(0)
    >>> found = classifier(rng.normal(size=(100, 8)), rng.normal(0.5, size=(100, 8)), rng=rng)
    >>> found.p_value
    0.001
    """
    samples = pooled_samples(reference, current, minimum=minimum)
    if isinstance(samples, TooLittleData):
        return samples
    if permutations < 1:
        raise DetectorInputError(f"permutations must be at least 1, got {permutations}")
    order = rng.permutation(samples.n)  # folds are runs of it, and ties of scores fall by it: blind to the sides
    features = _features(samples, order, rng=rng)
    folds = _folds(samples, features)
    sides = (order >= samples.reference_n).astype(np.uint8)
    scores = _cross_fitted(samples, features, folds, sides[None])[0]
    null = [
        host(_auc(samples.xp, _cross_fitted(samples, features, folds, labels), samples.here(labels)))
        for labels in dealt_in_blocks(sides, permutations=permutations, block=BLOCK, rng=rng)
    ]
    auc = float(_auc(samples.xp, scores[None, :], samples.here(sides[None]))[0])
    in_order = np.empty(samples.n)
    in_order[order] = host(scores)
    return ClassifierResult(
        statistic=auc,
        p_value=p_value(auc, np.concatenate(null)),
        effect_size=2 * auc - 1,
        reference_scores=in_order[: samples.reference_n],
        current_scores=in_order[samples.reference_n :],
        permutations=permutations,
    )


def _features(samples: Samples, order: npt.NDArray[np.int64], *, rng: np.random.Generator) -> Array:
    """Return rows of unit mean squared norm beside random Fourier features, centred, in the order given (n + m, p).

    Source: Rahimi & Recht 2007, eq. 2; the bandwidth is the median pooled distance.
    """
    xp = samples.xp
    rows = xp.take(samples.rows, samples.here(order, dtype=xp.int64), axis=0)
    bandwidth = float(np.median(sampled_distances(samples, rng=rng)))
    directions = samples.here(rng.normal(0.0, 1 / bandwidth, size=(rows.shape[1], RANDOM_FEATURES)))
    offsets = samples.here(rng.uniform(0.0, 2 * np.pi, size=RANDOM_FEATURES))
    waves = xp.cos(rows @ directions + offsets) * float(np.sqrt(2 / RANDOM_FEATURES))
    waves -= xp.mean(waves, axis=0)
    rows /= float(xp.sqrt(xp.sum(rows * rows, dtype=xp.float64) / rows.shape[0]))
    return xp.concat([rows, waves], axis=1)


def _folds(samples: Samples, features: Array) -> list[_Fold]:
    xp, (n, width) = samples.xp, features.shape
    edges = np.linspace(0, n, FOLDS + 1).astype(int)
    held = [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    squares = [xp.astype(xp.matrix_transpose(features[part, :]) @ features[part, :], xp.float64) for part in held]
    totals = [xp.sum(features[part, :], axis=0, dtype=xp.float64) for part in held]
    square, total = sum(squares), sum(totals)
    penalty = RIDGE * float(xp.linalg.trace(square)) / (n * width)
    identity = samples.here(np.eye(width), dtype=xp.float64)
    folds = []
    for part, own_square, own_total in zip(held, squares, totals, strict=True):
        others = n - (part.stop - part.start)
        mean = (total - own_total) / others
        covariance = (square - own_square) / others - mean[:, None] * mean[None, :]
        folds.append(_Fold(part, mean, covariance + penalty * identity))
    return folds


def _cross_fitted(samples: Samples, features: Array, folds: list[_Fold], labels: npt.NDArray[np.uint8]) -> Array:
    """Return held-out ridge scores (b, n + m) under every row of labels (b, n + m) of 0 and 1."""
    xp, n = samples.xp, features.shape[0]
    sides = samples.here(labels)
    products = [xp.astype(sides[:, fold.held] @ features[fold.held, :], xp.float64) for fold in folds]
    counts = [xp.sum(sides[:, fold.held], axis=1, dtype=xp.float64) for fold in folds]
    product, count = sum(products), sum(counts)
    scores = []
    for fold, own_product, own_count in zip(folds, products, counts, strict=True):
        others = n - (fold.held.stop - fold.held.start)
        covariances = (product - own_product - (count - own_count)[:, None] * fold.mean[None, :]) / others
        weights = xp.linalg.solve(fold.covariance, xp.matrix_transpose(covariances))
        held = xp.matrix_transpose(xp.astype(weights, features.dtype)) @ xp.matrix_transpose(features[fold.held, :])
        scores.append(held - xp.astype(fold.mean @ weights, features.dtype)[:, None])
    return xp.concat(scores, axis=1)


def _auc(xp: Any, scores: Array, sides: Array) -> Array:
    """Return the area under the ROC curve (b,) of scores (b, n) for sides (b, n), from rank sums."""
    n = scores.shape[1]
    ranked = xp.take_along_axis(sides, xp.argsort(scores, axis=1), axis=1)
    ranks = xp.arange(1, n + 1, dtype=xp.float64)
    current = xp.sum(sides, axis=1, dtype=xp.float64)
    return (xp.astype(ranked, xp.float64) @ ranks - current * (current + 1) / 2) / (current * (n - current))
