"""Which windows are judged, once and when, and what of their texts is folded."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy.orm import Session

from monitor import store
from monitor.clock import Window
from monitor.jobs.baseline import known_entropies
from monitor.runner import Runner
from tests.unit.monitor.runner.traffic import (
    BEGIN,
    HOUR,
    NEW_WORDS,
    POLICY,
    WordsEncoder,
    at,
    send,
    texts,
)


def test_missed_windows_are_caught_up_and_drift_is_found_where_it_is(runner: Runner) -> None:
    for hour, share in enumerate([0.0, 0.0, 0.3, 0.0]):
        send(runner.engine, texts(200, seed=hour + 10, new_share=share), hour=hour)
    recorded = at(runner, 4.5).tick("intents")
    assert [run.drift for run in recorded] == [False, False, True, False]
    assert [run.window_start for run in recorded] == [BEGIN + hour * HOUR for hour in range(4)]
    assert runner.tick("intents") == []
    cells = recorded[2].payload["cells"]
    assert any(set(cell["keywords"]) & set(NEW_WORDS) for cell in cells)
    examples = recorded[2].payload["examples"][:20]
    assert np.mean([any(word in one["text"] for word in NEW_WORDS) for one in examples]) >= 0.9


def test_a_window_is_judged_only_after_its_grace(runner: Runner) -> None:
    rules = POLICY.models["intents"]
    patient = rules.model_copy(update={"drift": rules.drift.model_copy(update={"grace_minutes": 30})})
    runner.policy = POLICY.model_copy(update={"models": {"intents": patient}})
    send(runner.engine, texts(100, seed=5), hour=0)
    assert at(runner, 1.25).tick("intents") == []
    send(runner.engine, texts(40, seed=6), hour=0, seed=1)
    (run,) = at(runner, 1.5).tick("intents")
    assert run.n == 140


def test_rerunning_a_window_gives_the_same_row(runner: Runner) -> None:
    send(runner.engine, texts(200, seed=5, new_share=0.2), hour=0)
    (first,) = at(runner, 1).tick("intents")
    again = runner.drift("intents", "1", Window(BEGIN, BEGIN + HOUR))
    assert again == first
    judgement, _, seed = runner.judge_window("intents", "1", Window(BEGIN, BEGIN + HOUR))
    assert seed == first.seed
    assert judgement.as_json() == first.payload
    assert first.payload["shown"]["raw_cosine"] == pytest.approx(1.0, abs=0.2)
    assert "raw_cosine" not in {one.name for one in judgement.detectors}


def test_few_texts_are_insufficient_evidence_and_no_texts_too(runner: Runner) -> None:
    send(runner.engine, texts(20, seed=5), hour=0)
    send(runner.engine, texts(100, seed=6), hour=2)
    found = at(runner, 3).tick("intents")
    assert [(run.status, run.drift) for run in found] == [
        ("too_little_data", None),
        ("too_little_data", None),
        ("ok", False),
    ]
    assert "of at least 50" in found[0].payload["detail"]


def test_a_wrong_tokenizer_is_found_on_a_handful_of_texts(runner: Runner) -> None:
    send(runner.engine, texts(20, seed=5), hour=0, token_count=99)
    (found,) = at(runner, 1).tick("intents")
    assert found.drift is True
    assert [one["name"] for one in found.payload["detectors"]] == ["tokenizer"]


def test_vectors_that_are_not_finite_are_counted_and_kept_out(runner: Runner) -> None:
    send(runner.engine, [*texts(100, seed=5), "poison", "poison"], hour=0)
    (found,) = at(runner, 1).tick("intents")
    assert found.n == 100
    with Session(runner.engine) as session:
        assert store.sketch_totals(session)["intents", "1"].nonfinite == 2


def test_tokens_the_vocabulary_lacks_are_folded_and_judged(runner: Runner) -> None:
    send(runner.engine, texts(200, seed=5, new_share=0.5), hour=0)
    (found,) = at(runner, 1).tick("intents")
    (unknown,) = [one for one in found.payload["detectors"] if one["name"] == "ad_unknown_share"]
    assert unknown["drift"] is True


def test_retention_keeps_verdicts_after_their_texts_are_gone(runner: Runner) -> None:
    send(runner.engine, texts(100, seed=5), hour=0)
    at(runner, 1).tick("intents")
    at(runner, 24 * 40)
    dropped = runner.retention()
    assert dropped["predictions"] == 100
    with Session(runner.engine) as session:
        assert len(store.runs(session, job="drift")) == 1


def test_texts_after_the_verdict_are_counted_and_do_not_change_it(runner: Runner) -> None:
    send(runner.engine, texts(100, seed=5), hour=0)
    (first,) = at(runner, 1).tick("intents")
    send(runner.engine, texts(30, seed=6), hour=0, seed=1)
    assert runner.tick("intents") == []
    with Session(runner.engine) as session:
        assert store.counts(session)["intents", "texts.1.late"] == 30
        assert store.runs(session, job="drift") == [first]


def test_the_version_before_an_alias_moved_still_gets_its_verdict(runner: Runner) -> None:
    send(runner.engine, texts(100, seed=5), hour=0)
    moved = POLICY.models["intents"].model_copy(update={"version": "2"})
    runner.policy = POLICY.model_copy(update={"models": {"intents": moved}})
    recorded = at(runner, 2).tick("intents")
    assert [(run.version, run.window_start) for run in recorded] == [("1", BEGIN)]


def test_a_changed_window_length_judges_nothing_twice(runner: Runner) -> None:
    for hour in range(4):
        send(runner.engine, texts(100, seed=hour), hour=hour)
    assert len(at(runner, 2).tick("intents")) == 2
    longer = POLICY.models["intents"]
    longer = longer.model_copy(update={"drift": longer.drift.model_copy(update={"window_hours": 4})})
    runner.policy = POLICY.model_copy(update={"models": {"intents": longer}})
    assert at(runner, 4).tick("intents") == []
    send(runner.engine, texts(100, seed=9), hour=5)
    assert [run.window_start for run in at(runner, 8).tick("intents")] == [BEGIN + 4 * HOUR]


def test_a_server_that_truncates_has_no_wrong_tokenizer(runner: Runner) -> None:
    long = ["order " * 40] * 30
    send(runner.engine, long, hour=0, token_count=20)
    send(runner.engine, texts(100, seed=5), hour=0, seed=1)
    (found,) = at(runner, 1).tick("intents")
    assert {one["name"]: one["statistic"] for one in found.payload["detectors"]}["tokenizer"] == 0


def test_texts_kept_for_a_class_floor_stay_out_of_the_sketch(runner: Runner) -> None:
    send(runner.engine, texts(100, seed=5), hour=0)
    send(runner.engine, texts(50, seed=6), hour=0, seed=1, representative=False)
    (found,) = at(runner, 1).tick("intents")
    assert found.n == 100


def test_entropy_is_known_only_where_the_scores_cover_the_models_labels(runner: Runner) -> None:
    send(runner.engine, texts(1, seed=1), hour=0, scores={"a": 0.5, "b": 0.5})
    send(runner.engine, texts(1, seed=2), hour=0, seed=1, scores={"a": 0.9, "other": 0.1})
    send(runner.engine, texts(1, seed=3), hour=0, seed=2)
    with Session(runner.engine) as session:
        waiting = store.unembedded(session, model="intents", version="1", before=BEGIN + HOUR, limit=9)
    model = replace(runner.models.model, encoder=WordsEncoder(has_head=True, labels=("a", "b")))
    found = known_entropies([one.scores for one in waiting], encoder=model.encoder)
    np.testing.assert_allclose(found, [np.log(2), np.nan, np.nan])
