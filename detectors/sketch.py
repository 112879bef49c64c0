"""The mergeable sketch every window folds into."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from detectors.arrays import Array, host, summed, taken
from detectors.basis import Basis, fit_basis
from detectors.checks import FloatArray, IntArray, within_float32
from detectors.encoding import pack, unpack
from detectors.errors import DetectorInputError

__all__ = ["Basis", "Sketch", "empty_sketch", "fit_basis", "fold", "merge", "without"]

MAGIC = b"DWSK"
ROW_SAMPLE = 2048
UNKNOWN = -1
UNKNOWN_BIN = 255
QUANTITIES = ("confidence", "novelty", "entropy", "token_length", "unknown_share", "truncated")
_BOUNDS = {"confidence": 1.0, "entropy": np.inf, "token_length": np.inf, "unknown_share": 1.0, "truncated": 1.0}


@dataclass(frozen=True, slots=True)
class Sketch:
    """A mergeable summary of n rows under one basis; everything a window's comparison needs.

    Totals and counts are of all n rows; row_* and rows of a uniform sample of at most 2,048. row_bins (m, q) holds each
    sampled row's bin of every one of QUANTITIES, 255 where it is unknown; an unknown class is -1, other unknowns NaN.
    """

    basis_digest: str
    n: int
    total: FloatArray
    outer: FloatArray
    cell_counts: IntArray
    class_counts: IntArray
    confidence_counts: IntArray
    novelty_counts: IntArray
    entropy_counts: IntArray
    token_length_counts: IntArray
    unknown_share_counts: IntArray
    truncated_counts: IntArray
    feature_total: FloatArray
    rows: npt.NDArray[np.float32]
    row_ids: IntArray
    row_cells: IntArray
    row_confidences: npt.NDArray[np.float32]
    row_classes: npt.NDArray[np.int32]
    row_novelties: npt.NDArray[np.float32]
    row_bins: npt.NDArray[np.uint8]

    def counts_of(self, quantity: str) -> IntArray:
        """Return the histogram (b,) of one of QUANTITIES over all rows; empty for those that version 1 lacked."""
        counts: IntArray = getattr(self, f"{quantity}_counts")
        return counts

    def bins_of(self, quantity: str) -> npt.NDArray[np.uint8]:
        """Return each sampled row's bin (m,) of one of QUANTITIES, 255 where unknown."""
        return self.row_bins[:, QUANTITIES.index(quantity)]

    def to_bytes(self) -> bytes:
        """Return the versioned binary form."""
        arrays = {name: getattr(self, name) for name in _SUMS + _ROWS}
        return pack(MAGIC, {"basis": self.basis_digest, "n": self.n}, arrays)

    @classmethod
    def from_bytes(cls, payload: bytes) -> "Sketch":
        """Read the binary form. Raises DetectorInputError for corrupted or foreign bytes."""
        header, arrays = unpack(MAGIC, payload)
        return cls(basis_digest=header["basis"], n=header["n"], **{**_lacking(arrays["rows"].shape[0]), **arrays})


_SUMS = ("total", "outer", "cell_counts", "class_counts", "feature_total", *(f"{name}_counts" for name in QUANTITIES))
_ROWS = ("rows", "row_ids", "row_cells", "row_confidences", "row_classes", "row_novelties", "row_bins")


def _lacking(m: int) -> dict[str, npt.NDArray[Any]]:
    """Return what a version 1 sketch of m rows lacks, as unknown."""
    counts = {f"{name}_counts": np.zeros(0, dtype=np.int64) for name in QUANTITIES if name != "confidence"}
    return {
        **counts,
        "row_classes": np.full(m, UNKNOWN, dtype=np.int32),
        "row_novelties": np.full(m, np.nan, dtype=np.float32),
        "row_bins": np.full((m, len(QUANTITIES)), UNKNOWN_BIN, dtype=np.uint8),
    }


def empty_sketch(basis: Basis) -> Sketch:
    """Return the sketch of nothing, the neutral element of `merge`."""
    return fold(basis, np.zeros((0, basis.mean.size)), row_ids=np.zeros(0, dtype=np.int64))


