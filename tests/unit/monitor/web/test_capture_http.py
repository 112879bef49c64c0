"""Capture over HTTP, on SQLite and PostgreSQL: a 202 means durable, an id counts once, one bad event blocks nothing."""

import gzip
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from monitor import store
from monitor.app import create_app
from monitor.capture import prepare_predictions
from monitor.clock import ReplayedClock
from monitor.errors import TryAgainLater
from monitor.policy import CapturePolicy, ModelPolicy, Policy
from monitor.sampling import Sampler
from monitor.settings import Settings
from monitor.writer import Writer

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
POLICY = Policy(models={"intents": ModelPolicy(version="1"), "sampled": ModelPolicy(version="1", sampling_rate=0.3)})


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


@pytest.fixture
def http(database_url: str) -> Iterator[TestClient]:
    with TestClient(create_app(Settings(database_url=database_url), POLICY, ReplayedClock(NOW))) as client:
        yield client


def stored(engine: Engine) -> list[store.StoredPrediction]:
    with Session(engine) as session:
        return store.unembedded(session, model="intents", version="1", before=NOW, limit=10_000)


def test_events_are_counted_by_what_became_of_them(http: TestClient, engine: Engine) -> None:
    first = http.post("/v1/predictions", json=[event(1), event(2), event(1)])
    assert first.status_code == 202
    assert first.json() == {"accepted": 2, "duplicate": 1, "sampled_out": 0, "rejected": []}
    again = http.post("/v1/predictions", json=[event(1), event(2, text="other"), event(3, scores={"a": 0.2}), 7])
    answer = again.json()
    assert (answer["accepted"], answer["duplicate"]) == (0, 1)
    assert [(one["index"], one["field"]) for one in answer["rejected"]] == [(1, "id"), (2, "scores"), (3, "")]
    assert len(stored(engine)) == 2
    with Session(engine) as session:
        letters = store.list_dead_letters(session)
        assert [letter.field for letter in letters] == ["", "scores", "id"]
        assert json.loads(letters[2].payload)["text"] == "other"
        assert store.counts(session)["intents", "events.accepted"] == 2


def test_sampling_keeps_its_share_and_says_so(http: TestClient, engine: Engine) -> None:
    events = [event(i, model="sampled") for i in range(600)]
    answer = http.post("/v1/predictions", json=events).json()
    assert answer["accepted"] + answer["sampled_out"] == 600
    assert 120 < answer["accepted"] < 240
    assert http.post("/v1/predictions", json=events).json()["duplicate"] == answer["accepted"]
    with Session(engine) as session:
        kept = store.unembedded(session, model="sampled", version="1", before=NOW, limit=9)
    assert {one.inclusion_probability for one in kept} == {0.3}


def test_gzip_is_taken_and_bombs_and_torn_bodies_are_not(http: TestClient) -> None:
    headers = {"Content-Encoding": "gzip"}
    packed = gzip.compress(json.dumps([event(1)]).encode())
    assert http.post("/v1/predictions", content=packed, headers=headers).json()["accepted"] == 1
    bomb = gzip.compress(b" " * (40 << 20))
    assert http.post("/v1/predictions", content=bomb, headers=headers).status_code == 413
    torn = http.post("/v1/predictions", content=packed[:-9], headers=headers)
    assert (torn.status_code, torn.headers["content-type"]) == (400, "application/problem+json")
    assert http.post("/v1/predictions", content=b"x", headers={"Content-Encoding": "br"}).status_code == 415


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{}", 400, "JSON array"),
        (b"[", 400, "not JSON"),
        (b"\xff\xfe", 400, "not UTF-8 at byte 0"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"[" + b",".join([b"1"] * 5001) + b"]", 413, "5000 events, got 5001"),
    ],
)
def test_a_body_that_is_no_batch_is_a_problem_in_one_line(
    http: TestClient, body: bytes, status: int, said: str
) -> None:
    answer = http.post("/v1/predictions", content=body)
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


