"""Files that hold a sketch with the basis it was folded under and the model that made its vectors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detectors.encoding import pack, unpack
from detectors.errors import DetectorInputError
from detectors.sketch import UNKNOWN, Basis, Sketch, empty_sketch
from monitor.errors import InputError

MAGIC = b"DWSF"
SUFFIX = ".sketch"
NAMES = ("model", "version", "model_digest", "tokenizer_digest", "numeric_mode")


@dataclass(frozen=True, slots=True)
class SketchFile:
    """A sketch of texts, its basis, and the identity of its vectors; `reference` is the stored baseline's, if any."""

    model: str
    version: str
    model_digest: str
    tokenizer_digest: str
    numeric_mode: str
    basis: Basis
    sketch: Sketch
    reference: Sketch | None = None
    baseline_digest: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, str]:
        """Return what must agree before two sketches are compared."""
        return {
            "model digest": self.model_digest,
            "tokenizer digest": self.tokenizer_digest,
            "numeric mode": self.numeric_mode,
            "basis": self.sketch.basis_digest,
        }

    def to_bytes(self) -> bytes:
        """Return the versioned binary form."""
        header: dict[str, Any] = {name: getattr(self, name) for name in (*NAMES, "baseline_digest")}
        parts = {"basis": self.basis.to_bytes(), "sketch": self.sketch.to_bytes()}
        if self.reference is not None:
            parts["reference"] = self.reference.to_bytes()
        arrays = {name: np.frombuffer(part, dtype=np.uint8) for name, part in parts.items()}
        return pack(MAGIC, {**header, "counts": dict(self.counts)}, arrays)

    @classmethod
    def from_bytes(cls, payload: bytes) -> "SketchFile":
        """Read the binary form. Raises DetectorInputError for corrupted or foreign bytes."""
        header, arrays = unpack(MAGIC, payload)
        parts = {name: array.tobytes() for name, array in arrays.items()}
        try:
            found = cls(
                **header,
                basis=Basis.from_bytes(parts["basis"]),
                sketch=Sketch.from_bytes(parts["sketch"]),
                reference=Sketch.from_bytes(parts["reference"]) if "reference" in parts else None,
            )
            _require_whole(found)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise DetectorInputError(f"no whole sketch file ({error})") from None
        return found


def _require_whole(file: SketchFile) -> None:
    """Raise ValueError or TypeError unless the parts belong together: whoever wrote the file, it can be compared."""
    for name in NAMES:
        if not isinstance(getattr(file, name), str):
            raise TypeError(f"{name} is {getattr(file, name)!r:.80}")
    if not all(isinstance(count, int) for count in file.counts.values()):
        raise TypeError("counts are whole numbers")
    fitted = {name: getattr(file.basis, name) for name in Basis.__dataclass_fields__ if name != "classes"}
    if not all(np.isfinite(array[:-1] if name.endswith("_edges") else array).all() for name, array in fitted.items()):
        raise ValueError("the basis is not finite")
    like = empty_sketch(file.basis)
    for sketch in (file.sketch, *([] if file.reference is None else [file.reference])):
        if sketch.basis_digest != like.basis_digest:
            raise ValueError(f"basis {like.basis_digest}, sketch of {sketch.basis_digest}")
        _require_like(sketch, like)


def _require_like(sketch: Sketch, like: Sketch) -> None:
    """Raise ValueError or TypeError unless a sketch has the arrays of the basis's empty one, with rows."""
    if not isinstance(sketch.n, int) or sketch.n < 0:
        raise ValueError(f"a sketch of {sketch.n!r:.80} rows")
    sampled = sketch.rows.shape[0]
    for name in Sketch.__dataclass_fields__:
        found, wanted = getattr(sketch, name), getattr(like, name)
        if not isinstance(wanted, np.ndarray):
            continue
        shape = (sampled, *wanted.shape[1:]) if name.startswith("row") else wanted.shape
        if found.shape != shape or found.dtype.kind != wanted.dtype.kind:
            raise ValueError(f"{name} is {found.dtype} {found.shape}, {wanted.dtype} {shape} was expected")
    whole = all(np.isfinite(one).all() for one in (sketch.total, sketch.outer, sketch.feature_total, sketch.rows))
    cells = sketch.cell_counts
    if not whole or cells.min(initial=0) < 0 or cells.sum() != sketch.n or sampled > sketch.n:
        raise ValueError(f"{sketch.n} rows do not agree with their sums and counts")
    for name, size in (("row_cells", cells.size), ("row_classes", like.class_counts.size)):
        indexes = getattr(sketch, name)
        if indexes.min(initial=0) < UNKNOWN or indexes.max(initial=0) >= size:
            raise ValueError(f"{name} must lie in [{UNKNOWN}, {size - 1}]")


def read_sketch_file(path: Path) -> SketchFile:
    """Read a sketch file. Raises InputError naming the file."""
    try:
        return SketchFile.from_bytes(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except DetectorInputError as error:
        raise InputError(f"{path}: {error}") from None


def require_like_sketches(one: SketchFile, other: SketchFile, *, names: tuple[str, str]) -> None:
    """Raise InputError naming all in which two sketch files differ; unlike vectors are never compared."""
    differing = [
        f"{what} {found} and {other.identity[what]}"
        for what, found in one.identity.items()
        if found != other.identity[what]
    ]
    if differing:
        raise InputError(
            f"{names[0]} and {names[1]} are not comparable: {'; '.join(differing)}; "
            f"backfill the second with --basis {names[0]}"
        )
