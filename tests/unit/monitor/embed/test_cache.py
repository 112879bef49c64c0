"""Vectors kept from call to call."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

from monitor.embed import EmbeddingCache, Encoder
from monitor.embed.cache import ENTRY_BYTES, Remembered


def entry(value: float) -> Remembered:
    return Remembered(np.full(10, value, dtype=np.float32), 3, 0.5)


def test_the_longest_unused_makes_room() -> None:
    cache = EmbeddingCache(2 * (40 + ENTRY_BYTES))
    cache.put("m", [("a", None), ("b", None)], [entry(1), entry(2)])
    assert cache.get("m", [("a", None)]) == [entry_of(cache, "a")]
    cache.put("m", [("c", None)], [entry(3)])
    found = cache.get("m", [("a", None), ("b", None), ("c", None)])
    assert [one is None for one in found] == [False, True, False]
    assert cache.size_bytes == 2 * (40 + ENTRY_BYTES)


def entry_of(cache: EmbeddingCache, text: str) -> Remembered | None:
    return cache.get("m", [(text, None)])[0]


@pytest.mark.parametrize("other", [("m", ("a", "")), ("m", ("ab", None)), ("n", ("a", None)), ("m", ("", "a"))])
def test_another_identity_text_or_pair_is_not_remembered(other: tuple[str, tuple[str, str | None]]) -> None:
    cache = EmbeddingCache(10_000)
    cache.put("m", [("a", None)], [entry(1)])
    assert cache.get(other[0], [other[1]]) == [None]


def test_remembering_a_text_again_counts_its_bytes_once() -> None:
    cache = EmbeddingCache(10_000)
    for _ in range(3):
        cache.put("m", [("a", None)], [entry(1)])
    assert cache.size_bytes == 40 + ENTRY_BYTES


def test_an_entry_larger_than_the_cache_is_not_kept() -> None:
    cache = EmbeddingCache(10)
    cache.put("m", [("a", None)], [entry(1)])
    assert (cache.get("m", [("a", None)]), cache.size_bytes) == ([None], 0)


def test_a_cached_call_returns_what_an_uncached_one_does(checkpoint: Path) -> None:
    texts = ["hi", "where is my order? 😀", "refund " * 90, "hi"]
    plain = Encoder.load(checkpoint, device="cpu").encode(texts)
    cache = EmbeddingCache(1_000_000)
    first, second = (
        Encoder.load(checkpoint, device="cpu", model_digest="sha256:m", cache=cache) for _ in range(2)
    )  # the second is as after a restart of the encoder within a process
    first.encode(texts[:2])
    for encoder, hits in ((first, 2), (second, 3)):
        found = encoder.encode(texts)
        np.testing.assert_allclose(found.vectors, plain.vectors, rtol=1e-4, atol=1e-6)
        for name in ("token_counts", "truncated", "finite", "unknown_shares"):
            np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
        assert encoder.counts.cache_hits == hits
    assert second.counts.tokens == 0


def test_unlike_modes_and_models_share_nothing(checkpoint: Path) -> None:
    cache = EmbeddingCache(1_000_000)
    encoders = [
        Encoder.load(checkpoint, device="cpu", model_digest=digest, pooling=pooling, cache=cache)
        for digest, pooling in (("a", "mean"), ("b", "mean"), ("a", "cls"))
    ]
    for encoder in encoders:
        encoder.encode(["hi"])
        assert encoder.counts.cache_hits == 0


def test_without_a_model_digest_nothing_is_cached(checkpoint: Path) -> None:
    cache = EmbeddingCache(1_000_000)
    Encoder.load(checkpoint, device="cpu", cache=cache).encode(["hi"])
    assert cache.size_bytes == 0


def test_counts_tell_texts_duplicates_tokens_and_cuts(checkpoint: Path) -> None:
    encoder = Encoder.load(checkpoint, device="cpu")
    encoder.encode(["hi", "hi", "", "refund " * 90])
    counts = encoder.counts
    assert (counts.texts, counts.duplicates, counts.truncated, counts.nonfinite) == (4, 1, 1, 0)
    assert counts.tokens == len(encoder._tokeniser.ids([("hi", None)])[0]) + 2 + 64
    assert (counts.padding_share, counts.cache_hits, counts.out_of_memory_retries) == (0, 0, 0)
    assert counts.load_seconds > 0
    assert counts.compute_seconds > 0
