"""All array validation: inside the room arrays are trusted."""

from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from detectors.arrays import Array, as_array, widest
from detectors.errors import DetectorInputError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

LARGEST = float(np.finfo(np.float32).max)


def matrix(name: str, values: npt.ArrayLike, *, columns: int | None = None) -> FloatArray:
    """Return values as a float64 matrix (n, d), d at least 1, every entry within the range of float32.

    Raises DetectorInputError naming rank, width or entry.
    """
    checked: FloatArray = placed_matrix(name, np.asarray(values), columns=columns)
    return checked


def placed_matrix(name: str, values: Any, *, columns: int | None = None) -> Array:
    """Return what `matrix` does, a torch tensor on the device it came on: float32 where that has no float64."""
    array = as_array(values)
    shape = tuple(array.shape)
    if array.ndim != 2:
        raise DetectorInputError(f"{name} must be 2-D, got shape {shape}")
    if getattr(array, "requires_grad", False):
        raise DetectorInputError(f"{name} tracks gradients: pass it detached")
    xp = array_namespace(array)
    if not xp.isdtype(array.dtype, ("real floating", "integral")):
        raise DetectorInputError(f"{name} must be numeric, got dtype {array.dtype}")
    if shape[1] == 0:
        raise DetectorInputError(f"{name} must have at least one column, got shape {shape}")
    if columns is not None and shape[1] != columns:
        raise DetectorInputError(f"{name} must have {columns} columns, got {shape[1]}")
    return within_float32(name, xp.astype(array, widest(array)))


def within_float32(name: str, values: Array) -> Array:
    """Return a matrix (n, d) whose entries are finite in float32. Raises DetectorInputError naming the first other."""
    xp = array_namespace(values)
    held = xp.abs(values) <= LARGEST
    if not bool(xp.all(held)):
        row, column = (int(index[0]) for index in xp.nonzero(~held))
        found = float(values[row, column])
        beyond = ", beyond the range of float32" if np.isfinite(found) else ""
        raise DetectorInputError(f"{name}[{row}, {column}] is {found}{beyond}")
    return values


def vector(name: str, values: npt.ArrayLike, *, low: float = -np.inf, high: float = np.inf) -> FloatArray:
    """Return values as a finite float64 vector (n,) within [low, high]. Raises DetectorInputError naming the entry."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise DetectorInputError(f"{name} must be 1-D, got shape {array.shape}")
    if array.dtype.kind not in "fiub":
        raise DetectorInputError(f"{name} must be numeric, got dtype {array.dtype}")
    floats = array.astype(np.float64)
    wrong = ~(np.isfinite(floats) & (floats >= low) & (floats <= high))
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise DetectorInputError(f"{name} must be finite and lie in [{low}, {high}], got {floats[index]} at {index}")
    return floats


def outcomes(name: str, values: npt.ArrayLike) -> FloatArray:
    """Return values as outcomes (n,), each 0 or 1. Raises DetectorInputError naming the first other."""
    array = vector(name, values)
    wrong = np.flatnonzero((array != 0) & (array != 1))
    if wrong.size:
        raise DetectorInputError(f"{name} must be 0 or 1, got {array[wrong[0]]} at {int(wrong[0])}")
    return array


def p_values(name: str, values: npt.ArrayLike) -> FloatArray:
    """Return values as p-values (m,), m >= 1, each in (0, 1]. Raises DetectorInputError naming what is off."""
    array = vector(name, values, high=1.0)
    if not array.size:
        raise DetectorInputError(f"{name} must hold at least one p-value, got 0")
    if (array <= 0).any():
        raise DetectorInputError(f"{name} must lie in (0, 1], got {array.min()}: no valid test gives p = 0")
    return array


def probability(name: str, value: float) -> float:
    """Return a value in (0, 1), such as alpha. Raises DetectorInputError naming it otherwise."""
    if not 0 < value < 1:
        raise DetectorInputError(f"{name} lies in (0, 1), got {value}")
    return float(value)


def distribution(name: str, values: npt.ArrayLike) -> FloatArray:
    """Return values as a probability vector (k,). Raises DetectorInputError naming what is off."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise DetectorInputError(f"{name} must be 1-D and not empty, got shape {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any():
        raise DetectorInputError(f"{name} must be finite and not negative, got {array.min()}")
    if abs(array.sum() - 1) > 1e-8:
        raise DetectorInputError(f"{name} must sum to 1, got {array.sum()}")
    return array
