"""The basis a baseline fixes, and the mergeable sketch every window folds into."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from detectors.checks import FloatArray, IntArray, matrix, within_float32
from detectors.encoding import pack, unpack
from detectors.errors import DetectorInputError

BASIS_MAGIC, SKETCH_MAGIC = b"DWBA", b"DWSK"
MINIMUM_TEXTS = 50
ROW_SAMPLE = 2048
CONFIDENCE_EDGES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0)
RELATIVE_FLOOR = 1e-3  # directions with less than this share of the largest deviation are not blown up by whitening
UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Basis:
    """What a baseline fixes: mean (d,), components (d, k), centroids (c, k), random features (k, r) and edges."""

    mean: FloatArray
    components: FloatArray
    centroids: FloatArray
    features: FloatArray
    offsets: FloatArray
    confidence_edges: FloatArray
    classes: tuple[str, ...]

    def project(self, embeddings: npt.ArrayLike) -> FloatArray:
        """Return centred, whitened coordinates (n, k) of embeddings (n, d)."""
        checked = matrix("embeddings", embeddings, columns=self.mean.size)
        return np.asarray((checked - self.mean) @ self.components)

    def cell_of(self, rows: FloatArray) -> IntArray:
        """Return the nearest centroid (n,) of projected rows (n, k)."""
        squared = (self.centroids**2).sum(axis=1) - 2 * rows @ self.centroids.T
        return np.asarray(squared.argmin(axis=1), dtype=np.int64)

    def feature_map(self, rows: FloatArray) -> FloatArray:
        """Return random Fourier features (n, r) of projected rows. Source: Rahimi & Recht 2007, Algorithm 1."""
        return np.asarray(np.sqrt(2 / self.offsets.size) * np.cos(rows @ self.features + self.offsets))

    def to_bytes(self) -> bytes:
        """Return the versioned binary form."""
        arrays = {name: getattr(self, name) for name in _BASIS_ARRAYS}
        return pack(BASIS_MAGIC, {"classes": list(self.classes)}, arrays)

    @classmethod
    def from_bytes(cls, payload: bytes) -> "Basis":
        """Read the binary form. Raises DetectorInputError for corrupted or foreign bytes."""
        header, arrays = unpack(BASIS_MAGIC, payload)
        return cls(**{name: arrays[name] for name in _BASIS_ARRAYS}, classes=tuple(header["classes"]))

    def digest(self) -> str:
        """Return the content digest that sketches carry."""
        return "sha256:" + hashlib.sha256(self.to_bytes()).hexdigest()


_BASIS_ARRAYS = ("mean", "components", "centroids", "features", "offsets", "confidence_edges")


def fit_basis(
    embeddings: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    dimension: int = 32,
    cells: int = 32,
    classes: Sequence[str] = (),
    n_features: int = 128,
) -> Basis:
    """Fit projection, cells and random features on embeddings (n, d).

    The projection centres and whitens the leading principal components, at most n // 8 of them. Raises
    DetectorInputError for fewer than 25 rows or rows without variation.
    """
    rows = matrix("reference embeddings", embeddings)
    if rows.shape[0] < MINIMUM_TEXTS // 2:
        raise DetectorInputError(f"a basis needs at least {MINIMUM_TEXTS} reference texts, got {2 * rows.shape[0]}")
    mean = rows.mean(axis=0)
    _, deviations, directions = np.linalg.svd(rows - mean, full_matrices=False)
    scale = deviations / np.sqrt(rows.shape[0])
    if scale[0] <= 1e-9 * max(1.0, float(np.abs(rows).max())):
        raise DetectorInputError(f"the {rows.shape[0]} reference embeddings are all the same: nothing to compare with")
    kept = min(dimension, max(2, rows.shape[0] // 8), int(np.count_nonzero(scale > RELATIVE_FLOOR * scale[0])))
    components = directions[:kept].T / scale[:kept]
    projected = (rows - mean) @ components
    distinct = np.unique(np.round(projected, 9), axis=0).shape[0]
    count = max(2, min(cells, rows.shape[0] // 10, distinct))
    means = KMeans(n_clusters=count, n_init=4, random_state=int(rng.integers(2**31))).fit(projected)
    pairs = rng.integers(0, rows.shape[0], size=(2, 2000))
    distances = np.linalg.norm(projected[pairs[0]] - projected[pairs[1]], axis=1)
    bandwidth = float(np.median(distances)) or 1.0
    return Basis(
        mean=mean,
        components=components,
        centroids=np.asarray(means.cluster_centers_, dtype=np.float64),
        features=rng.normal(0.0, 1.0 / bandwidth, size=(kept, n_features)),
        offsets=rng.uniform(0.0, 2 * np.pi, size=n_features),
        confidence_edges=np.array(CONFIDENCE_EDGES),
        classes=tuple(classes),
    )


@dataclass(frozen=True, slots=True)
class Sketch:
    """A mergeable summary of n rows under one basis; everything a window's comparison needs."""

    basis_digest: str
    n: int
    total: FloatArray
    outer: FloatArray
    cell_counts: IntArray
    class_counts: IntArray
    confidence_counts: IntArray
    feature_total: FloatArray
    rows: npt.NDArray[np.float32]
    row_ids: IntArray
    row_cells: IntArray
    row_confidences: npt.NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """Return the versioned binary form."""
        arrays = {name: getattr(self, name) for name in _SKETCH_ARRAYS}
        return pack(SKETCH_MAGIC, {"basis": self.basis_digest, "n": self.n}, arrays)

    @classmethod
    def from_bytes(cls, payload: bytes) -> "Sketch":
        """Read the binary form. Raises DetectorInputError for corrupted or foreign bytes."""
        header, arrays = unpack(SKETCH_MAGIC, payload)
        return cls(basis_digest=header["basis"], n=header["n"], **{name: arrays[name] for name in _SKETCH_ARRAYS})


