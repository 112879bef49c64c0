"""Files that hold a sketch with the basis it was folded under and the model that made its vectors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detectors.encoding import pack, unpack
from detectors.errors import DetectorInputError
from detectors.sketch import Basis, Sketch
from monitor.errors import InputError

MAGIC = b"DWSF"
SUFFIX = ".sketch"


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
        names = ("model", "version", "model_digest", "tokenizer_digest", "numeric_mode", "baseline_digest")
        header: dict[str, Any] = {name: getattr(self, name) for name in names}
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
        return cls(
            **header,
            basis=Basis.from_bytes(parts["basis"]),
            sketch=Sketch.from_bytes(parts["sketch"]),
            reference=Sketch.from_bytes(parts["reference"]) if "reference" in parts else None,
        )


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
