"""The pages over a real store: what waits for a baseline is seen, counts agree, and every page leads back."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from monitor import store
from monitor.app import create_app
from monitor.clock import ReplayedClock
from monitor.jobs.baseline import Observations, build_reference
from monitor.policy import ModelPolicy, Policy
from monitor.settings import Settings

NOW = datetime(2026, 5, 15, 12, tzinfo=UTC)
HALF_DAY = timedelta(hours=12)
POLICY = Policy(models={"intents": ModelPolicy(version="1")})


@pytest.fixture
def http(tmp_path: Path, sqlite_engine: Engine) -> Iterator[TestClient]:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/driftwarden.db")
    with TestClient(create_app(settings, POLICY, ReplayedClock(NOW))) as client:
        yield client


def add_baseline(engine: Engine) -> None:
    vectors = np.random.default_rng(0).normal(size=(400, 8))
    built = build_reference(Observations(vectors, texts=["text"] * 400), rng=np.random.default_rng(0))
    with store.writing(engine) as session:
        store.upsert_version(session, store.StoredVersion("intents", "1", "sha256:m", "sha256:t"))
        store.save_baseline(
            session,
            store.StoredBaseline(
                model="intents",
                version="1",
                digest="sha256:b",
                numeric_mode="cpu-float32",
                model_digest="sha256:m",
                tokenizer_digest="sha256:t",
                basis=built.basis.to_bytes(),
                reference=built.sketch.to_bytes(),
                reference_texts=list(built.texts),
                summary={"texts": 400},
                created_at=NOW,
            ),
        )


def add_run(engine: Engine, end: datetime, *, job: str = "drift", **fields: object) -> None:
    values: dict[str, object] = {
        "status": "ok",
        "drift": False,
        "p_value": 0.5,
        "n": 80,
        "seed": 1,
        "policy_digest": "p",
        "code_version": "1",
        "baseline_digest": "sha256:b",
        "payload": {},
        "error": None,
        "started_at": end,
        "finished_at": end,
    }
    run = store.NewRun(
        job=job, model="intents", version="1", window_start=end - HALF_DAY, window_end=end, **(values | fields)
    )  # type: ignore[arg-type]
    with store.writing(engine) as session:
        store.record_run(session, run, [])


def test_a_version_without_a_baseline_is_listed_with_what_waits_and_the_command(http: TestClient) -> None:
    event = {
        "id": "e1",
        "model": "intents",
        "version": "4",
        "timestamp": "2026-05-15T11:00:00Z",
        "text": "where is order 7",
        "prediction": "shipping",
    }
    assert http.post("/v1/predictions", json=[event, {**event, "id": "e2"}]).json()["accepted"] == 2
    page = http.get("/").text
    assert "intents/4" in page
    assert "no baseline" in page
    assert "driftwarden baseline intents/4 --reference FILE" in page
    assert '<td class="number">2</td>' in page
    assert 'href="/models' not in page


def test_the_overview_and_the_report_count_the_same_windows(http: TestClient, sqlite_engine: Engine) -> None:
    """The first window began before the 14 days and ended in them, the last but one has no verdict."""
    add_baseline(sqlite_engine)
    first = NOW - timedelta(days=14) + timedelta(hours=1)
    for number in range(27):
        add_run(
            sqlite_engine, first + number * HALF_DAY, drift=number % 5 == 0, p_value=0.001 if number % 5 == 0 else 1
        )
    add_run(sqlite_engine, first + 27 * HALF_DAY, status="too_little_data", drift=None, p_value=None)
    add_run(sqlite_engine, first - HALF_DAY, drift=True, p_value=0.001)  # ended before
    assert "6 of 27 drifted" in http.get("/").text
    assert "6 of 27 judged windows drifted" in http.get("/models/intents/1/report").text


def test_a_report_leads_back_and_to_evidentlys_page_where_one_was_written(
    http: TestClient, sqlite_engine: Engine, tmp_path: Path
) -> None:
    add_baseline(sqlite_engine)
    add_run(sqlite_engine, NOW)
    page = http.get("/models/intents/1/report").text
    assert '<a href="/">' in page
    assert "Evidently" not in page
    assert http.get("/models/intents/1/texts").status_code == 404
    written = tmp_path / "reports" / "report.html"
    add_run(sqlite_engine, NOW, job="report", drift=None, p_value=None, payload={"path": str(written)})
    assert http.get("/models/intents/1/texts").status_code == 404  # its page lies elsewhere
    written.parent.mkdir()
    (written.parent / "texts.html").write_text("<p>summary</p>")
    linked = http.get("/models/intents/1/report").text
    assert '<a href="/models/intents/1/texts">' in linked
    assert "2026-05-15 00:00 UTC to 2026-05-15 12:00 UTC</a>" in linked
    evidently = http.get("/models/intents/1/texts")
    assert evidently.text == "<p>summary</p>"
    assert evidently.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")


@pytest.mark.parametrize("window", ["xyz", "", "7", "-3d", "0h"])
def test_a_window_that_cannot_be_read_is_400_and_named(http: TestClient, window: str) -> None:
    answer = http.get("/models/intents/1/report", params={"window": window})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["detail"] == f"window takes a number and m, h or d (24h, 7d), got {window!r}"


def test_a_version_without_a_baseline_has_no_report(http: TestClient) -> None:
    answer = http.get("/models/intents/9/report")
    assert answer.status_code == 404
    assert "driftwarden baseline intents/9" in answer.json()["detail"]


def test_pages_may_load_and_run_nothing(http: TestClient) -> None:
    policy = http.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search("script-src", policy)