def test_a_lone_surrogate_a_nul_and_a_huge_text_block_nobody(http: TestClient, engine: Engine) -> None:
    body = "[{}, {}, {}]".format(
        json.dumps(event(1, text="a\x00b")),
        json.dumps(event(2)).replace("where is", "\\ud800"),
        json.dumps(event(3, text="x" * 5_000_000)),
    )
    answer = http.post("/v1/predictions", content=body.encode()).json()
    assert answer["accepted"] == 2
    assert [(one["index"], one["field"]) for one in answer["rejected"]] == [(2, "text")]
    assert [one.text for one in stored(engine)] == ["a\ufffdb", "\ufffd order 2"]


def test_labels_are_taken_once_a_source(http: TestClient) -> None:
    label = {"id": "e1", "model": "intents", "label": "billing", "timestamp": "2026-05-01T11:30:00Z"}
    assert http.post("/v1/labels", json=[label, {**label, "source": "survey"}]).json()["accepted"] == 2
    again = http.post("/v1/labels", json=[label, {**label, "label": "shipping"}]).json()
    assert (again["duplicate"], [one["field"] for one in again["rejected"]]) == (1, ["id"])


def test_health_ready_and_an_unknown_page(http: TestClient, engine: Engine) -> None:
    assert http.get("/-/healthy").status_code == 200
    assert http.get("/-/ready").status_code == 200
    unknown = http.get("/nowhere")
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert "No" in http.get("/").text
    with store.writing(engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    stale = http.get("/-/ready")
    assert stale.status_code == 503
    assert "driftwarden db upgrade" in stale.json()["detail"]


def test_over_its_bound_the_service_says_when_to_come_again(tmp_path: Path, sqlite_engine: Engine) -> None:
    policy = Policy(capture=CapturePolicy(max_queued_requests=1), models=POLICY.models)
    url = f"sqlite:///{tmp_path}/driftwarden.db"
    app = create_app(Settings(database_url=url), policy, ReplayedClock(NOW))
    with TestClient(app) as http, store.writing(sqlite_engine) as session:
        session.execute(text("DELETE FROM counters"))  # the write lock is ours: the first request waits for it
        waiting = threading.Thread(target=http.post, args=("/v1/predictions",), kwargs={"json": [event(1)]})
        waiting.start()
        answer = None
        for _ in range(100):
            answer = http.post("/v1/predictions", json=[])
            if answer.status_code == 429:
                break
        assert answer is not None
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        session.commit()
        waiting.join(timeout=30)
        assert http.post("/v1/predictions", json=[event(1)]).json()["duplicate"] == 1


def test_requests_that_wait_together_share_a_commit_and_one_that_fails_fails_alone(sqlite_engine: Engine) -> None:
    def prepared(number: int):
        events = [event(number)]
        return prepare_predictions(events, policy=POLICY, sampler=Sampler(), now=NOW, source="test")

    broken = prepared(2)
    broken.rows[0] = "not a row"  # type: ignore[call-overload]
    writer = Writer(sqlite_engine, max_queued=10)
    futures = [writer.submit(one) for one in (prepared(1), broken, prepared(3))]
    writer.start()
    assert futures[0].result(timeout=10).accepted == 1
    assert futures[2].result(timeout=10).accepted == 1
    with pytest.raises(AttributeError):
        futures[1].result(timeout=10)
    writer.stop()


def test_a_database_that_fails_is_try_again_and_not_an_acceptance(sqlite_engine: Engine) -> None:
    with store.writing(sqlite_engine) as session:
        session.execute(text("DROP TABLE predictions"))
    writer = Writer(sqlite_engine, max_queued=10)
    writer.start()
    future = writer.submit(prepare_predictions([event(1)], policy=POLICY, sampler=Sampler(), now=NOW, source="test"))
    with pytest.raises(TryAgainLater):
        future.result(timeout=10)
    writer.stop()
