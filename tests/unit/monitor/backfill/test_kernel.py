"""The kernel: partial sketches of any cut of the rows merge to the sketch of a single pass."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from detectors.sketch import QUANTITIES, Basis, Sketch, fold, merge
from monitor.backfill.kernel import embed_shard, fit_on
from monitor.backfill.reading import TextBatch, row_ids
from monitor.baseline import observe
from monitor.jobs.baseline import class_indexes, fold_observations
from monitor.models import LoadedModel
from monitor.texts import TextTable

N, D = 5000, 12


@dataclass
class Encoded:
    vectors: np.ndarray
    token_counts: np.ndarray
    truncated: np.ndarray
    unknown_shares: np.ndarray
    finite: np.ndarray


class HashEncoder:
    """A vector of every text that depends on nothing but the text."""

    labels = ("a", "b")
    has_head = True

    def encode(self, texts: Sequence[str], pairs: Sequence[str | None] | None = None) -> Encoded:
        seeds = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") for text in texts]
        vectors = np.array([np.random.default_rng(seed).normal(size=D) for seed in seeds]).reshape(-1, D)
        finite = np.array(["bad" not in text for text in texts], dtype=bool)
        vectors[~finite] = np.nan
        counts = np.array([len(text) for text in texts], dtype=np.int64)
        return Encoded(vectors.astype(np.float32), counts, counts > 9, (counts % 3) / 4, finite)

    def encode_in_place(self, texts: Sequence[str], pairs: Sequence[str | None] | None = None) -> Encoded:
        return self.encode(texts, pairs)

    def stream_in_place(
        self, batches: Iterable[tuple[Sequence[str], Sequence[str | None] | None]]
    ) -> Iterator[Encoded]:
        return (self.encode(texts, pairs) for texts, pairs in batches)


def batch(rows: Sequence[int]) -> TextBatch:
    known = np.array(rows)
    return TextBatch(
        texts=[f"text {i}" if i % 100 else f"bad {i}" for i in rows],
        row_ids=row_ids("a.parquet", known),
        labels=[("a", "b", None, "new")[i % 4] for i in rows],
        confidences=np.where(known % 3 == 0, np.nan, (known % 7) / 7),
        scores=[{"a": 0.5, "b": 0.5} if i % 2 else None for i in rows],
    )


@pytest.fixture(scope="module")
def basis() -> Basis:
    found, texts = fit_on([batch(range(N, N + 300)), batch(range(N + 300, N + 500))], HashEncoder(), seed=1)
    assert texts == 495
    assert found.classes == ("a", "b", "new")
    return found


def single_pass(basis: Basis) -> Sketch:
    one = batch(range(N))
    encoded = HashEncoder().encode(one.texts)
    kept = np.flatnonzero(encoded.finite)
    entropies = np.array([np.log(2) if i % 2 else np.nan for i in range(N)])
    return fold(
        basis,
        encoded.vectors[kept],
        row_ids=one.row_ids[kept],
        classes=class_indexes(one.labels or [], basis.classes)[kept],
        confidences=None if one.confidences is None else one.confidences[kept],
        entropies=entropies[kept],
        token_lengths=encoded.token_counts[kept],
        truncated=encoded.truncated[kept].astype(float),
        unknown_shares=encoded.unknown_shares[kept],
    )


def cuts() -> Iterable[list[list[int]]]:
    rows = list(range(N))
    yield [rows]
    yield [rows[start : start + 700] for start in range(0, N, 700)]
    shuffled = np.random.default_rng(0).permutation(N).tolist()
    yield [shuffled[start : start + 1100] for start in range(0, N, 1100)]


@pytest.mark.parametrize("shards", list(cuts()), ids=["one", "in order", "shuffled"])
def test_partial_sketches_of_any_cut_merge_to_a_single_pass(basis: Basis, shards: list[list[int]]) -> None:
    wanted = single_pass(basis)
    parts = [
        embed_shard([batch(rows[start : start + 300]) for start in range(0, len(rows), 300)], HashEncoder(), basis)
        for rows in shards
    ]
    merged = merge([part.sketch for part in parts])
    assert merged.n == wanted.n == N - N // 100
    assert sum(part.nonfinite for part in parts) == N // 100
    for name in Sketch.__dataclass_fields__:
        if name not in {"basis_digest", "n"}:
            np.testing.assert_allclose(getattr(merged, name), getattr(wanted, name), rtol=1e-9, atol=1e-9, err_msg=name)
    assert wanted.entropy_counts.sum() > 0


def test_a_backfilled_sketch_and_a_single_pass_carry_the_same_quantities(basis: Basis) -> None:
    texts, confidences = tuple(f"text {i}" for i in range(1, 100)), np.full(99, 0.7)
    table = TextTable(texts, labels=("a",) * 99, confidences=confidences)
    loaded = LoadedModel("intents", "1", "sha256:0", HashEncoder())  # type: ignore[arg-type]  # what is asked of one
    observed = observe(loaded, table)
    ids = row_ids("a.parquet", np.arange(99))
    single = fold_observations(basis, observed, row_ids=ids, chosen=np.arange(99))
    backfilled = embed_shard(
        [TextBatch(texts, ids, labels=table.labels, confidences=confidences)], HashEncoder(), basis
    ).sketch
    for name in QUANTITIES:
        counts = [getattr(sketch, f"{name}_counts").tolist() for sketch in (backfilled, single)]
        assert counts[0] == counts[1], name
    assert backfilled.unknown_share_counts.sum() == 99


def test_the_counts_are_of_all_rows_and_progress_hears_each_batch(basis: Basis) -> None:
    heard: list[int] = []
    part = embed_shard([batch(range(50)), batch(range(50, 120))], HashEncoder(), basis, advance=heard.append)
    lengths = [len(text) for text in batch(range(120)).texts]
    assert heard == [50, 70]
    truncated = sum(length > 9 for length in lengths)
    assert part.counts() == {"n": 118, "tokens": sum(lengths), "truncated": truncated, "nonfinite": 2}


def test_no_rows_give_the_empty_sketch(basis: Basis) -> None:
    assert embed_shard([], HashEncoder(), basis).sketch.n == 0
