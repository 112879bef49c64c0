"""Rows as they usually are, to be stored."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from monitor import store

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


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


def waiting(engine: Engine) -> list[store.StoredPrediction]:
    with Session(engine) as session:
        return store.unembedded(session, model="intents", version="1", before=NOW + timedelta(days=9), limit=100)
