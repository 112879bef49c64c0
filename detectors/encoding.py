"""The binary form of a basis and of a sketch: magic, version, header, arrays, SHA-256 over all of it."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.errors import DetectorInputError

VERSIONS = (1, 2)  # every version ever written stays readable
DIGEST = 32

Arrays = Mapping[str, npt.NDArray[Any]]


def pack(magic: bytes, header: Mapping[str, Any], arrays: Arrays, *, version: int = VERSIONS[-1]) -> bytes:
    """Return little-endian bytes: magic (4), version (2), header length (4), header, arrays, digest (32)."""
    little = {name: np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")) for name, array in arrays.items()}
    layout = [[name, array.dtype.str, list(array.shape)] for name, array in little.items()]
    head = json.dumps({"header": dict(header), "arrays": layout}, sort_keys=True, separators=(",", ":")).encode()
    body = b"".join(
        [magic, version.to_bytes(2, "little"), len(head).to_bytes(4, "little"), head]
        + [array.tobytes() for array in little.values()]
    )
    return body + hashlib.sha256(body).digest()


def unpack(magic: bytes, payload: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return header and arrays of any known version. Raises DetectorInputError for other, newer, cut or changed bytes.

    A version adds arrays and never changes one, so a reader fills in what an older version lacks.
    """
    kind = magic.decode()
    if len(payload) < 10 + DIGEST or payload[:4] != magic:
        raise DetectorInputError(f"these {len(payload)} bytes are no {kind}")
    version = int.from_bytes(payload[4:6], "little")
    if version not in VERSIONS:
        known = " and ".join(str(one) for one in VERSIONS)
        raise DetectorInputError(f"{kind} version {version} is not known to this version, which reads {known}")
    if hashlib.sha256(payload[:-DIGEST]).digest() != payload[-DIGEST:]:
        raise DetectorInputError(f"{kind} of {len(payload)} bytes is corrupted: its digest does not match")
    try:
        return _laid_out(payload)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DetectorInputError(f"{kind} of {len(payload)} bytes is laid out wrongly ({error})") from None


def _laid_out(payload: bytes) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Return header and arrays; the digest proves that nothing was changed, not that this program wrote it."""
    end = 10 + int.from_bytes(payload[6:10], "little")
    document = json.loads(payload[10:end])
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, dtype, shape in document["arrays"]:
        count = math.prod(shape)
        if np.dtype(dtype).kind not in "iuf" or min(shape, default=0) < 0:
            raise ValueError(f"array {name}: {dtype} {shape}")
        arrays[name] = np.frombuffer(payload, dtype=dtype, count=count, offset=end).reshape(shape)
        end += count * np.dtype(dtype).itemsize
    return dict(document["header"]), arrays
