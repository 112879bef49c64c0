"""Arrays of numpy or torch alike: how values come to where they lie, and back to the host."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, is_array_api_obj, is_numpy_array, to_device

STRIP_ROWS = 512  # summed at a time in float32: rounding stays below 1e-5 of the magnitudes summed

Array = Any  # a numpy array or a torch tensor: no type covers both


def as_array(values: Any) -> Array:
    """Return another library's array as it is, all else as a numpy array."""
    return values if is_array_api_obj(values) and not is_numpy_array(values) else np.asarray(values)


def widest(array: Array) -> Any:
    """Return the dtype to compute in: float64, or float32 where the array's device has no float64 (Apple's GPUs)."""
    xp = array_namespace(array)
    if is_numpy_array(array):
        return xp.float64
    known = xp.__array_namespace_info__().dtypes(device=array.device, kind="real floating")
    return known.get("float64", xp.float32)


def placed(values: npt.ArrayLike, beside: Array, *, dtype: Any = None) -> Array:
    """Return host values as an array of `beside`'s kind on its device, in its dtype unless another is named."""
    wanted = dtype or beside.dtype
    if is_numpy_array(beside):
        return np.asarray(values, dtype=wanted)
    made = array_namespace(beside).asarray(values, dtype=wanted, copy=True)  # torch refuses to share read-only memory
    return to_device(made, beside.device)


def host(values: Array, *, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """Return values as a numpy array."""
    return np.asarray(to_device(values, "cpu"), dtype=dtype)


def taken(rows: Array, positions: npt.NDArray[np.int64]) -> Array:
    """Return the rows (m, ...) at host positions (m,), on the device where they lie."""
    if is_numpy_array(rows):
        return rows[positions]
    xp = array_namespace(rows)
    return xp.take(rows, placed(positions, rows, dtype=xp.int64), axis=0)


def summed(over_rows: Callable[[Array], Array], rows: Array) -> npt.NDArray[np.float64]:
    """Return a sum over rows (n, k) on the host, float64: `over_rows` gives that of a strip.

    One strip where rows are float64; else of 512 rows, their sums added in float64.
    """
    step = max(rows.shape[0], 1) if rows.dtype == array_namespace(rows).float64 else STRIP_ROWS
    parts = [host(over_rows(rows[first : first + step])) for first in range(0, max(rows.shape[0], 1), step)]
    return parts[0] if len(parts) == 1 else np.asarray(np.sum(parts, axis=0))
