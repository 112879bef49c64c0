"""Which events are kept, and how each is answered and counted, on SQLite and PostgreSQL."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from scipy.stats import binomtest
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from monitor import store
from monitor.capture import Answer, prepare_labels, prepare_predictions, write_all
from monitor.policy import ModelPolicy, Policy, RetentionPolicy
from monitor.sampling import Sampler, unit_interval

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
RATE, FLOOR = 0.1, 20
FLOORED = Policy(models={"intents": ModelPolicy(version="1", sampling_rate=RATE, class_floor_per_hour=FLOOR)})


def event(number: int, **fields) -> dict:
    return {
        "id": f"e{number}",
        "model": "intents",
        "version": "1",
        "timestamp": "2026-05-01T11:00:00Z",
        "text": f"where is order {number}",
        "prediction": "shipping",
        **fields,
    }


def take(engine: Engine, events: list[dict], *, sampler: Sampler, policy: Policy = FLOORED) -> Answer:
    prepared = prepare_predictions(events, policy=policy, sampler=sampler, now=NOW, source="test")
    return write_all(engine, [prepared])[0]


def kept(engine: Engine, model: str = "intents") -> list[store.StoredPrediction]:
    with Session(engine) as session:
        return store.unembedded(session, model=model, version="1", before=NOW, limit=10_000)


def test_a_floor_keeps_more_of_a_rare_class_and_the_representative_rows_are_a_uniform_sample(engine: Engine) -> None:
    events = [event(i, prediction="rare" if i % 20 == 0 else "usual") for i in range(4000)]
    take(engine, events, sampler=Sampler())
    rows = kept(engine)
    assert Counter(row.label for row in rows)["rare"] >= FLOOR + 9  # the floor, and a tenth of the 180 after it
    representative = Counter(row.label for row in rows if row.representative)
    assert representative["rare"] + representative["usual"] == sum(
        unit_interval("intents", f"e{i}") < RATE for i in range(4000)
    )
    assert binomtest(representative["rare"], 200, RATE).pvalue > 1e-3
    assert {row.inclusion_probability for row in rows if not row.representative} == {1.0}
    with Session(engine) as session:
        mix = store.prediction_mix(session, model="intents", version="1", start=NOW - timedelta(hours=1), end=NOW)
    assert mix == representative


def test_everything_is_representative_where_everything_is_kept(engine: Engine) -> None:
    policy = Policy(models={"intents": ModelPolicy(version="1", class_floor_per_hour=FLOOR)})
    take(engine, [event(i) for i in range(50)], sampler=Sampler(), policy=policy)
    assert [row.representative for row in kept(engine)] == [True] * 50


def above_the_rate(count: int) -> list[dict]:
    """Return events that a floor alone keeps."""
    found = (event(i) for i in range(10_000) if unit_interval("intents", f"e{i}") >= RATE)
    return [next(found) for _ in range(count)]


def test_an_event_that_a_floor_kept_is_a_duplicate_when_it_is_sent_again(engine: Engine) -> None:
    events, sampler = above_the_rate(FLOOR + 5), Sampler()
    first = take(engine, events, sampler=sampler)
    assert (first.accepted, first.sampled_out) == (FLOOR, 5)
    for resent in (sampler, Sampler()):  # by the same process, or after a restart
        take(engine, [event(20_000 + i, id=f"full-{id(resent)}-{i}") for i in range(FLOOR)], sampler=resent)
        again = take(engine, events, sampler=resent)
        assert (again.accepted, again.duplicate, again.sampled_out) == (0, FLOOR, 5)
    with Session(engine) as session:
        counts = store.counts(session)
    assert counts["intents", "events.duplicate"] == 2 * FLOOR
    assert len(kept(engine)) >= FLOOR


def test_an_id_that_a_floor_kept_is_refused_with_other_content_whatever_the_sampler_says(engine: Engine) -> None:
    events, sampler = above_the_rate(FLOOR), Sampler()
    take(engine, events, sampler=sampler)
    answer = take(engine, [{**events[0], "text": "other"}], sampler=sampler)
    assert (answer.duplicate, answer.sampled_out) == (0, 0)
    assert [(one.index, one.field) for one in answer.rejected] == [(0, "id")]


def test_an_event_twice_in_a_request_is_one_and_a_duplicate_though_the_floor_is_full_between(engine: Engine) -> None:
    events = above_the_rate(FLOOR)
    answer = take(engine, [*events, events[0]], sampler=Sampler())
    assert (answer.accepted, answer.duplicate, answer.sampled_out) == (FLOOR, 1, 0)


def test_duplicates_take_no_place_of_the_floor(engine: Engine) -> None:
    events, sampler = above_the_rate(FLOOR), Sampler()
    take(engine, events[:5], sampler=sampler)
    for _ in range(3):
        assert take(engine, events[:5], sampler=sampler).duplicate == 5
    assert take(engine, events[5:], sampler=sampler).accepted == FLOOR - 5


def test_a_write_that_failed_gives_its_places_of_the_floor_back(engine: Engine) -> None:
    events, sampler = above_the_rate(FLOOR), Sampler()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE counters RENAME TO away"))
    prepared = prepare_predictions(events, policy=FLOORED, sampler=sampler, now=NOW, source="test")
    with pytest.raises(SQLAlchemyError):
        write_all(engine, [prepared])
    prepared.give_back()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO counters"))
    assert take(engine, events, sampler=sampler).accepted == FLOOR


def test_a_refused_event_sent_again_is_refused_again_and_counted_once(engine: Engine) -> None:
    bad = [event(1), event(2, scores={"a": 0.2}), 7, event(2, scores={"a": 0.2})]
    for _ in range(2):
        answer = take(engine, bad, sampler=Sampler())
        assert [one.index for one in answer.rejected] == [1, 2, 3]
    with Session(engine) as session:
        assert [(letter.index, letter.field) for letter in store.list_dead_letters(session)] == [
            (3, "scores"),
            (2, ""),
            (1, "scores"),
        ]
        counts = store.counts(session)
    assert (counts["intents", "events.rejected"], counts["", "events.rejected"]) == (2, 1)
    take(engine, [event(1), event(2, scores={"a": 0.3})], sampler=Sampler())
    with Session(engine) as session:
        assert store.counts(session)["intents", "events.rejected"] == 3


def test_names_that_nobody_registered_are_counted_together(engine: Engine) -> None:
    with store.writing(engine) as session:
        store.upsert_version(session, store.StoredVersion("registered", "1", "sha256:m", "sha256:t"))
    events = [event(i, model=f"made-up-{i}") for i in range(30)]
    take(
        engine,
        [*events, event(1, model="registered"), event(2, model="registered")],
        sampler=Sampler(),
        policy=Policy(),
    )
    labels = [{"id": f"e{i}", "model": f"made-up-{i}", "label": "a"} for i in range(3)]
    write_all(engine, [prepare_labels(labels, policy=Policy(), now=NOW, source="test")])
    with Session(engine) as session:
        assert store.counts(session) == {
            ("", "events.accepted"): 30,
            ("registered", "events.accepted"): 2,
            ("", "labels.accepted"): 3,
        }
        assert store.count_unembedded(session, most=1) == {("registered", "1"): 2}
        assert len(store.count_unembedded(session)) == 31


def test_models_of_the_policy_are_counted_by_name_before_anything_is_registered(engine: Engine) -> None:
    take(engine, [event(1)], sampler=Sampler())
    with Session(engine) as session:
        assert store.counts(session) == {("intents", "events.accepted"): 1}


def test_what_retention_dropped_is_not_taken_again(engine: Engine) -> None:
    old, days = event(1, timestamp=(NOW - timedelta(days=29)).isoformat()), Policy().retention.retain_text_days
    assert take(engine, [old], sampler=Sampler()).accepted == 1
    later = NOW + timedelta(days=2)
    steps = store.retention_steps(text_before=later - timedelta(days=days), results_before=NOW - timedelta(400))
    with store.writing(engine) as session:
        assert steps["prediction_keys"](session) == 1
    again = prepare_predictions([old], policy=FLOORED, sampler=Sampler(), now=later, source="test")
    (answer,) = write_all(engine, [again])
    assert (answer.accepted, [one.field for one in answer.rejected]) == (0, ["timestamp"])


def test_a_request_that_spans_more_than_a_year_is_taken(engine: Engine) -> None:
    policy = Policy(retention=RetentionPolicy(retain_text_days=500))
    events = [event(i, timestamp=(NOW - timedelta(days=i)).isoformat()) for i in range(400)]
    assert take(engine, events, sampler=Sampler(), policy=policy).accepted == 400
    assert take(engine, events, sampler=Sampler(), policy=policy).duplicate == 400