def fold(
    basis: Basis,
    embeddings: Any,
    *,
    row_ids: IntArray,
    classes: IntArray | None = None,
    confidences: FloatArray | None = None,
    entropies: FloatArray | None = None,
    token_lengths: npt.ArrayLike | None = None,
    unknown_shares: FloatArray | None = None,
    truncated: npt.ArrayLike | None = None,
) -> Sketch:
    """Fold embeddings (n, d) into a sketch; classes are indexes into basis.classes (-1 unknown, len: other).

    Embeddings are a numpy array (or nested lists) or a torch tensor. A tensor's linear algebra runs where it lies, in
    float64 where that device has it: sums, the sampled rows, and each row's cell and novelty come to the host, and no
    count or verdict is another than numpy's but for rows within rounding of an edge.
    One value per row, NaN where unknown: confidences in [0, 1], entropies in nats, token_lengths, unknown_shares (of
    tokens that are unknown or byte fallback) in [0, 1], truncated 0 or 1. Raises DetectorInputError otherwise.
    """
    rows = within_float32("projected embeddings", basis.project(embeddings))
    n = rows.shape[0]
    ids = np.asarray(row_ids, dtype=np.int64)
    if ids.shape != (n,):
        raise DetectorInputError(f"row_ids must be one per row, got {ids.shape} for {n} rows")
    novelties = host(basis.novelty_of(rows))
    given: dict[str, npt.ArrayLike | None] = {
        "confidence": confidences,
        "novelty": novelties,
        "entropy": entropies,
        "token_length": token_lengths,
        "unknown_share": unknown_shares,
        "truncated": truncated,
    }
    bins = np.column_stack([_bins(basis.edges_of(name), name, given[name], n=n) for name in QUANTITIES])
    cells, known = host(basis.cell_of(rows), dtype=np.int64), _classes(basis, classes, n)
    kept = _bottom(ids)
    return Sketch(
        basis_digest=basis.digest(),
        n=n,
        total=summed(_total, rows),
        outer=summed(lambda strip: strip.T @ strip, rows),
        cell_counts=np.bincount(cells, minlength=basis.centroids.shape[0]).astype(np.int64),
        class_counts=np.bincount(known[known >= 0], minlength=len(basis.classes) + 1).astype(np.int64),
        feature_total=summed(lambda strip: _total(basis.feature_map(strip)), rows),
        rows=host(taken(rows, kept), dtype=np.float32),
        row_ids=ids[kept],
        row_cells=cells[kept],
        row_confidences=_row_confidences(confidences, n)[kept],
        row_classes=known[kept].astype(np.int32),
        row_novelties=novelties[kept].astype(np.float32),
        row_bins=bins[kept],
        **{
            f"{name}_counts": _histogram(basis.edges_of(name), bins[:, position])
            for position, name in enumerate(QUANTITIES)
        },
    )


def _total(rows: Array) -> Array:
    return array_namespace(rows).sum(rows, axis=0)


def _classes(basis: Basis, classes: IntArray | None, n: int) -> IntArray:
    if classes is None:
        return np.full(n, UNKNOWN, dtype=np.int64)
    size = len(basis.classes) + 1
    known = np.asarray(classes, dtype=np.int64)
    if known.shape != (n,) or (known.size and (known.min() < UNKNOWN or known.max() >= size)):
        raise DetectorInputError(f"classes must be {n} indexes in [-1, {size - 1}], got shape {known.shape}")
    return known


def _bins(edges: FloatArray, name: str, values: npt.ArrayLike | None, *, n: int) -> npt.NDArray[np.uint8]:
    if values is None or not edges.size:
        return np.full(n, UNKNOWN_BIN, dtype=np.uint8)
    given = np.asarray(values, dtype=np.float64)
    if given.shape != (n,):
        raise DetectorInputError(f"{name} must be one per row, got {given.shape} for {n} rows")
    known = given[~np.isnan(given)]
    highest = _BOUNDS.get(name, np.inf)
    if known.size and (known.min() < 0 or known.max() > highest):
        raise DetectorInputError(f"{name} lies in [0, {highest:g}], got {known.min()} to {known.max()}")
    bins = np.clip(np.searchsorted(edges, given, side="right") - 1, 0, edges.size - 2).astype(np.uint8)
    bins[np.isnan(given)] = UNKNOWN_BIN
    return bins


def _histogram(edges: FloatArray, bins: npt.NDArray[np.uint8]) -> IntArray:
    known = bins[bins != UNKNOWN_BIN]
    return np.bincount(known, minlength=max(edges.size - 1, 0)).astype(np.int64)


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
    kept = _bottom(np.concatenate([sketch.row_ids for sketch in sketches]))
    sums = {name: np.sum([getattr(sketch, name) for sketch in sketches], axis=0) for name in _SUMS}
    rows = {name: np.concatenate([getattr(sketch, name) for sketch in sketches])[kept] for name in _ROWS}
    return Sketch(basis_digest=sketches[0].basis_digest, n=sum(sketch.n for sketch in sketches), **sums, **rows)


def without(whole: Sketch, part: Sketch) -> Sketch:
    """Return the sketch of the rows of `whole` that `part`, merged into it, does not hold: `merge` undone.

    Sums are exact up to rounding; of the row sample those rows stay that are not the part's, a uniform sample still
    and a smaller one. Raises DetectorInputError for unlike bases, or a part with more rows than the whole.
    """
    if whole.basis_digest != part.basis_digest or part.n > whole.n:
        raise DetectorInputError(f"no part of {whole.n} rows under {whole.basis_digest}: {part.n}, {part.basis_digest}")
    kept = ~np.isin(whole.row_ids, part.row_ids)
    sums = {name: getattr(whole, name) - getattr(part, name) for name in _SUMS}
    rows = {name: getattr(whole, name)[kept] for name in _ROWS}
    return replace(whole, n=whole.n - part.n, **sums, **rows)


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
