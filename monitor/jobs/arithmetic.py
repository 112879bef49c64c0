"""How far vectors of 8-bit arithmetic lie from those of the same texts in full precision."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.compare import compare_sketches
from detectors.results import TooLittleData
from detectors.sketch import fit_basis, fold

ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class ArithmeticGate:
    """Agreement of n texts' vectors: centred cosines (median, 5th percentile), and a drift test of the same texts.

    same_text_p_value is of the one mode's texts against the other's. The texts are equal, so a small value is the
    arithmetic's doing alone: the reason why unlike modes are never compared. None where the texts are too few.
    """

    texts: int
    centred_cosine_median: float
    centred_cosine_low: float
    same_text_p_value: float | None

    def as_summary(self) -> dict[str, Any]:
        """Return what a baseline keeps of it."""
        return {
            "texts": self.texts,
            "centred_cosine_median": round(self.centred_cosine_median, 6),
            "centred_cosine_low": round(self.centred_cosine_low, 6),
            "same_text_p_value": self.same_text_p_value,
        }


def grade_arithmetic(
    native: npt.NDArray[np.floating], other: npt.NDArray[np.floating], *, rng: np.random.Generator
) -> ArithmeticGate:
    """Compare vectors (n, d) of the same n texts, in the same order. Raises DetectorInputError for constant ones.

    Both are centred by their own mean first: raw vectors of a transformer share one long direction, beside which any
    error looks small.
    """
    cosines = centred_cosines(native, other)
    half = len(native) // 2
    basis = fit_basis(native[:half], rng=rng)
    ids = np.arange(len(native) - half, dtype=np.int64)
    before, now = (fold(basis, vectors[half:], row_ids=ids) for vectors in (native, other))
    compared = compare_sketches(before, now, alpha=ALPHA, rng=rng)
    return ArithmeticGate(
        texts=len(native),
        centred_cosine_median=float(np.median(cosines)),
        centred_cosine_low=float(np.quantile(cosines, 0.05)),
        same_text_p_value=None if isinstance(compared, TooLittleData) else compared.verdict.p_value,
    )


def centred_cosines(native: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the cosine (n,) of each text's two vectors (n, d), each set centred by its own mean.

    >>> centred_cosines(np.array([[9.0, 1.0], [9.0, -1.0]]), np.array([[9.0, 2.0], [9.0, -2.0]])).round(6).tolist()
    [1.0, 1.0]
    """
    a, b = (np.asarray(one, dtype=np.float64) - np.mean(one, axis=0, dtype=np.float64) for one in (native, other))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-300))
