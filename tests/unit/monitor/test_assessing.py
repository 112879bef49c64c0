"""The quality job on both databases: late labels restate history, visibly, and degradation alarms once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from prometheus_client.core import Metric
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from monitor import store
from monitor.assessing import assess_due
from monitor.clock import ReplayedClock, Window
from monitor.metrics import ResultsCollector
from monitor.policy import ModelPolicy, Policy, QualityPolicy
from monitor.quality.stored import assess
from monitor.runner import Runner

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = Policy(
    models={"intents": ModelPolicy(version="1", quality=QualityPolicy(window_hours=1, lag_horizon_hours=1))}
)
SUMMARY = {"errors": 100, "labelled": 1000, "scores": [[0.5 + i / 400, float(i % 10 > 0)] for i in range(200)]}


class NoModels:
    def version_of(self, reference: str) -> str:
        return "1"

    def load(self, name: str, version: str, policy: ModelPolicy) -> Any:
        raise AssertionError("quality loads no model")


@pytest.fixture
def runner(engine: Engine) -> Runner:
    return Runner(engine=engine, policy=POLICY, models=NoModels(), clock=ReplayedClock(BEGIN), code_version="test")


def predict(engine: Engine, count: int, *, hour: int) -> None:
    rows = [
        store.NewPrediction(
            event_id=f"{hour}-{i}",
            model="intents",
            version="1",
            timestamp=BEGIN + hour * HOUR + timedelta(seconds=i),
            received_at=BEGIN,
            content_digest=str(i),
            text="x",
            label="pay",
            confidence=0.5 + (i % 200) / 400,
        )
        for i in range(count)
    ]
    with store.writing(engine) as session:
        store.insert_predictions(session, rows)


def label(engine: Engine, truths: Sequence[str], *, hour: int, first: int = 0, source: str = "desk") -> None:
    at = BEGIN + hour * HOUR + timedelta(minutes=30)
    rows = [
        store.NewLabel(f"{hour}-{first + i}", "intents", truth, at, source, at, f"{source}{truth}{i}")
        for i, truth in enumerate(truths)
    ]
    with store.writing(engine) as session:
        store.insert_labels(session, rows)


def at(runner: Runner, hours: float) -> list[store.StoredRun]:
    assert isinstance(runner.clock, ReplayedClock)
    runner.clock.advance_to(BEGIN + hours * HOUR)
    return assess_due(runner, "intents")


def metric(run: store.StoredRun, name: str = "accuracy") -> dict[str, Any]:
    return next(one for one in run.payload["metrics"] if one["name"] == name)


def test_a_window_is_measured_after_its_end_and_not_again_while_nothing_came(engine: Engine, runner: Runner) -> None:
    predict(engine, 100, hour=0)
    label(engine, (["pay"] * 4 + ["login"]) * 10, hour=0)
    assert at(runner, 0.9) == []
    (run,) = at(runner, 1.2)
    assert (run.job, run.status, run.n) == ("quality", "ok", 50)
    assert run.payload["maturity"] == pytest.approx(0.5)
    accuracy = metric(run)
    assert accuracy["value"] == pytest.approx(0.8)
    assert accuracy["method"] == "betting sequence"
    assert accuracy["low"] < 0.8 < accuracy["high"]
    assert run.payload["restated_from"] is None
    assert run.payload["prediction_powered_accuracy"]["value"] is not None
    assert at(runner, 1.3) == []


def test_late_labels_restate_a_window_and_the_restatement_is_visible(engine: Engine, runner: Runner) -> None:
    predict(engine, 100, hour=0)
    (first,) = at(runner, 1.2)
    assert first.status == "too_little_data"
    label(engine, ["pay"] * 30, hour=0)
    (second,) = at(runner, 5)
    assert second.payload["restated_from"] is None
    label(engine, ["login"] * 30, hour=0, first=30)
    (third,) = at(runner, 9)
    assert third.id == first.id
    assert metric(third)["value"] == pytest.approx(0.5)
    before = third.payload["restated_from"]
    assert (before["labelled"], before["times"], before["metric"]["value"]) == (30, 1, 1.0)
    with Session(engine) as session:
        assert len(store.runs(session, job="quality", model="intents")) == 1


def test_labels_later_than_the_policy_restates_change_nothing(engine: Engine, runner: Runner) -> None:
    predict(engine, 20, hour=0)
    at(runner, 2)
    label(engine, ["pay"] * 20, hour=0)
    assert at(runner, 24 * 31) == []


def test_the_newest_label_counts_and_unreadable_answers_are_told(engine: Engine, runner: Runner) -> None:
    predict(engine, 2, hour=0)
    label(engine, ["login", "pay"], hour=0)
    with store.writing(engine) as session:
        later = BEGIN + 0.9 * HOUR
        store.insert_labels(session, [store.NewLabel("0-0", "intents", "pay", later, "review", later, "new")])
    (run,) = at(runner, 2)
    assert metric(run)["value"] == 1.0
    with store.writing(engine) as session:
        row = store.NewPrediction(
            event_id="0-odd",
            model="intents",
            version="1",
            timestamp=BEGIN + timedelta(minutes=1),
            received_at=BEGIN,
            content_digest="odd",
            text="x",
            prediction_json=[1, 2],
        )
        store.insert_predictions(session, [row])
    (again,) = at(runner, 3)
    assert "'0-odd': prediction must be a label or a class id, got [1, 2]" in again.payload["warnings"][0]


def baseline(engine: Engine) -> None:
    stored = store.StoredBaseline(
        model="intents",
        version="1",
        digest="sha256:b",
        numeric_mode="fake",
        model_digest="sha256:m",
        tokenizer_digest="sha256:t",
        basis=b"",
        reference=b"",
        reference_texts=[],
        summary=SUMMARY,
        created_at=BEGIN,
    )
    with store.writing(engine) as session:
        store.save_baseline(session, stored)


def families(engine: Engine) -> dict[str, Metric]:
    return {one.name: one for one in ResultsCollector(engine, models=("intents",), code_version="t").collect()}


def test_metrics_show_the_latest_measured_window(engine: Engine, runner: Runner) -> None:
    predict(engine, 60, hour=0)
    label(engine, ["pay"] * 30, hour=0)
    at(runner, 1.5)
    found = families(engine)
    quality = {sample.labels["metric"]: sample.value for sample in found["driftwarden_quality_ratio"].samples}
    assert quality["accuracy"] == 1.0
    assert not [name for name in quality if "[" in name]
    assert found["driftwarden_label_maturity_ratio"].samples[0].value == pytest.approx(0.5)
    assert found["driftwarden_accuracy_degraded"].samples == []


def test_degradation_alarms_once_and_tells_it_in_the_metrics(engine: Engine, runner: Runner) -> None:
    baseline(engine)
    rng = np.random.default_rng(1)
    predict(engine, 200, hour=0)
    label(engine, ["pay" if right else "login" for right in rng.random(200) < 0.92], hour=0)
    (calm,) = at(runner, 1.5)
    assert calm.payload["degradation"]["degraded"] is False
    assert calm.payload["estimated_accuracy"]["value"] is not None
    predict(engine, 200, hour=2)
    label(engine, ["pay" if right else "login" for right in rng.random(200) < 0.6], hour=2)
    (young,) = at(runner, 3.5)
    assert young.payload["degradation"]["labels"] == 200  # of hour 0: those of hour 2 are younger than the horizon
    assert young.payload["degradation"]["degraded"] is False
    predict(engine, 10, hour=3)
    (fallen,) = at(runner, 4.5)
    assert fallen.payload["degradation"]["labels"] == 400
    assert fallen.payload["degradation"]["degraded"] is True
    assert fallen.payload["degradation"]["incidents"] == 1
    assert families(engine)["driftwarden_accuracy_degraded"].samples[0].value == 1.0


def test_a_lag_that_depends_on_errors_is_undone(engine: Engine) -> None:
    quality = QualityPolicy(window_hours=24, lag_horizon_hours=48, restate_days=20)
    policy = Policy(models={"intents": ModelPolicy(version="1", quality=quality)})
    days, now = 12, BEGIN + 12 * 24 * HOUR
    rng = np.random.default_rng(4)
    predictions, labels = [], []
    for i in range(days * 300):
        sent = BEGIN + (i / 300) * 24 * HOUR
        right = rng.random() < 0.8
        predictions.append(
            store.NewPrediction(str(i), f"e{i}", "intents", "1", sent, sent, text="x", label="pay", confidence=0.7)
        )
        came = sent + (2 * HOUR if right else rng.uniform(2, 44) * HOUR)  # errors are labelled late
        if came < now:
            labels.append(store.NewLabel(f"e{i}", "intents", "pay" if right else "login", came, "desk", came, str(i)))
    store.make_partitions(engine, [one.timestamp for one in predictions])
    with store.writing(engine) as session:
        store.insert_predictions(session, predictions)
        store.insert_labels(session, sorted(labels, key=lambda one: one.received_at))
    runner = Runner(engine=engine, policy=policy, models=NoModels(), clock=ReplayedClock(now), code_version="test")
    yesterday = Window(now - 36 * HOUR, now - 12 * HOUR)
    found = assess(runner, "intents", "1", yesterday, rng=np.random.default_rng(0)).as_json()
    naive = next(one for one in found["metrics"] if one["name"] == "accuracy")["value"]
    corrected = found["lag_corrected_accuracy"]
    assert naive > 0.84
    assert corrected["value"] < naive - 0.03
    assert corrected["low"] < 0.8 < corrected["high"]
    young = assess(runner, "intents", "1", Window(now - 4 * HOUR, now), rng=np.random.default_rng(0)).as_json()
    assert young["lag_corrected_accuracy"]["value"] is None
    assert "correct for no lag (stratum" in young["warnings"][-1]


def test_late_labels_of_an_old_window_reach_the_verdict_of_the_newest(engine: Engine, runner: Runner) -> None:
    baseline(engine)
    predict(engine, 200, hour=0)
    predict(engine, 40, hour=2)
    label(engine, ["pay"] * 40, hour=2)
    at(runner, 3.5)
    assert families(engine)["driftwarden_accuracy_degraded"].samples[0].value == 0.0
    label(engine, ["login"] * 200, hour=0)
    old, newest = at(runner, 5)
    assert (old.window_start, newest.window_start) == (BEGIN, BEGIN + 2 * HOUR)
    assert newest.payload["restated_from"] is None
    assert families(engine)["driftwarden_accuracy_degraded"].samples[0].value == 1.0
    assert at(runner, 5.1) == []


@pytest.mark.parametrize(("drift", "reliable"), [(None, True), (False, True), (True, False)])
def test_scores_of_a_window_that_drifted_promise_nothing(
    engine: Engine, runner: Runner, drift: bool | None, reliable: bool
) -> None:
    baseline(engine)
    predict(engine, 400, hour=0)
    window = Window(BEGIN, BEGIN + HOUR)
    if drift is not None:
        runner.record_restated("drift", "intents", "1", window, started=BEGIN, status="ok", drift=drift)
    (run,) = at(runner, 1.5)
    told = run.payload["estimated_accuracy"]
    assert told["reliable"] is reliable
    assert ("drift" in told["reason"]) is not reliable


def test_annotators_who_disagree_are_told_of(engine: Engine, runner: Runner) -> None:
    predict(engine, 100, hour=0)
    label(engine, ["pay", "login"] * 30, hour=0, source="a")
    label(engine, ["pay", "pay"] * 10 + ["pay", "login"] * 20, hour=0, source="b")
    (run,) = at(runner, 1.5)
    told = run.payload["annotator_agreement"]
    assert 0.4 < told["value"] < 0.9
    assert told["low"] < told["value"] < told["high"]
    assert told["n"] == 60


def test_no_label_is_judged_twice_and_an_incident_outlives_the_texts_it_was_found_in(
    engine: Engine, runner: Runner
) -> None:
    baseline(engine)
    for hour in range(3):
        predict(engine, 200, hour=hour)
        label(engine, ["pay", "login"] * 100, hour=hour)
    last = at(runner, 3.5)[-1]
    assert last.payload["degradation"]["degraded"] is True
    assert last.payload["degradation"]["labels"] == 400
    with store.writing(engine) as session:
        for step in store.retention_steps(text_before=BEGIN + 3 * HOUR, results_before=BEGIN).values():
            step(session)
    predict(engine, 10, hour=3)
    (later,) = at(runner, 4.5)
    assert later.payload["degradation"]["degraded"] is True
    assert later.payload["degradation"]["incidents"] == 1
    assert later.payload["degradation"]["labels"] == 400
