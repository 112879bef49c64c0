"""Capture over HTTP, on SQLite and PostgreSQL: a 202 means durable, an id counts once, one bad event blocks nothing."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from monitor import store
from monitor.app import create_app
from monitor.clock import ReplayedClock
from monitor.policy import ModelPolicy, Policy
from monitor.settings import Settings

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
    assert (again["duplicate"], [one["field"] for one in again["rejected"]]) == (1, ["label"])


def test_gzip_of_several_members_is_read_whole_and_what_follows_it_must_be_gzip(http: TestClient) -> None:
    headers = {"Content-Encoding": "gzip"}
    parts = [json.dumps([event(1)])[:-1], ", ", json.dumps([event(2)])[1:]]
    packed = b"".join(gzip.compress(part.encode()) for part in parts)
    assert http.post("/v1/predictions", content=packed, headers=headers).json()["accepted"] == 2
    junk = http.post("/v1/predictions", content=packed + b"junk", headers=headers)
    assert (junk.status_code, "what follows gzip member 3" in junk.json()["detail"]) == (400, True)
    torn = http.post("/v1/predictions", content=packed[:-9], headers=headers)
    assert torn.status_code == 400
    bomb = gzip.compress(b" " * (9 << 20))
    assert http.post("/v1/predictions", content=bomb * 2, headers=headers).status_code == 413
    many = http.post("/v1/predictions", content=gzip.compress(b"") * 2000, headers=headers)
    assert (many.status_code, "1000 members" in many.json()["detail"]) == (400, True)


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


@pytest.mark.parametrize("window", ["²d", "9" * 5000 + "d", "30m"])
def test_a_window_of_a_page_that_cannot_be_read_is_a_problem_in_one_line(http: TestClient, window: str) -> None:
    answer = http.get("/models/intents/1/report", params={"window": window})
    assert (answer.status_code, "window" in answer.json()["detail"]) == (400, True)