_SKETCH_ARRAYS = (
    "total",
    "outer",
    "cell_counts",
    "class_counts",
    "confidence_counts",
    "feature_total",
    "rows",
    "row_ids",
    "row_cells",
    "row_confidences",
)


def empty_sketch(basis: Basis) -> Sketch:
    """Return the sketch of nothing, the neutral element of `merge`."""
    k, r = basis.features.shape
    return Sketch(
        basis_digest=basis.digest(),
        n=0,
        total=np.zeros(k),
        outer=np.zeros((k, k)),
        cell_counts=np.zeros(basis.centroids.shape[0], dtype=np.int64),
        class_counts=np.zeros(len(basis.classes) + 1, dtype=np.int64),
        confidence_counts=np.zeros(basis.confidence_edges.size - 1, dtype=np.int64),
        feature_total=np.zeros(r),
        rows=np.zeros((0, k), dtype=np.float32),
        row_ids=np.zeros(0, dtype=np.int64),
        row_cells=np.zeros(0, dtype=np.int64),
        row_confidences=np.zeros(0, dtype=np.float32),
    )


def fold(
    basis: Basis,
    embeddings: npt.ArrayLike,
    *,
    row_ids: IntArray,
    classes: IntArray | None = None,
    confidences: FloatArray | None = None,
) -> Sketch:
    """Fold embeddings (n, d) into a sketch; classes are indexes into basis.classes (-1 unknown, len: other)."""
    rows = within_float32("projected embeddings", basis.project(embeddings))
    ids = np.asarray(row_ids, dtype=np.int64)
    if ids.shape != (rows.shape[0],):
        raise DetectorInputError(f"row_ids must be one per row, got {ids.shape} for {rows.shape[0]} rows")
    cells = basis.cell_of(rows)
    kept = _bottom(ids)
    return Sketch(
        basis_digest=basis.digest(),
        n=rows.shape[0],
        total=rows.sum(axis=0),
        outer=rows.T @ rows,
        cell_counts=np.bincount(cells, minlength=basis.centroids.shape[0]).astype(np.int64),
        class_counts=_class_counts(basis, classes, rows.shape[0]),
        confidence_counts=_confidence_counts(basis, confidences, rows.shape[0]),
        feature_total=basis.feature_map(rows).sum(axis=0),
        rows=rows[kept].astype(np.float32),
        row_ids=ids[kept],
        row_cells=cells[kept],
        row_confidences=_row_confidences(confidences, rows.shape[0])[kept],
    )


