"""Texts to token ids: in batches, truncated and counted, with the share of tokens the vocabulary lacks."""

import itertools
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# A longer text is tokenised in pieces of this many characters, so that memory stays bounded for a text of any size.
# Its vector sees the first piece, far more than any model has positions for; its token count adds up over all pieces.
PIECE_CHARACTERS = 50_000
TEXTS_PER_CALL = 1024
CHARACTERS_PER_CALL = 1_000_000

Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Tokens:
    """n tokenised texts: the ids the model sees, counts (n,) of the full texts, shares (n,) of unknown tokens."""

    ids: list[npt.NDArray[np.int64]]
    counts: npt.NDArray[np.int64]
    unknown_shares: npt.NDArray[np.float64]


def distinct(texts: Sequence[str], pairs: Sequence[str | None] | None) -> tuple[list[Key], npt.NDArray[np.int64]]:
    """Return the distinct inputs, lone surrogates replaced, and the index (n,) of each text's own."""
    partners: Sequence[str | None] = [None] * len(texts) if pairs is None else pairs
    places: dict[Key, int] = {}
    inverse = np.empty(len(texts), dtype=np.int64)
    for row, (text, pair) in enumerate(zip(texts, partners, strict=True)):
        key = (_clean(text), None if pair is None else _clean(pair))
        inverse[row] = places.setdefault(key, len(places))
    return list(places), inverse


def _clean(text: str) -> str:
    # lone surrogates are no text to a tokenizer; each becomes U+FFFD, and paired ones the character they mean
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Tokeniser:
    """The checkpoint's tokenizer, called a batch at a time; safe to use from several threads.

    transformers' fast tokenizers wrap a Rust one: asked directly it spares Python a call per text, and gives the GIL
    back while it works. Its ids are transformers' own, which a test holds it to.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._rust = tokenizer.backend_tokenizer if getattr(tokenizer, "is_fast", False) else None
        self._lock = threading.Lock()  # truncation is a state of the tokenizer
        self._special, self._unknown = _kinds(tokenizer)

    def __call__(self, keys: Sequence[Key], *, max_length: int) -> Tokens:
        """Tokenise n inputs, each to at most `max_length` ids."""
        heads: list[Key] = [(_head(text), None if pair is None else _head(pair)) for text, pair in keys]
        ids = self.ids(heads)
        counts = np.array([len(one) for one in ids], dtype=np.int64)
        cut = np.flatnonzero(counts > max_length).tolist()
        for row, kept in zip(cut, self.ids([heads[row] for row in cut], max_length=max_length), strict=True):
            ids[row] = kept
        for row, key in enumerate(keys):
            counts[row] += sum(self._tail_count(text) for text in key if text is not None)
        return Tokens([np.array(one, dtype=np.int64) for one in ids], counts, self._unknown_shares(ids))

    def ids(self, keys: Sequence[Key], *, max_length: int | None = None, special: bool = True) -> list[list[int]]:
        """Return the ids of each input, truncated where `max_length` is given."""
        if self._rust is None:
            return [self._slow_ids(key, max_length=max_length, special=special) for key in keys]
        found: list[list[int]] = []
        with self._lock:
            self._rust.no_padding()
            self._rust.encode_special_tokens = bool(self._tokenizer.split_special_tokens)
            if max_length is None:
                self._rust.no_truncation()
            else:
                self._rust.enable_truncation(max_length, direction=self._tokenizer.truncation_side)
            for group in _calls(keys):
                inputs = [(text, pair) if pair else text for text, pair in group]  # to transformers "" is no pair
                encodings = self._rust.encode_batch_fast(inputs, add_special_tokens=special)
                found.extend(encoding.ids for encoding in encodings)
            self._rust.no_truncation()
        return found

    def _slow_ids(self, key: Key, *, max_length: int | None, special: bool) -> list[int]:
        options: dict[str, Any] = {"add_special_tokens": special, "return_attention_mask": False, "verbose": False}
        if max_length is not None:
            options |= {"truncation": True, "max_length": max_length}
        found: list[int] = self._tokenizer(*key, **options)["input_ids"]
        return found

    def _tail_count(self, text: str) -> int:
        if len(text) <= PIECE_CHARACTERS:
            return 0
        pieces: list[Key] = [(piece, None) for piece in list(_pieces(text))[1:]]
        return sum(len(one) for one in self.ids(pieces, special=False))

    def _unknown_shares(self, ids: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
        lengths = np.array([len(one) for one in ids], dtype=np.int64)
        flat = np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum()))
        rows = np.repeat(np.arange(len(ids)), lengths)
        unknown = np.bincount(rows, weights=self._unknown[flat], minlength=len(ids))
        usual = np.bincount(rows, weights=~self._special[flat], minlength=len(ids))
        return np.asarray(unknown / np.maximum(usual, 1))


def _kinds(tokenizer: Any) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which ids are special and which are unknown or byte fallback, each (highest id + 1,).

    In a byte-level vocabulary a piece of some bytes of a character is a fallback; in a sentencepiece one "<0x41>" is.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    special, unknown = (np.zeros(max(vocabulary.values(), default=0) + 1, dtype=np.bool_) for _ in range(2))
    special[tokenizer.all_special_ids] = True
    if tokenizer.unk_token_id is not None:
        special[tokenizer.unk_token_id], unknown[tokenizer.unk_token_id] = False, True
    letters = _byte_letters()
    added = set(getattr(tokenizer, "added_tokens_decoder", {}))
    usual = {piece: i for piece, i in vocabulary.items() if i not in added and not special[i] and not unknown[i]}
    byte_level = all(set(piece) <= letters.keys() for piece in usual)
    for piece, i in usual.items():
        unknown[i] = _is_broken(bytes(letters[x] for x in piece)) if byte_level else bool(_BYTE_PIECE.fullmatch(piece))
    return special, unknown


_BYTE_PIECE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


def _is_broken(piece: bytes) -> bool:
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _byte_letters() -> dict[str, int]:
    # GPT-2's bytes_to_unicode: printable Latin-1 stands for itself, the other bytes for letters from U+0100 on
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


def _calls(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    start, characters = 0, 0
    for row, (text, pair) in enumerate(keys):
        size = len(text) + len(pair or "")
        if row > start and (row - start == TEXTS_PER_CALL or characters + size > CHARACTERS_PER_CALL):
            yield keys[start:row]
            start, characters = row, 0
        characters += size
    if start < len(keys):
        yield keys[start:]


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        end = start + PIECE_CHARACTERS
        cut = text.rfind(" ", end - 1000, end)  # before a space: byte-level words begin there
        yield text[start : cut if cut > start else end]
        start = cut if cut > start else end
    yield text[start:]


def _head(text: str) -> str:
    return text if len(text) <= PIECE_CHARACTERS else next(_pieces(text))
