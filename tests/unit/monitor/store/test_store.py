"""The store, on SQLite and on PostgreSQL."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from monitor import store
from monitor.store.engine import _alembic

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
TTL = timedelta(seconds=60)


def prediction(number: int, **fields) -> store.NewPrediction:
    usual = store.NewPrediction(
        event_id=f"e{number}",
        model="intents",
        version="1",
        timestamp=NOW + timedelta(minutes=number),
        received_at=NOW,
        content_digest=f"digest {number}",
        text=f"where is order {number}",
        label="shipping",
        prediction_json={"intent": "shipping"},
        confidence=0.75,
        scores={"shipping": 0.75, "billing": 0.25},
        attributes={"channel": "chat"},
    )
    return usual._replace(**fields)


def label(number: int, truth: str, *, minute: int, source: str = "default") -> store.NewLabel:
    at = NOW + timedelta(minutes=minute)
    return store.NewLabel(f"e{number}", "intents", truth, at, source, NOW, f"{truth} by {source}")


def run(**fields) -> store.NewRun:
    return replace(
        store.NewRun(
            job="drift",
            model="intents",
            version="1",
            window_start=NOW,
            window_end=NOW + timedelta(hours=1),
            status="ok",
            drift=True,
            p_value=0.001,
            n=10,
            seed=2**47,
            policy_digest="sha256:p",
            code_version="1",
            baseline_digest=None,
            payload={"cells": []},
            error=None,
            started_at=NOW,
            finished_at=NOW,
        ),
        **fields,
    )


def sketch(**fields) -> store.NewSketch:
    return replace(
        store.NewSketch(
            model="intents",
            version="1",
            hour=NOW,
            segment="",
            baseline_digest="sha256:b",
            n=3,
            truncated=1,
            nonfinite=0,
            token_checked=3,
            token_mismatched=2,
            payload=b"\x00\xff",
        ),
        **fields,
    )


def insert(engine: Engine, *rows: store.NewPrediction) -> store.InsertOutcome:
    with store.writing(engine) as session:
        return store.insert_predictions(session, rows)


def joined(first: bytes, second: bytes) -> bytes:
    return first + b"|" + second


def waiting(engine: Engine) -> list[store.StoredPrediction]:
    with Session(engine) as session:
        return store.unembedded(session, model="intents", version="1", before=NOW + timedelta(days=9), limit=100)


def test_the_schema_is_what_the_tables_say(engine: Engine) -> None:
    with engine.connect() as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        command.check(config)


def test_a_stale_schema_is_refused_with_the_command_that_mends_it(engine: Engine) -> None:
    with store.writing(engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(store.StaleSchema, match="driftwarden db upgrade"):
        store.require_current_schema(engine)


def test_the_schema_goes_down_and_up_again(engine: Engine) -> None:
    with engine.begin() as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    store.upgrade_schema(engine)
    assert insert(engine, prediction(1)).accepted == 1


def test_a_prediction_comes_back_as_it_went_in(engine: Engine) -> None:
    assert insert(engine, prediction(1)) == store.InsertOutcome(1, (), ())
    (found,) = waiting(engine)
    assert (found.text, found.label, found.confidence, found.timestamp) == (
        "where is order 1",
        "shipping",
        0.75,
        NOW + timedelta(minutes=1),
    )
    assert found.scores == {"shipping": 0.75, "billing": 0.25}
    assert found.attributes == {"channel": "chat"}


def test_an_id_counts_once_and_other_content_under_it_is_a_conflict(engine: Engine) -> None:
    assert insert(engine, prediction(1), prediction(2), prediction(1)) == store.InsertOutcome(2, (2,), ())
    again = insert(engine, prediction(2), prediction(3), prediction(1, content_digest="other"))
    assert again == store.InsertOutcome(1, (0,), (2,))
    assert len(waiting(engine)) == 3


def test_days_far_apart_are_stored_beside_each_other(engine: Engine) -> None:
    days = [prediction(i, timestamp=NOW + timedelta(days=3 * i - 6)) for i in range(4)]
    assert insert(engine, *days).accepted == 4
    assert insert(engine, prediction(9, timestamp=NOW + timedelta(days=3))).accepted == 1
    with Session(engine) as session:
        assert store.first_event_at(session, model="intents", version="1") == NOW - timedelta(days=6)


def test_writers_at_once_keep_every_id_once(engine: Engine) -> None:
    outcomes: list[store.InsertOutcome] = []

    def write(reverse: bool) -> None:
        rows = [prediction(i, timestamp=NOW + timedelta(days=i % 7)) for i in range(200)]
        outcomes.append(insert(engine, *(reversed(rows) if reverse else rows)))

    threads = [threading.Thread(target=write, args=(bool(i % 2),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcome.accepted for outcome in outcomes) == 200
    assert sum(outcome.duplicate for outcome in outcomes) == 600


def test_a_label_counts_once_per_source(engine: Engine) -> None:
    label = store.NewLabel("e1", "intents", "billing", NOW, "review", NOW, "a")
    with store.writing(engine) as session:
        assert store.insert_labels(session, [label, label]) == store.InsertOutcome(1, (1,), ())
    with store.writing(engine) as session:
        other = [replace(label, label="shipping", content_digest="b"), replace(label, source="survey")]
        assert store.insert_labels(session, other) == store.InsertOutcome(1, (), (0,))


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


def test_counters_add_up(engine: Engine) -> None:
    for _ in range(2):
        with store.writing(engine) as session:
            store.add_counts(session, {("intents", "accepted"): 2, ("intents", "duplicate"): 1})
    with Session(engine) as session:
        assert store.counts(session) == {("intents", "accepted"): 4, ("intents", "duplicate"): 2}


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


def test_a_transaction_that_fails_leaves_nothing(engine: Engine) -> None:
    def write_and_die() -> None:
        with store.writing(engine) as session:
            store.insert_predictions(session, [prediction(1)])
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_and_die()
    assert insert(engine, prediction(1)).accepted == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://x", "must be sqlite"),
        ("nonsense", "no database URL"),
        ("sqlite:////no/such/folder/a.db", "folder does not exist"),
        ("postgresql://user:secret@127.0.0.1:9/x", r"postgresql://user:\*\*\*@127"),
        ("postgresql://127.0.0.1:9/x?user=u&password=secret", r"x\?.*password=\*\*\*"),
        ("postgresql://user:secret@127.0.0.1:port/x", "no database URL"),
        ("sqlite:////tmp/a.db?timeout=long", r"timeout=long: .*'long'"),
    ],
)
def test_a_database_that_cannot_be_opened_is_said_in_one_line(url: str, said: str) -> None:
    with pytest.raises(store.StoreError, match=said) as caught:
        store.open_engine(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_error_of_the_database_names_no_value(engine: Engine) -> None:
    with pytest.raises(SQLAlchemyError) as caught, engine.begin() as connection:
        connection.execute(text("INSERT INTO no_such_table VALUES (:text)"), {"text": "my card is 4111 1111"})
    assert "4111" not in str(caught.value)


def test_answers_stand_beside_their_newest_label_in_the_order_of_the_labels(engine: Engine) -> None:
    kept = [prediction(number) for number in range(4)]
    kept += [prediction(4, label=None), prediction(5, representative=False), prediction(6, version="2")]
    kept += [prediction(90)]
    labels = [
        label(0, "billing", minute=9),
        label(1, "billing", minute=1),
        label(1, "shipping", minute=5, source="review"),
        label(2, "login", minute=3),
        *(label(number, "login", minute=4) for number in (4, 5, 6, 90)),
    ]
    with store.writing(engine) as session:
        store.insert_predictions(session, kept)
        store.insert_labels(session, labels)
    with Session(engine) as session:
        found = store.labelled_answers(
            session, model="intents", version="1", start=NOW, end=NOW + timedelta(minutes=60)
        )
    assert found == [("shipping", "login"), ("shipping", "shipping"), ("shipping", "billing")]


def test_a_baseline_saved_again_takes_its_new_summary(engine: Engine) -> None:
    saved = store.StoredBaseline("intents", "1", "d", "fp32", "m", "t", b"b", b"r", ["text"], {"labelled": 0}, NOW)
    with store.writing(engine) as session:
        store.save_baseline(session, saved)
        store.save_baseline(session, replace(saved, summary={"labelled": 7}))
    with Session(engine) as session:
        found = store.latest_baseline(session, model="intents", version="1")
    assert found is not None
    assert found.summary == {"labelled": 7}
