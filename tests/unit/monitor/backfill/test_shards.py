"""Cutting files: every row in exactly one shard, whatever the row groups; wrong files refused before any work."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.backfill.shards import Shard, _cut, choose_fitted, cut_shards
from monitor.backfill.sources import Source, find_sources
from monitor.errors import InputError


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 25))
def test_shards_hold_every_row_once_and_point_at_their_groups(groups: list[int], size: int) -> None:
    shards = _cut(Source("a", 1, 1), ("text",), groups, rows_per_shard=size)
    covered = [row for shard in shards for row in range(shard.first_row, shard.first_row + shard.rows)]
    assert covered == list(range(sum(groups)))
    owner = [group for group, rows in enumerate(groups) for _ in range(rows)]
    for shard in shards:
        assert 1 <= shard.rows <= size
        held = owner[shard.first_row : shard.first_row + shard.rows]
        assert set(held) <= set(shard.groups)
        assert (shard.groups[0], shard.groups[-1]) == (held[0], held[-1])
        assert sum(groups[: shard.groups[0]]) + shard.skip == shard.first_row
    assert [Shard.from_json(shard.to_json()) for shard in shards] == shards


def test_small_groups_are_joined_and_long_ones_cut() -> None:
    shards = _cut(Source("a", 1, 1), ("text",), [3, 3, 3, 20, 1], rows_per_shard=7)
    assert [(shard.first_row, shard.rows) for shard in shards] == [(0, 6), (6, 3), (9, 7), (16, 7), (23, 7)]


def test_a_rewritten_file_is_another_shard() -> None:
    (before,), (after,) = (_cut(Source("a", 1, at), ("text",), [5], rows_per_shard=9) for at in (1, 2))
    assert before.key != after.key


def test_fitted_rows_are_at_most_half_and_the_same_every_time() -> None:
    shards = _cut(Source("a", 1, 1), ("text",), [101] * 9, rows_per_shard=101)
    chosen = choose_fitted(shards, texts=10_000, at_most_shards=64, seed=3)
    assert sum(len(shard.fitted) for shard in chosen) <= 909 // 2
    assert all(len(shard.fitted) == 50 for shard in chosen)
    few = choose_fitted(shards, texts=60, at_most_shards=3, seed=3)
    assert [len(shard.fitted) for shard in few if shard.fitted] == [20, 20, 20]
    assert choose_fitted(shards, texts=60, at_most_shards=3, seed=3) == few
    assert choose_fitted(shards, texts=60, at_most_shards=3, seed=4) != few


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"body": ["a"]}, "no column text; it has body"),
        ({"text": [1]}, "column text must hold strings, got int64"),
        ({"text": ["a"], "text_pair": [1.5]}, "column text_pair must hold strings, got double"),
        ({"text": ["a"], "prediction": ["a"]}, "must both have a column prediction or neither"),
        (None, "not readable Parquet"),
    ],
)
def test_a_wrong_file_is_named_before_any_work(
    tmp_path: Path, table: dict[str, list[object]] | None, said: str
) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    if table is None:
        (tmp_path / "b.parquet").write_bytes(b"PAR1 torn")
    else:
        pq.write_table(pa.table(table), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=said) as caught:
        cut_shards(find_sources([str(tmp_path)]))
    assert "b.parquet" in str(caught.value)


def test_the_key_of_a_shard_holds_no_password_and_does_not_depend_on_it() -> None:
    one, other = (
        _cut(Source(f"s3://id:{secret}@bucket/x", 1, 1), ("text",), [5], rows_per_shard=9)[0]
        for secret in ("hush", "quiet")
    )
    assert one.key == other.key == "s3://***@bucket/x#0+5@1-1"
    assert Shard.from_json(one.to_json()).uri == "s3://id:hush@bucket/x"


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet: column text stands there 2 times"):
        cut_shards(find_sources([str(tmp_path)]))
