"""Reading shards: a row that cannot be used is told with its number, and the others come all the same."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitor.backfill.reading import Rejects, TextBatch, UnreadableShard, read_windows, row_ids
from monitor.backfill.shards import Shard, cut_shards
from monitor.backfill.sources import find_sources
from monitor.errors import InputError, TryAgainLater
from monitor.texts import text_rows


def write(path: Path, table: dict[str, object], **options: object) -> list[Shard]:
    pq.write_table(pa.table(table), path, **options)
    return cut_shards(find_sources([str(path)]), rows_per_shard=4)


def read(shards: list[Shard]) -> tuple[list[TextBatch], list[tuple[int, str]]]:
    rejects = Rejects()
    batches = [batch for shard in shards for batch in read_windows(shard, rejects)]
    assert rejects.count == len(rejects.listed)
    assert {file for file, _, _ in rejects.listed} <= {shard.name for shard in shards}
    return batches, [(row, reason) for _, row, reason in rejects.listed]


def test_poison_rows_are_told_by_their_row_of_the_file(tmp_path: Path) -> None:
    bad = pa.array([b"a", b"\xff\xfe", None, b"", b"x" * 1_000_001, b"e\x00f", b"g"], pa.binary()).view(pa.string())
    batches, rejects = read(write(tmp_path / "a.parquet", {"text": bad}))
    assert [text for batch in batches for text in batch.texts] == ["a", "", "e\ufffdf", "g"]
    assert rejects == [
        (2, "field text: not UTF-8"),
        (3, "field text must be a string, got null"),
        (5, "field text has 1000001 characters, at most 1000000 are taken"),
    ]
    ids = np.concatenate([batch.row_ids for batch in batches])
    assert ids.tolist() == row_ids(str(tmp_path / "a.parquet"), np.array([0, 3, 5, 6])).tolist()


def test_predictions_are_read_as_ingest_and_compare_read_them(tmp_path: Path) -> None:
    scores = [{"a": 0.25, "b": 0.75}, {"a": 0.5, "b": 0.5}, None, {"a": 0.9, "b": 0.9}]
    table = {
        "text": ["1", "2", "3", "4"],
        "prediction": [7, 8, None, 9],
        "scores": [None if one is None else json.dumps(one) for one in scores],
        "confidence": [None, 0.125, None, None],
    }
    (batch,), rejects = read(write(tmp_path / "a.parquet", table))
    assert batch.labels == ["7", "8", None]
    assert batch.confidences is not None
    np.testing.assert_equal(batch.confidences, [0.75, 0.125, np.nan])
    assert batch.scores == scores[:3]
    assert rejects == [(4, "field scores: probabilities must sum to 1, got 1.8000")]
    structs = {"text": ["1", "2"], "prediction": [{"label": "x"}, {"label": "y"}], "scores": scores[:2]}
    (batch,), rejects = read(write(tmp_path / "b.parquet", structs))
    assert (batch.labels, batch.scores, rejects) == (["x", "y"], scores[:2], [])


def test_a_wrong_prediction_or_second_text_is_poison_too(tmp_path: Path) -> None:
    table = {"text": ["1", "2", "3"], "text_pair": ["x", None, "y"], "prediction": [0.5, 1.5, 2.5]}
    _, rejects = read(write(tmp_path / "a.parquet", table))
    assert rejects == [
        (1, "field prediction must be a label or a class id, got 0.5"),
        (2, "field text_pair must be a string, got null"),
        (3, "field prediction must be a label or a class id, got 2.5"),
    ]


def test_dictionary_columns_and_any_row_groups_give_the_same_rows(tmp_path: Path) -> None:
    texts = [f"text {i % 5}" for i in range(23)]
    plain, _ = read(write(tmp_path / "a.parquet", {"text": texts}))
    encoded = {"text": pa.array(texts).dictionary_encode()}
    grouped, _ = read(write(tmp_path / "a.parquet", encoded, row_group_size=3))
    assert [text for batch in grouped for text in batch.texts] == texts
    for column in ("texts", "row_ids"):
        assert np.concatenate([getattr(b, column) for b in grouped]).tolist() == (
            np.concatenate([getattr(b, column) for b in plain]).tolist()
        )


def test_damaged_pages_make_the_shard_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rng = np.random.default_rng(0)
    write(path, {"text": [rng.bytes(40).hex() for _ in range(4)]}, compression="zstd")
    content = bytearray(path.read_bytes())
    content[40:200] = bytes(160)
    path.write_bytes(content)
    (shard,) = cut_shards(find_sources([str(path)]))
    with pytest.raises(UnreadableShard, match="not readable Parquet"):
        list(read_windows(shard, Rejects()))


def test_a_small_compressed_file_of_large_rows_is_read_in_bounded_memory(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["word " * 100_000] * 600}), tmp_path / "a.parquet", compression="zstd")
    shards = cut_shards(find_sources([str(tmp_path / "a.parquet")]))
    usual, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        batches, _ = read(shards)
        held = pool.max_memory()
        assert sum(1 for _ in text_rows(tmp_path / "a.parquet")) == 600
    finally:
        pa.set_memory_pool(usual)
    assert sum(len(batch.texts) for batch in batches) == 600
    assert 0 < held <= pool.max_memory() < 150_000_000  # of 300 MB


@pytest.mark.parametrize("torn", [False, True])
def test_a_file_rewritten_after_the_shards_were_cut_is_for_later(tmp_path: Path, *, torn: bool) -> None:
    shards = write(tmp_path / "a.parquet", {"text": ["a", "b", "c"]})
    write(tmp_path / "a.parquet", {"text": ["another", "b", "c"]})
    if torn:
        (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(TryAgainLater, match=r"a.parquet was rewritten while it was read"):
        read(shards)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(RuntimeError("the driver lost its session"), TryAgainLater), (PermissionError("no access"), InputError)],
)
def test_a_storage_that_fails_in_the_middle_is_never_taken_for_damaged_rows(
    tmp_path: Path, raised: Exception, kind: type[Exception]
) -> None:
    fsspec = pytest.importorskip("fsspec", reason="needs the cloud extra")
    (whole,) = write(tmp_path / "a.parquet", {"text": ["x"] * 4})
    memory = fsspec.filesystem("memory")
    memory.pipe("/logs/a.parquet", (tmp_path / "a.parquet").read_bytes())

    class Failing(type(memory)):  # type: ignore[misc]  # a class known at run time
        def _open(self, *_: object, **__: object) -> None:
            raise raised

    shard = replace(whole, uri="memory://logs/a.parquet")
    assert [batch.texts for batch in read_windows(shard, Rejects())] == [["x"] * 4]
    try:
        fsspec.register_implementation("memory", Failing, clobber=True)
        with pytest.raises(kind, match=r"memory://logs/a\.parquet: ") as told:
            list(read_windows(shard, Rejects()))
    finally:
        fsspec.register_implementation("memory", type(memory), clobber=True)
        memory.rm("/logs", recursive=True)
    assert not isinstance(told.value, UnreadableShard)
