"""Vectors that stay where they were computed, and are folded there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

import torch

from detectors.sketch import Sketch, fit_basis
from monitor.backfill.kernel import embed_shard
from monitor.backfill.reading import TextBatch
from monitor.embed import EmbeddingCache, Encoded, Encoder

TEXTS = ["hi", "where is my order? 😀", "", "refund " * 90, "hi", *(f"order {i} is late" for i in range(30)), "hi"]
PAIRS = [None, "hi", *([None] * (len(TEXTS) - 2))]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def load(build: Callable[..., Path], device: str, **options) -> Encoder:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    folder = build(hidden_size=64, num_attention_heads=1, num_labels=2, headed=True)
    return Encoder.load(folder, device=device, **options)


@pytest.mark.parametrize("device", DEVICES)
def test_vectors_on_the_device_are_those_on_the_host(
    build: Callable[..., Path], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.embed.encoder.TEXTS_PER_WINDOW", 7)
    encoder = load(build, device)
    host, there = encoder.encode(TEXTS, PAIRS), encoder.encode_on_device(TEXTS, PAIRS)
    assert isinstance(host.vectors, np.ndarray)
    assert there.vectors.device.type == device
    assert there.vectors.dtype == torch.float32
    assert not there.vectors.requires_grad
    rounding = 0 if device == "cpu" else 0.02 * np.abs(host.vectors).max()  # bf16
    np.testing.assert_allclose(there.vectors.cpu().numpy(), host.vectors, rtol=0, atol=rounding)
    for name in ("token_counts", "truncated", "finite", "unknown_shares"):
        np.testing.assert_array_equal(getattr(there, name), getattr(host, name))
    assert (encoder.counts.texts, encoder.counts.duplicates) == (2 * len(TEXTS), 4)
    assert encoder.encode_on_device([]).vectors.shape == (0, 64)
    assert isinstance(encoder.encode_in_place(["hi"]).vectors, np.ndarray) == (device == "cpu")


@pytest.mark.parametrize("device", DEVICES)
def test_what_the_cache_holds_comes_back_to_the_device(build: Callable[..., Path], device: str) -> None:
    encoder = load(build, device, model_digest="sha256:m", cache=EmbeddingCache(1_000_000))
    first, second = encoder.encode_on_device(TEXTS), encoder.encode_on_device(TEXTS)
    assert second.vectors.device.type == device
    assert torch.equal(first.vectors, second.vectors)
    assert encoder.counts.cache_hits == len(set(TEXTS))


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_not_finite_is_told_without_the_vectors(build: Callable[..., Path], device: str) -> None:
    encoder = load(build, device)
    good, run = encoder._runner.states, encoder._runner.states

    class Broken:
        name, padding_of = good.name, good.padding_of

        def __call__(self, ids):
            pooled, first = run(ids)
            longest = torch.tensor([len(one) > 40 for one in ids], device=pooled.device)
            return torch.where(longest[:, None], torch.nan, pooled), first

    encoder._runner.states = Broken()
    found = encoder.encode_on_device(TEXTS)
    assert found.finite.tolist() == [not text.startswith("refund") for text in TEXTS]
    assert found.finite.tolist() == found.vectors.isfinite().all(dim=1).tolist()
    assert encoder.counts.nonfinite == 1


@pytest.mark.parametrize("device", DEVICES)
def test_a_stream_gives_the_vectors_of_every_batch_in_order(
    build: Callable[..., Path], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.embed.encoder.TEXTS_PER_WINDOW", 7)
    encoder = load(build, device)
    given = [(TEXTS, PAIRS), ([], None), ([f"parcel {i}" for i in range(20)], None), (TEXTS[:3], None)]
    wanted = [encoder.encode_on_device(texts, pairs) for texts, pairs in given]
    texts = encoder.counts.texts
    for found in (list(encoder._streamed(iter(given))), list(encoder.stream_in_place(iter(given)))):
        assert len(found) == len(given)
        for one, other in zip(found, wanted, strict=True):
            assert torch.equal(torch.as_tensor(one.vectors), other.vectors)
            np.testing.assert_array_equal(one.token_counts, other.token_counts)
            np.testing.assert_array_equal(one.finite, other.finite)
    assert encoder.counts.texts == 3 * texts


@pytest.mark.parametrize("device", DEVICES)
def test_an_error_of_the_reader_comes_out_of_the_stream(build: Callable[..., Path], device: str) -> None:
    encoder = load(build, device)

    def broken():
        yield ["hi"], None
        yield ["there"], None
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(encoder._streamed(broken()))


class Answering:
    """Gives the answers that an encoder gave."""

    labels, has_head = (), False

    def __init__(self, answers: dict[tuple[str, ...], Encoded]) -> None:
        self._answers = answers

    def encode(self, texts, pairs=None) -> Encoded:
        raise AssertionError("vectors came to the host")

    def encode_in_place(self, texts, pairs=None) -> Encoded:
        return self._answers[tuple(texts)]

    def stream_in_place(self, batches):
        return (self.encode_in_place(texts, pairs) for texts, pairs in batches)


@pytest.mark.parametrize("device", DEVICES)
def test_a_backfill_folds_tensors_to_the_sketch_that_numpy_gives(build: Callable[..., Path], device: str) -> None:
    encoder = load(build, device)
    texts = [f"where is order {i}" + " please" * (i % 5) for i in range(120)]
    basis = fit_basis(
        encoder.encode([f"my order {i} is late" for i in range(80)]).vectors, rng=np.random.default_rng(1)
    )
    batches = [
        TextBatch(
            texts=texts[start : start + 50],
            row_ids=np.arange(start, min(start + 50, 120)),
            labels=None,
            confidences=None,
            scores=None,
        )
        for start in range(0, 120, 50)
    ]

    tensors = {tuple(batch.texts): encoder.encode_on_device(batch.texts) for batch in batches}
    arrays = {texts: replace(encoded, vectors=encoded.vectors.cpu().numpy()) for texts, encoded in tensors.items()}
    found, wanted = (embed_shard(batches, Answering(answers), basis) for answers in (tensors, arrays))
    assert found.counts() == wanted.counts()
    for name in Sketch.__dataclass_fields__.keys() - {"n", "basis_digest"}:
        have, want = getattr(found.sketch, name), getattr(wanted.sketch, name)
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6 * np.abs(want).max(initial=0), err_msg=name)
