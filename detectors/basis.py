"""The basis a baseline fixes: projection, cells, random features, novelty and bin edges."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from detectors.arrays import Array, placed
from detectors.checks import FloatArray, matrix, placed_matrix
from detectors.encoding import pack, unpack
from detectors.errors import DetectorInputError
from detectors.novelty import nearest_distances, novelty_edges

MAGIC = b"DWBA"
MINIMUM_TEXTS = 25
DIMENSION = 64
FIT_SAMPLE = 2048
CONFIDENCE_EDGES = (
    0.0,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.85,
    0.9,
    0.93,
    0.95,
    0.97,
    0.98,
    0.99,
    0.995,
    0.999,
    1.0,
)
ENTROPY_EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 1.8, 2.2, 2.6, 3.0, 3.5, 4.0, 5.0, np.inf)
TOKEN_LENGTH_EDGES = (*range(17), 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, np.inf)
UNKNOWN_SHARE_EDGES = (0.0, 1e-9, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
TRUNCATED_EDGES = (0.0, 0.5, 1.0)
RELATIVE_FLOOR = 1e-3  # directions with less than this share of the largest deviation are noise and left out
RIDGE = 0.1  # whitening divides by no less than about this share of the largest deviation: docs/math/verdict.md


@dataclass(frozen=True, slots=True)
class Basis:
    """What a baseline fixes: mean (d,), components (d, k), centroids (c, k), random features (k, r), a sample (s, k)
    of the projected rows it was fitted on, and the bin edges (b + 1,) of every one-dimensional quantity.

    Read from version 1 it has no sample and no edges but those of confidence; its sketches have empty histograms.
    `project` and what reads its rows take numpy arrays or torch tensors and answer in kind, on the tensor's device.
    """

    mean: FloatArray
    components: FloatArray
    centroids: FloatArray
    features: FloatArray
    offsets: FloatArray
    confidence_edges: FloatArray
    classes: tuple[str, ...]
    sample: npt.NDArray[np.float32]
    novelty_edges: FloatArray
    entropy_edges: FloatArray
    token_length_edges: FloatArray
    unknown_share_edges: FloatArray
    truncated_edges: FloatArray

    def project(self, embeddings: Any) -> Array:
        """Return centred, whitened coordinates (n, k) of embeddings (n, d), float64 where the device has it.

        Raises DetectorInputError naming rank, width, dtype or the entry that is not finite.
        """
        checked = placed_matrix("embeddings", embeddings, columns=self.mean.size)
        return (checked - placed(self.mean, checked)) @ placed(self.components, checked)

    def embedding_of(self, rows: FloatArray) -> FloatArray:
        """Return the embeddings (n, d) that project to these rows (n, k) and lie within the kept components.

        What an embedding holds outside the components is not in a projection: there the baseline's mean stands in.
        """
        return np.asarray(self.mean + rows @ np.linalg.pinv(self.components))

    def cell_of(self, rows: Array) -> Array:
        """Return the nearest centroid (n,), int64, of projected rows (n, k)."""
        xp, norms = array_namespace(rows), (self.centroids**2).sum(axis=1)
        squared = placed(norms, rows) - 2 * rows @ placed(self.centroids.T, rows)
        return xp.astype(xp.argmin(squared, axis=1), xp.int64)

    def feature_map(self, rows: Array) -> Array:
        """Return random Fourier features (n, r) of projected rows. Source: Rahimi & Recht 2007, Algorithm 1."""
        angles = rows @ placed(self.features, rows) + placed(self.offsets, rows)
        return math.sqrt(2 / self.offsets.size) * array_namespace(rows).cos(angles)

    def novelty_of(self, rows: Array) -> Array:
        """Return how far projected rows (n, k) lie from the nearest fitted ones, (n,); NaN without a sample."""
        return nearest_distances(placed(self.sample, rows), rows)

    def edges_of(self, quantity: str) -> FloatArray:
        """Return the bin edges (b + 1,) of one of QUANTITIES; none for those that version 1 lacked."""
        edges: FloatArray = getattr(self, f"{quantity}_edges")
        return edges

    def to_bytes(self) -> bytes:
        """Return the versioned binary form: what was read as version 1 is written as version 1, so digests hold."""
        version = 2 if self.sample.size else 1
        names = _BASIS_ARRAYS if version == 1 else _BASIS_ARRAYS + _BASIS_ARRAYS_2
        arrays = {name: getattr(self, name) for name in names}
        return pack(MAGIC, {"classes": list(self.classes)}, arrays, version=version)

    @classmethod
    def from_bytes(cls, payload: bytes) -> "Basis":
        """Read the binary form. Raises DetectorInputError for corrupted or foreign bytes."""
        header, arrays = unpack(MAGIC, payload)
        older: dict[str, npt.NDArray[Any]] = dict.fromkeys(_BASIS_ARRAYS_2, np.zeros(0))
        older["sample"] = np.zeros((0, arrays["features"].shape[0]), dtype=np.float32)
        return cls(**{**older, **arrays}, classes=tuple(header["classes"]))

    def digest(self) -> str:
        """Return the content digest that sketches carry."""
        return "sha256:" + hashlib.sha256(self.to_bytes()).hexdigest()


_BASIS_ARRAYS = ("mean", "components", "centroids", "features", "offsets", "confidence_edges")
_BASIS_ARRAYS_2 = (
    "sample",
    "novelty_edges",
    "entropy_edges",
    "token_length_edges",
    "unknown_share_edges",
    "truncated_edges",
)


def fit_basis(
    embeddings: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    dimension: int = DIMENSION,
    cells: int = 32,
    classes: Sequence[str] = (),
    n_features: int = 128,
) -> Basis:
    """Fit projection, cells, random features and novelty on embeddings (n, d).

    The projection centres and whitens at most n // 4 leading principal components; the whitening is ridge-regularised
    (each deviation s becomes sqrt(s^2 + (0.1 s_1)^2)), so that directions of little variation are not blown up.
    Raises DetectorInputError for fewer than 25 rows or rows without variation.
    """
    rows = matrix("reference embeddings", embeddings)
    if rows.shape[0] < MINIMUM_TEXTS:
        raise DetectorInputError(f"a basis is fitted on at least {MINIMUM_TEXTS} texts, got {rows.shape[0]}")
    mean = rows.mean(axis=0)
    components = _whitening(rows - mean, dimension=dimension)
    projected = (rows - mean) @ components
    pairs = rng.integers(0, rows.shape[0], size=(2, 2000))
    distances = np.linalg.norm(projected[pairs[0]] - projected[pairs[1]], axis=1)
    bandwidth = float(np.median(distances)) or 1.0
    kept = rng.permutation(rows.shape[0])[:FIT_SAMPLE]
    sample = projected[np.sort(kept)].astype(np.float32)
    return Basis(
        mean=mean,
        components=components,
        centroids=_centroids(projected, cells=cells, rng=rng),
        features=rng.normal(0.0, 1.0 / bandwidth, size=(components.shape[1], n_features)),
        offsets=rng.uniform(0.0, 2 * np.pi, size=n_features),
        confidence_edges=np.array(CONFIDENCE_EDGES),
        classes=tuple(classes),
        sample=sample,
        novelty_edges=novelty_edges(sample.astype(np.float64)),
        entropy_edges=np.array(ENTROPY_EDGES),
        token_length_edges=np.array(TOKEN_LENGTH_EDGES, dtype=np.float64),
        unknown_share_edges=np.array(UNKNOWN_SHARE_EDGES),
        truncated_edges=np.array(TRUNCATED_EDGES),
    )


def _whitening(centred: FloatArray, *, dimension: int) -> FloatArray:
    n = centred.shape[0]
    _, deviations, directions = np.linalg.svd(centred, full_matrices=False)
    scale = deviations / np.sqrt(n)
    if scale[0] <= 1e-9 * max(1.0, float(np.abs(centred).max())):
        raise DetectorInputError(f"the {n} reference embeddings are all the same: nothing to compare with")
    kept = min(dimension, max(2, n // 4), int(np.count_nonzero(scale > RELATIVE_FLOOR * scale[0])))
    return np.asarray(directions[:kept].T / np.sqrt(scale[:kept] ** 2 + (RIDGE * scale[0]) ** 2))


def _centroids(projected: FloatArray, *, cells: int, rng: np.random.Generator) -> FloatArray:
    distinct = np.unique(np.round(projected, 9), axis=0).shape[0]
    count = max(2, min(cells, projected.shape[0] // 10, distinct))
    means = KMeans(n_clusters=count, n_init=4, random_state=int(rng.integers(2**31)))
    with threadpool_limits(1, user_api="openmp"):  # else the last digits follow the number of threads
        means.fit(projected)
    return np.asarray(means.cluster_centers_, dtype=np.float64)
