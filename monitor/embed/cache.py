"""Vectors kept from one call to the next, in memory, up to a number of bytes; off unless the policy asks for it."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.embed.tokenising import Key

ENTRY_BYTES = 300  # what Python needs around a vector: key, record, array header, place in the order


@dataclass(frozen=True, slots=True)
class Remembered:
    """A text's vector float32 (d,), its token count, and its share of unknown tokens."""

    vector: npt.NDArray[np.float32]
    token_count: int
    unknown_share: float


class EmbeddingCache:
    """The latest used vectors by (identity, text hash); safe to use from several threads. Holds no text."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._held: OrderedDict[bytes, Remembered] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """How many bytes are held."""
        return self._bytes

    def get(self, identity: str, keys: Sequence[Key]) -> list[Remembered | None]:
        """Return what is remembered of each input under this identity, None where nothing is."""
        places = [_place(identity, key) for key in keys]
        with self._lock:
            for place in places:
                if place in self._held:
                    self._held.move_to_end(place)
            return [self._held.get(place) for place in places]

    def put(self, identity: str, keys: Sequence[Key], found: Sequence[Remembered]) -> None:
        """Remember inputs; the longest unused make room."""
        with self._lock:
            for key, one in zip(keys, found, strict=True):
                place = _place(identity, key)
                previous = self._held.pop(place, None)
                self._bytes += _size(one) - (0 if previous is None else _size(previous))
                self._held[place] = one
            while self._bytes > self._max_bytes:
                _, dropped = self._held.popitem(last=False)
                self._bytes -= _size(dropped)


def _size(one: Remembered) -> int:
    return one.vector.nbytes + ENTRY_BYTES


def _place(identity: str, key: Key) -> bytes:
    text, pair = key
    digest = hashlib.blake2b(f"{identity}\x1f{len(text)}\x1f{pair is None}\x1f".encode(), digest_size=16)
    digest.update(text.encode())
    digest.update((pair or "").encode())
    return digest.digest()
