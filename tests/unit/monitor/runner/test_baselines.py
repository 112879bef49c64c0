"""Which baseline windows are judged by, and what makes none."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from monitor import store
from monitor.backfill.kernel import embed_shard, fit_on
from monitor.backfill.reading import TextBatch
from monitor.baseline import baseline_of_sketch, build_baseline
from monitor.clock import ReplayedClock
from monitor.embed import Encoded
from monitor.errors import InputError
from monitor.models import LoadedModel
from monitor.runner import Runner
from monitor.sketchfiles import SketchFile
from monitor.texts import TextTable
from tests.unit.monitor.runner.traffic import BEGIN, HOUR, POLICY, Models, WordsEncoder, at, send, texts


def test_a_version_without_baseline_says_how_to_build_one(runner: Runner) -> None:
    with pytest.raises(InputError, match="driftwarden baseline intents/2"):
        runner.baseline("intents", "2")


def test_versions_of_one_content_keep_their_sketches_apart(runner: Runner) -> None:
    twin = replace(runner.models.model, version="2")
    build_baseline(twin, TextTable(tuple(texts(1200, seed=1)), None, None), engine=runner.engine, seed=0)
    send(runner.engine, texts(100, seed=5), hour=0)
    send(runner.engine, texts(60, seed=6), hour=0, seed=1, version="2")
    for version in ("1", "2"):
        assert runner.baseline("intents", version).stored.version == version
        runner.embed("intents", version, until=BEGIN + HOUR)
    with Session(runner.engine) as session:
        totals = store.sketch_totals(session)
    assert {version: totals["intents", version].n for version in ("1", "2")} == {"1": 100, "2": 60}


def test_too_few_or_constant_texts_make_no_baseline(sqlite_engine: Engine) -> None:
    model = Models(WordsEncoder()).model
    poisoned = [*texts(98, seed=1), "poison", "poison"]
    for found, said in (
        (texts(98, seed=1), "98 usable reference texts, at least 100 are needed"),
        (poisoned, "98 usable reference texts, at least 100"),
        (["same text"] * 300, "all the same"),
    ):
        with pytest.raises(InputError, match=said):
            build_baseline(model, TextTable(tuple(found), None, None), engine=sqlite_engine, seed=0)


def test_a_baseline_holds_out_as_many_texts_as_a_window_needs(sqlite_engine: Engine) -> None:
    model, table = Models(WordsEncoder()).model, TextTable(tuple(texts(400, seed=1)), None, None)
    built = build_baseline(model, table, engine=sqlite_engine, seed=0, minimum=200)
    assert built.summary["held_out"] == 267
    with pytest.raises(InputError, match=r"at least 402 are needed.*drift\.minimum_texts = 201"):
        build_baseline(model, table, engine=sqlite_engine, seed=0, minimum=201)


def rebuild(runner: Runner, *, seed: int) -> None:
    build_baseline(
        runner.models.model, TextTable(tuple(texts(1200, seed=1)), None, None), engine=runner.engine, seed=seed
    )


def test_a_new_baseline_judges_all_texts_of_the_windows_without_a_verdict(runner: Runner) -> None:
    for hour in (0, 1):
        send(runner.engine, texts(100, seed=hour), hour=hour)
    assert len(at(runner, 1).tick("intents")) == 1
    at(runner, 1.9).embed("intents", "1", until=BEGIN + 1.9 * HOUR)
    rebuild(runner, seed=7)
    send(runner.engine, texts(40, seed=3), hour=1, seed=1)
    assert [(run.window_start, run.n) for run in at(runner, 2).tick("intents")] == [(BEGIN + HOUR, 140)]


def test_the_same_baseline_built_again_folds_nothing_twice(runner: Runner) -> None:
    send(runner.engine, texts(100, seed=5), hour=0)
    at(runner, 0.9).embed("intents", "1", until=BEGIN + 0.9 * HOUR)
    rebuild(runner, seed=0)
    assert [run.n for run in at(runner, 1).tick("intents")] == [100]


def test_a_batch_embedded_beside_a_new_baseline_is_embedded_again(runner: Runner) -> None:
    class Slow(WordsEncoder):
        def encode(self, found, pairs=None) -> Encoded:
            runner.models.model = right
            rebuild(runner, seed=7)
            return super().encode(found, pairs)

    send(runner.engine, texts(100, seed=5), hour=0)
    right = runner.models.model
    runner.models.model = replace(right, encoder=Slow())
    (failed,) = at(runner, 1).tick("intents")
    assert "new baseline" in str(failed.error)
    assert [(run.status, run.n) for run in runner.tick("intents")] == [("ok", 100)]


def test_a_baseline_built_again_with_labels_counts_at_once(runner: Runner) -> None:
    assert runner.baseline("intents", "1").stored.summary["labelled"] == 0
    table = TextTable(tuple(texts(1200, seed=1)), ("pay",) * 1200, None)
    for truths, labelled in ((None, 0), (("pay",) * 600 + (None,) * 600, 600)):
        build_baseline(runner.models.model, replace(table, truths=truths), engine=runner.engine, seed=0)
        assert runner.baseline("intents", "1").stored.summary["labelled"] == labelled


def backfilled(model: LoadedModel, *, count: int = 1200) -> SketchFile:
    found = texts(count, seed=1)
    halves = [
        TextBatch(found[start : start + count // 2], np.arange(start, start + count // 2)) for start in (0, count // 2)
    ]
    basis, fitted = fit_on(halves[:1], model.encoder, seed=0)
    sketch = embed_shard(halves[1:], model.encoder, basis).sketch
    digests = (model.model_digest, model.encoder.tokenizer_digest, model.encoder.numeric_mode)
    return SketchFile("intents", "1", *digests, basis, sketch, counts={"fitted": fitted})


def test_a_backfilled_reference_is_a_baseline_that_windows_are_judged_by(sqlite_engine: Engine) -> None:
    models = Models(WordsEncoder())
    built = baseline_of_sketch(backfilled(models.model), models.model, engine=sqlite_engine)
    assert (built.summary["texts"], built.summary["held_out"]) == (1200, 600)
    runner = Runner(engine=sqlite_engine, policy=POLICY, models=models, clock=ReplayedClock(BEGIN), code_version="test")
    for hour, share in enumerate([0.0, 0.3]):
        send(sqlite_engine, texts(200, seed=hour + 10, new_share=share), hour=hour)
    assert [run.drift for run in at(runner, 2.5).tick("intents")] == [False, True]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_digest": "sha256:other"}, "the sketch is of intents/1 sha256:other"),
        ({"tokenizer_digest": "sha256:other"}, "with tokenizer sha256:other"),
        ({"reference": True}, "was folded for another"),
        ({"count": 60}, "the sketch holds 30 texts"),
    ],
)
def test_a_sketch_of_anything_else_is_no_baseline(sqlite_engine: Engine, change: dict[str, object], said: str) -> None:
    model = Models(WordsEncoder()).model
    file = backfilled(model, count=int(str(change.pop("count", 1200))))
    if "reference" in change:
        change = {"reference": file.sketch}
    with pytest.raises(InputError, match=said):
        baseline_of_sketch(replace(file, **change), model, engine=sqlite_engine)
