"""The manifest of backfills: a shard counts once, under one kernel, and only what is waiting is asked for."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from monitor import store

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


def record(engine: Engine, shard: str, *, run: str = "r", kernel: str = "k", payload: bytes = b"x") -> None:
    finished = store.FinishedShard(shard, kernel, {"n": 3}, [("a.parquet", 7, "no text")])
    with store.writing(engine) as session:
        store.record_shard(session, run=run, finished=finished, payload=payload, at=NOW)


def test_a_shard_that_two_workers_finished_counts_once_and_the_first_stays(engine: Engine) -> None:
    record(engine, "a", payload=b"first")
    record(engine, "a", payload=b"second")
    with Session(engine) as session:
        assert store.finished_shards(session, run="r", kernel_digest="k") == {
            "a": store.FinishedShard("a", "k", {"n": 3}, [("a.parquet", 7, "no text")])
        }
        assert store.shard_payload(session, run="r", shard="a", kernel_digest="k") == b"first"


def test_another_run_or_kernel_finds_nothing(engine: Engine) -> None:
    record(engine, "a")
    with Session(engine) as session:
        assert store.finished_shards(session, run="r", kernel_digest="other") == {}
        assert store.finished_shards(session, run="other", kernel_digest="k") == {}
        with pytest.raises(store.StoreError, match="run the same command again"):
            store.shard_payload(session, run="r", shard="b", kernel_digest="k")


def test_a_run_is_forgotten_on_demand_and_by_retention(engine: Engine) -> None:
    record(engine, "a")
    record(engine, "a", run="kept")
    with store.writing(engine) as session:
        store.forget_shards(session, run="r")
    with Session(engine) as session:
        assert store.finished_shards(session, run="r", kernel_digest="k") == {}
        assert list(store.finished_shards(session, run="kept", kernel_digest="k")) == ["a"]
    for before, dropped in ((NOW, 0), (NOW + timedelta(seconds=1), 1)):
        with store.writing(engine) as session:
            steps = store.retention_steps(text_before=before, results_before=NOW - timedelta(days=1))
            assert steps["backfill_shards"](session) == dropped
