"""One event in, one row or one refusal out."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.events import PredictionEvent, Refusal, _PlainPrediction, clean_text, read_label, read_prediction
from monitor.policy import ModelPolicy, Policy
from monitor.store.types import NewLabel, NewPrediction

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
POLICY = Policy(models={"intents": ModelPolicy(version="1")})
GOOD = {
    "id": "e1",
    "model": "intents",
    "version": 3,
    "timestamp": "2026-05-01T11:59:00+02:00",
    "text": "where is my order",
    "prediction": "shipping",
    "scores": {"shipping": 0.7, "billing": 0.3},
    "attributes": {"channel": "chat", "vip": True, "age": 7},
}


def read(**fields):
    return read_prediction({**GOOD, **fields}, policy=POLICY, now=NOW)


def test_a_good_event_becomes_a_row() -> None:
    row = read()
    assert isinstance(row, NewPrediction)
    assert (row.version, row.label, row.confidence) == ("3", "shipping", 0.7)
    assert row.timestamp == datetime(2026, 5, 1, 9, 59, tzinfo=UTC)
    assert row.attributes == {"channel": "chat", "vip": "true", "age": "7"}


def test_an_object_counts_by_its_label_and_is_kept_whole() -> None:
    row = read(prediction={"label": "billing", "spans": [1, 2]})
    assert isinstance(row, NewPrediction)
    assert (row.label, row.confidence) == ("billing", 0.3)
    assert row.prediction_json == {"label": "billing", "spans": [1, 2]}


def test_a_class_number_counts_as_a_class() -> None:
    found = [read(prediction=given) for given in (3, {"label": 3}, True, 0.5)]
    assert [row.label for row in found if isinstance(row, NewPrediction)] == ["3", "3", None, None]


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"scores": {"a": float("nan"), "b": 1.0}}, "scores.a", "finite"),
        ({"scores": {"a": 0.4, "b": 0.4}}, "scores", "sum to 1, got 0.8"),
        ({"scores": {"a": 1.4, "b": -0.4}}, "scores.a", "less than or equal to 1"),
        ({"timestamp": "1970-01-01T00:00:00Z"}, "timestamp", "before 2015"),
        ({"timestamp": (NOW + timedelta(hours=1)).isoformat()}, "timestamp", "3600 s in the future"),
        ({"timestamp": "2026-03-31T12:00:00Z"}, "timestamp", "31.0 days old, retain_text_days is 30"),
        ({"timestamp": "2026-05-01T10:00:00"}, "timestamp", "timezone"),
        ({"timestamp": "yesterday"}, "timestamp", "valid datetime"),
        ({"text": "x" * 5_000_000}, "text", "5000000 characters"),
        ({"text": 7}, "text", "valid string"),
        ({"model": "other"}, "model", "names no model 'other'"),
        ({"tokencount": 7}, "tokencount", "unknown field"),
        ({"prediction": {"p": float("nan")}}, "prediction", "without NaN"),
        ({"latency_seconds": -1}, "latency_seconds", "greater than or equal"),
        ({"id": ""}, "id", "at least 1 character"),
        ({"token_count": -3}, "token_count", "greater than or equal"),
    ],
)
def test_a_bad_event_is_refused_with_field_and_value(fields: dict, field: str, said: str) -> None:
    refusal = read(**fields)
    assert isinstance(refusal, Refusal)
    assert refusal.field == field
    assert said in refusal.reason
    assert len(refusal.reason) < 400
    assert "\n" not in refusal.reason


def test_the_oldest_that_retention_keeps_is_taken_and_labels_follow_the_same_rule() -> None:
    oldest = NOW - timedelta(days=POLICY.retention.retain_text_days)
    assert isinstance(read(timestamp=oldest.isoformat()), NewPrediction)
    label = {"id": "e1", "model": "intents", "label": "billing"}
    late = read_label({**label, "timestamp": (oldest - timedelta(seconds=1)).isoformat()}, policy=POLICY, now=NOW)
    assert isinstance(late, Refusal)
    assert "retain_text_days is 30" in late.reason


@pytest.mark.parametrize("event", [None, 7, "text", [], {}])
def test_what_is_no_event_is_refused(event: object) -> None:
    assert isinstance(read_prediction(event, policy=POLICY, now=NOW), Refusal)


def test_the_same_event_has_the_same_digest_and_another_text_another() -> None:
    first, again, other = read(), read(scores={"billing": 0.3, "shipping": 0.7}), read(text="other")
    assert isinstance(first, NewPrediction)
    assert isinstance(again, NewPrediction)
    assert isinstance(other, NewPrediction)
    assert first.content_digest == again.content_digest != other.content_digest


def test_nul_and_lone_surrogates_are_replaced() -> None:
    row = read(text="a\x00b\ud800c", prediction={"label": "x\x00", "k": ["\udfff"]})
    assert isinstance(row, NewPrediction)
    assert row.text == "a\ufffdb\ufffdc"
    assert row.prediction_json == {"label": "x\ufffd", "k": ["\ufffd"]}


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_cleaned_text_can_be_kept_anywhere(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert "\x00" not in cleaned
    assert clean_text(cleaned) == cleaned


def test_a_label_needs_no_time_of_its_own() -> None:
    label = read_label({"id": "e1", "model": "intents", "label": "billing"}, policy=POLICY, now=NOW)
    assert isinstance(label, NewLabel)
    assert (label.timestamp, label.source) == (NOW, "default")


def test_both_models_of_an_event_declare_the_same_fields_in_the_order_of_the_row() -> None:
    fields = list(PredictionEvent.model_fields)
    assert fields == list(_PlainPrediction.model_fields)
    row = read(stage="s", endpoint="e", subject="u", token_count=7, tokenizer_digest="d", latency_seconds=0.5)
    assert isinstance(row, NewPrediction)
    assert (row.stage, row.endpoint, row.subject, row.token_count, row.tokenizer_digest) == ("s", "e", "u", 7, "d")
    assert (row.latency_seconds, row.text_pair, row.received_at) == (0.5, None, NOW)
