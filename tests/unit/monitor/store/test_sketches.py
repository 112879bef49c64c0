"""Sketches and baselines: what folds, once, and under which baseline."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from monitor import store
from tests.unit.monitor.store.rows import NOW, insert, prediction, run, sketch, waiting


def joined(first: bytes, second: bytes) -> bytes:
    return first + b"|" + second


def test_a_prediction_folds_once(engine: Engine) -> None:
    insert(engine, *(prediction(i) for i in range(3)))
    ids = [one.id for one in waiting(engine)]
    with store.writing(engine) as session:
        store.record_embedded(session, sketches=[sketch()], prediction_ids=ids, join=joined)
    assert waiting(engine) == []
    with pytest.raises(store.StoreError, match="3 of 3"), store.writing(engine) as session:
        store.record_embedded(session, sketches=[sketch()], prediction_ids=ids, join=joined)
    with Session(engine) as session:
        kept = store.sketches_in(
            session,
            model="intents",
            version="1",
            baseline_digest="sha256:b",
            start=NOW,
            end=NOW + timedelta(hours=1),
        )
        assert [one.payload for one in kept] == [b"\x00\xff"]
        assert store.sketch_totals(session) == {("intents", "1"): store.SketchTotals(3, 1, 0, 3, 2)}


def test_an_hour_has_one_sketch_however_often_it_is_added_to(engine: Engine) -> None:
    for _ in range(3):
        with store.writing(engine) as session:
            store.record_embedded(session, sketches=[sketch(payload=b"a")], prediction_ids=[], join=joined)
    with Session(engine) as session:
        end = NOW + timedelta(hours=1)
        (kept,) = store.sketches_in(
            session, model="intents", version="1", baseline_digest="sha256:b", start=NOW, end=end
        )
        assert (kept.payload, kept.n, kept.token_mismatched) == (b"a|a|a", 9, 6)
        assert store.counts(session)["intents", "texts.1.n"] == 9


def test_texts_that_come_after_the_verdict_are_counted_as_late(engine: Engine) -> None:
    with store.writing(engine) as session:
        store.record_run(session, run(), [])
        late, timely = sketch(), sketch(hour=NOW + timedelta(hours=1), n=5)
        store.record_embedded(session, sketches=[late, timely], prediction_ids=[], join=joined)
    with Session(engine) as session:
        assert store.counts(session)["intents", "texts.1.late"] == 3


def test_predictions_are_released_for_a_new_baseline(engine: Engine) -> None:
    insert(engine, *(prediction(i) for i in range(3)))
    with store.writing(engine) as session:
        ids = [one.id for one in waiting(engine)]
        store.record_embedded(session, sketches=[sketch()], prediction_ids=ids, join=joined)
    with store.writing(engine) as session:
        since = NOW + timedelta(minutes=1)
        release = {"model": "intents", "version": "1", "baseline_digest": "sha256:b"}
        assert store.release_embedded(session, **release, since=since) == 2
        assert store.sketched_texts(session, model="intents", version="1", since=NOW) == {}
    assert [one.text for one in waiting(engine)] == ["where is order 1", "where is order 2"]


def test_sketches_of_another_baseline_or_hour_stay_out(engine: Engine) -> None:
    with store.writing(engine) as session:
        others = [sketch(baseline_digest="sha256:c"), sketch(hour=NOW + timedelta(hours=1))]
        store.record_embedded(session, sketches=others, prediction_ids=[], join=joined)
    with Session(engine) as session:
        end = NOW + timedelta(hours=1)
        kept = store.sketches_in(session, model="intents", version="1", baseline_digest="sha256:b", start=NOW, end=end)
        assert kept == []


def test_the_baseline_saved_last_is_the_newest_also_when_it_was_there_before(engine: Engine) -> None:
    one = store.StoredBaseline(
        "intents", "1", "sha256:a", "cpu", "sha256:m", "sha256:t", b"basis", b"reference", ["text"], {"seed": 0}, NOW
    )
    other = replace(one, digest="sha256:b")
    for minutes, saved in enumerate([one, other, one]):
        with store.writing(engine) as session:
            store.save_baseline(session, replace(saved, created_at=NOW + timedelta(minutes=minutes)))
        with Session(engine) as session:
            found = store.latest_baseline(session, model="intents", version="1")
        assert found == replace(saved, created_at=NOW + timedelta(minutes=minutes))


def test_a_baseline_saved_again_takes_its_new_summary(engine: Engine) -> None:
    saved = store.StoredBaseline("intents", "1", "d", "fp32", "m", "t", b"b", b"r", ["text"], {"labelled": 0}, NOW)
    with store.writing(engine) as session:
        store.save_baseline(session, saved)
        store.save_baseline(session, replace(saved, summary={"labelled": 7}))
    with Session(engine) as session:
        found = store.latest_baseline(session, model="intents", version="1")
    assert found is not None
    assert found.summary == {"labelled": 7}
