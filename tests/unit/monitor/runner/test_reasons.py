"""What stands beside a drift: harm, segments and second opinions."""

from datetime import timedelta

import numpy as np
from sqlalchemy import Engine

from monitor import store
from monitor.baseline import build_baseline
from monitor.clock import Window
from monitor.reporting import gather
from monitor.runner import Runner
from monitor.texts import TextTable
from tests.unit.monitor.runner.traffic import BEGIN, HOUR, at, send, texts, with_drift_policy


def build_with_outcomes(runner: Runner, *, error_ratio: float = 0.1) -> None:
    """Give the runner's model a baseline whose answers are labelled; answers are "pay", surer ones oftener right."""
    rng = np.random.default_rng(8)
    confidences = rng.uniform(0.6, 1.0, 1200)
    wrong = rng.random(1200) < error_ratio * 2 * (1 - confidences) / 0.4
    truths = tuple("login" if one else "pay" for one in wrong)
    table = TextTable(tuple(texts(1200, seed=1)), ("pay",) * 1200, confidences, truths=truths)
    build_baseline(runner.models.model, table, engine=runner.engine, seed=0)


def send_labels(engine: Engine, truths: list[str], *, hour: int) -> None:
    at = BEGIN + hour * HOUR
    labels = [
        store.NewLabel(f"{hour}-0-{i}", "intents", truth, at + timedelta(minutes=i), "review", at, str(i))
        for i, truth in enumerate(truths)
    ]
    with store.writing(engine) as session:
        store.insert_labels(session, labels)


def test_a_drift_is_graded_by_labels_and_a_benign_one_is_told_and_not_actionable(runner: Runner) -> None:
    build_with_outcomes(runner)
    tolerant = with_drift_policy(runner, harm_tolerance=0.15)
    for hour, truth in ((0, "pay"), (1, "login")):
        send(runner.engine, texts(600, seed=5, new_share=0.3), hour=hour, label="pay", confidence=0.8)
        send_labels(runner.engine, [truth] * 600, hour=hour)
    benign, harmful = at(tolerant, 2).tick("intents")
    for run, grade, actionable in ((benign, "benign", False), (harmful, "harmful", True)):
        assert run.drift is True
        harm = run.payload["harm"]
        assert (harm["grade"], harm["evidence"], harm["n"]) == (grade, "labels", 600)
        assert run.payload["actionable"] is actionable


def test_a_drift_without_labels_is_graded_by_scores_and_calm_windows_by_nothing(runner: Runner) -> None:
    build_with_outcomes(runner)
    send(runner.engine, texts(300, seed=5, new_share=0.3), hour=0, label="pay", confidence=0.95)
    (run,) = at(with_drift_policy(runner, harm_tolerance=0.3), 1).tick("intents")
    assert (run.payload["harm"]["grade"], run.payload["harm"]["evidence"]) == ("benign", "scores")
    send(runner.engine, texts(300, seed=6, new_share=0.3), hour=1)
    send(runner.engine, texts(300, seed=7), hour=2)
    unknown, calm = at(runner, 3).tick("intents")
    assert unknown.payload["harm"]["reason"] == "the window has neither labels nor scores"
    assert (unknown.payload["actionable"], calm.payload["harm"]) == (True, None)


def test_a_wrong_tokenizer_is_actionable_whatever_the_drift_costs(runner: Runner) -> None:
    build_with_outcomes(runner)
    send(runner.engine, texts(300, seed=5, new_share=0.3), hour=0, label="pay", confidence=0.95, token_count=9)
    (run,) = at(with_drift_policy(runner, harm_tolerance=0.3), 1).tick("intents")
    assert (run.payload["harm"]["grade"], run.payload["actionable"]) == ("benign", True)


def test_a_drift_names_the_segment_it_is_in_and_the_report_shows_it(runner: Runner) -> None:
    both = ({"language": "de"}, {"language": "en"})
    table = TextTable(tuple(texts(1200, seed=1)), None, None, attributes=both * 600)
    build_baseline(runner.models.model, table, engine=runner.engine, seed=0)
    reference = runner.baseline("intents", "1")
    known = reference.stored.summary["attributes"]["language"]
    assert known == ["de" if i % 2 == 0 else "en" for i in reference.reference.row_ids]
    send(runner.engine, texts(200, seed=5, new_share=0.4), hour=0, seed=1, attributes=both[0])
    send(runner.engine, texts(200, seed=6), hour=0, seed=2, attributes=both[1])
    (run,) = at(runner, 1).tick("intents")
    assert [one["segment"] for one in run.payload["segments"]] == [{"language": "de"}]
    shown = gather(runner, "intents", "1", Window(BEGIN, BEGIN + HOUR))
    assert [one.segment for one in shown.segments] == [{"language": "de"}]


def test_a_drift_has_its_second_opinions_stored_and_shown_and_a_calm_window_none_unless_asked(runner: Runner) -> None:
    send(runner.engine, texts(200, seed=5, new_share=0.4), hour=0)
    send(runner.engine, texts(200, seed=6), hour=1)
    drifted, calm = at(runner, 2).tick("intents")
    assert [one["name"] for one in drifted.payload["second_opinions"]] == ["mmd", "classifier", "knn_kl"]
    assert calm.payload["second_opinions"] == []
    assert "mmd" not in {one["name"] for one in drifted.payload["detectors"]}
    shown = gather(runner, "intents", "1", Window(BEGIN, BEGIN + 2 * HOUR)).verdicts
    assert [[one.name for one in window.opinions] for window in shown] == [["mmd", "classifier", "knn_kl"], []]
    window = Window(BEGIN + HOUR, BEGIN + 2 * HOUR)
    asked = with_drift_policy(runner, second_opinions=("classifier",)).judge_window(
        "intents", "1", window, second_opinions=True
    )[0]
    assert [one.name for one in asked.second_opinions] == ["classifier"]
    assert asked.verdict == runner.judge_window("intents", "1", window)[0].verdict
