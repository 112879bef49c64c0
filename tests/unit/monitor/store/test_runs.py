"""Runs, the lease of who does them, and how long they are kept."""

from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from monitor import store
from tests.unit.monitor.store.rows import NOW, insert, prediction, run, waiting

TTL = timedelta(seconds=60)


def test_rerunning_a_window_keeps_the_row_that_stands(engine: Engine) -> None:
    result = store.StoredResult(0, "kl_cells", 0.4, "nats", 0.001, 0.1, True)
    with store.writing(engine) as session:
        assert store.record_run(session, run(), [result])
    with store.writing(engine) as session:
        assert not store.record_run(session, run(drift=False), [])
    with Session(engine) as session:
        (kept,) = store.runs(session, job="drift")
        assert kept.drift is True
        assert kept.seed == 2**47
        assert [one.name for one in store.results_of(session, [kept.id])[kept.id]] == ["kl_cells"]
        assert store.counts(session) == {("intents", "run.drift.ok"): 1}


def test_a_failed_run_and_one_with_too_little_data_give_way_to_the_next(engine: Engine) -> None:
    failed = run(status="failed", drift=None, p_value=None, error="registry away")
    little = run(status="too_little_data", drift=None, p_value=None, n=3)
    for one in (failed, failed, little, run()):
        with store.writing(engine) as session:
            assert store.record_run(session, one, [])
    with Session(engine) as session:
        (kept,) = store.runs(session)
        assert (kept.status, kept.error) == ("ok", None)
        assert store.counts(session)["intents", "run.drift.failed"] == 2


def test_the_latest_answer_is_a_verdict_and_not_an_empty_window_after_it(engine: Engine) -> None:
    later = {"window_start": NOW + timedelta(hours=1), "window_end": NOW + timedelta(hours=2)}
    with store.writing(engine) as session:
        store.record_run(session, run(), [])
        store.record_run(session, run(status="too_little_data", drift=None, p_value=None, n=0, **later), [])
    with Session(engine) as session:
        (latest,) = store.latest_runs(session)
        assert (latest.window_start, latest.drift) == (NOW, True)


def test_a_lease_has_one_holder_and_a_new_term_for_the_next(engine: Engine) -> None:
    with store.writing(engine) as session:
        first = store.take_lease(session, name="jobs", holder="a", now=NOW, ttl=TTL)
        assert first is not None
        assert store.take_lease(session, name="jobs", holder="b", now=NOW, ttl=TTL) is None
    later = NOW + TTL
    with store.writing(engine) as session:
        assert not store.renew_lease(session, first, now=later, ttl=TTL)
        second = store.take_lease(session, name="jobs", holder="b", now=later, ttl=TTL)
        assert second is not None
        assert second.term == first.term + 1
        assert not store.holds_lease(session, first, now=NOW)
        assert store.holds_lease(session, second, now=later)


def retain(engine: Engine, *, text_days: int, results_days: int) -> dict[str, int]:
    steps = store.retention_steps(
        text_before=NOW - timedelta(days=text_days), results_before=NOW - timedelta(days=results_days)
    )
    changed = {}
    for name, step in steps.items():
        with store.writing(engine) as session:
            changed[name] = step(session)
    return changed


def test_retention_drops_what_is_old_and_nothing_else(engine: Engine) -> None:
    insert(engine, prediction(1, timestamp=NOW - timedelta(days=40)), prediction(2))
    with store.writing(engine) as session:
        store.record_run(session, run(), [store.StoredResult(0, "kl_cells", 0.4, "nats", 0.1, 0.1, False)])
    dropped = retain(engine, text_days=30, results_days=-1)
    assert dropped["predictions"] == 1
    assert dropped["prediction_keys"] == 1
    assert dropped["runs"] == 1
    assert [one.text for one in waiting(engine)] == ["where is order 2"]


def test_a_verdict_outlives_the_texts_it_quotes(engine: Engine) -> None:
    quoted = {"cells": [{"cell": 3, "examples": ["hello"]}], "examples": [{"id": 7, "score": 2.0, "text": "hello"}]}
    with store.writing(engine) as session:
        store.record_run(session, run(payload=quoted), [])
    assert retain(engine, text_days=-1, results_days=400)["run_texts"] == 1
    with Session(engine) as session:
        (kept,) = store.runs(session)
        assert kept.payload["examples"] == [{"id": 7, "score": 2.0, "text": ""}]
        assert kept.payload["cells"] == [{"cell": 3, "examples": []}]
    assert retain(engine, text_days=-1, results_days=400)["run_texts"] == 0