def _class_counts(basis: Basis, classes: IntArray | None, n: int) -> IntArray:
    size = len(basis.classes) + 1
    if classes is None:
        return np.zeros(size, dtype=np.int64)
    known = np.asarray(classes, dtype=np.int64)
    if known.shape != (n,) or (known.size and (known.min() < UNKNOWN or known.max() >= size)):
        raise DetectorInputError(f"classes must be {n} indexes in [-1, {size - 1}], got shape {known.shape}")
    return np.bincount(known[known >= 0], minlength=size).astype(np.int64)


def _confidence_counts(basis: Basis, confidences: FloatArray | None, n: int) -> IntArray:
    edges = basis.confidence_edges
    if confidences is None:
        return np.zeros(edges.size - 1, dtype=np.int64)
    given = np.asarray(confidences, dtype=np.float64)
    if given.shape != (n,):
        raise DetectorInputError(f"confidences must be one per row, got {given.shape} for {n} rows")
    given = given[~np.isnan(given)]
    if given.size and (given.min() < 0 or given.max() > 1):
        raise DetectorInputError(f"confidences lie in [0, 1], got {given.min()} to {given.max()}")
    bins = np.clip(np.searchsorted(edges, given, side="right") - 1, 0, edges.size - 2)
    return np.bincount(bins, minlength=edges.size - 1).astype(np.int64)


def _row_confidences(confidences: FloatArray | None, n: int) -> npt.NDArray[np.float32]:
    if confidences is None:
        return np.full(n, np.nan, dtype=np.float32)
    return np.asarray(confidences, dtype=np.float32)


def merge(sketches: Sequence[Sketch]) -> Sketch:
    """Return the sketch of all rows together. Raises DetectorInputError for none or for unlike bases."""
    if not sketches:
        raise DetectorInputError("merge needs at least one sketch, got 0")
    digests = {sketch.basis_digest for sketch in sketches}
    if len(digests) > 1:
        raise DetectorInputError(f"sketches of unlike bases are never merged: {', '.join(sorted(digests))}")
    ids = np.concatenate([sketch.row_ids for sketch in sketches])
    kept = _bottom(ids)
    return Sketch(
        basis_digest=sketches[0].basis_digest,
        n=sum(sketch.n for sketch in sketches),
        total=np.sum([sketch.total for sketch in sketches], axis=0),
        outer=np.sum([sketch.outer for sketch in sketches], axis=0),
        cell_counts=np.sum([sketch.cell_counts for sketch in sketches], axis=0),
        class_counts=np.sum([sketch.class_counts for sketch in sketches], axis=0),
        confidence_counts=np.sum([sketch.confidence_counts for sketch in sketches], axis=0),
        feature_total=np.sum([sketch.feature_total for sketch in sketches], axis=0),
        rows=np.concatenate([sketch.rows for sketch in sketches])[kept],
        row_ids=ids[kept],
        row_cells=np.concatenate([sketch.row_cells for sketch in sketches])[kept],
        row_confidences=np.concatenate([sketch.row_confidences for sketch in sketches])[kept],
    )


def _bottom(ids: IntArray) -> IntArray:
    """Return the positions of the ROW_SAMPLE smallest hashes, by hash: a uniform sample that merges."""
    return np.argsort(_splitmix64(ids), kind="stable")[:ROW_SAMPLE]


def _splitmix64(ids: IntArray) -> npt.NDArray[np.uint64]:
    """Hash 64-bit ids to 64 bits. Source: Steele, Lea & Flood 2014, fig. 16."""
    with np.errstate(over="ignore"):
        z = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
