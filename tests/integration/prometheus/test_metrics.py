"""What the service exposes, before Prometheus's own checker."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from alerts import names
from monitor import store
from monitor.app import create_app
from monitor.clock import ReplayedClock
from monitor.policy import ModelPolicy, Policy
from monitor.settings import Settings

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
POLICY = Policy(models={"intents": ModelPolicy(version="1")})


def run_of(**fields) -> store.NewRun:
    values = {
        "job": "drift",
        "model": "intents",
        "version": "1",
        "window_start": datetime(2026, 5, 1, 10, tzinfo=UTC),
        "window_end": datetime(2026, 5, 1, 11, tzinfo=UTC),
        "status": "ok",
        "drift": True,
        "p_value": 0.002,
        "n": 80,
        "seed": 1,
        "policy_digest": "p",
        "code_version": "1",
        "baseline_digest": "b",
        "payload": {},
        "error": None,
        "started_at": NOW,
        "finished_at": NOW,
    }
    return store.NewRun(**{**values, **fields})


def scrape(database_url: str, *, encoders: Any = None) -> str:
    app = create_app(Settings(database_url=database_url), POLICY, ReplayedClock(NOW), encoders=encoders)
    with TestClient(app) as http:
        answer = http.get("/metrics")
    assert answer.status_code == 200
    return answer.text


@dataclass
class Counts:
    """An encoder's counts, without loading torch for them."""

    texts: int = 0
    duplicates: int = 0
    cache_hits: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    out_of_memory_retries: int = 0
    compute_seconds: float = 0.0
    load_seconds: float = 0.0


def test_every_counter_child_stands_at_zero_from_the_start(database_url: str) -> None:
    text = scrape(database_url)
    for outcome in ("accepted", "duplicate", "sampled_out", "rejected"):
        assert f'driftwarden_events_total{{model="intents",outcome="{outcome}"}} 0.0' in text
    assert 'driftwarden_runs_total{driftwarden_job="drift",status="failed"} 0.0' in text
    assert "driftwarden_dead_letters_total 0.0" in text


def test_the_encoders_counts_are_exposed_for_watched_models_and_stand_at_zero_before(database_url: str) -> None:
    assert 'driftwarden_encoder_tokens_total{model="intents"} 0.0' in scrape(database_url)
    counts = {"intents": Counts(texts=7, tokens=50, compute_seconds=0.5, load_seconds=2.5), "unwatched": Counts()}
    text = scrape(database_url, encoders=counts)
    assert 'driftwarden_encoder_texts_total{model="intents"} 7.0' in text
    assert 'driftwarden_encoder_compute_seconds_total{model="intents"} 0.5' in text
    assert 'driftwarden_encoder_load_seconds{model="intents"} 2.5' in text
    assert "unwatched" not in text


def test_the_latest_verdict_is_exposed_and_survives_a_restart(database_url: str, engine: Engine) -> None:
    with store.writing(engine) as session:
        store.record_run(session, run_of(), [store.StoredResult(0, "kl_cells", 0.5, "nats", 0.002, 0.1, True)])
        failed = run_of(window_start=NOW, window_end=datetime(2026, 5, 1, 13, tzinfo=UTC), status="failed", drift=None)
        store.record_run(session, failed, [])
    for _ in range(2):
        text = scrape(database_url)
        assert 'driftwarden_drift_detected{model="intents",version="1"} 1.0' in text
        assert 'driftwarden_drift_statistic{detector="kl_cells",model="intents",version="1"} 0.5' in text
        assert 'driftwarden_runs_total{driftwarden_job="drift",status="failed"} 1.0' in text
        ended = text.partition('window_end_timestamp_seconds{driftwarden_job="drift",model="intents",version="1"} ')[2]
        assert float(ended.split()[0]) == datetime(2026, 5, 1, 11, tzinfo=UTC).timestamp()


@pytest.mark.integration
def test_promtool_finds_nothing_to_say_about_the_metrics(
    database_url: str, engine: Engine, missing_service: Callable[[str], None]
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing_service("promtool")
    with store.writing(engine) as session:
        store.record_run(session, run_of(), [store.StoredResult(0, "kl_cells", 0.5, "nats", 0.002, 0.1, True)])
    text = scrape(database_url)
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")} <= set(names.METRICS)
    done = subprocess.run([str(promtool), "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_versions_that_clients_make_up_are_one_series(database_url: str, engine: Engine) -> None:
    rows = [
        store.NewPrediction(f"d{i}", f"e{i}", model, f"v{i}", NOW, NOW, text="hello")
        for i, model in enumerate(["intents"] * 5 + [f"made up {i}" for i in range(5)])
    ]
    with store.writing(engine) as session:
        store.insert_predictions(session, rows)
    waiting = [line for line in scrape(database_url).splitlines() if line.startswith("driftwarden_unembedded_texts{")]
    assert waiting == [
        'driftwarden_unembedded_texts{model="",version="other"} 5.0',
        'driftwarden_unembedded_texts{model="intents",version="other"} 5.0',
    ]
