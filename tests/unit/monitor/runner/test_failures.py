"""What fails is a failed run that says why, and is tried again."""

from dataclasses import replace

from monitor.clock import Window
from monitor.embed import Encoded
from monitor.errors import TryAgainLater
from monitor.models import LoadedModel
from monitor.policy import ModelPolicy
from monitor.runner import Runner
from tests.unit.monitor.runner.traffic import (
    BEGIN,
    HOUR,
    POLICY,
    Models,
    WordsEncoder,
    at,
    send,
    texts,
)


def test_another_tokenizer_or_numeric_mode_is_never_compared(runner: Runner) -> None:
    send(runner.engine, texts(100, seed=5), hour=0)
    wrong = replace(runner.models.model, encoder=WordsEncoder(tokenizer_digest="sha256:other"))
    right, runner.models.model = runner.models.model, wrong
    (failed,) = at(runner, 1).tick("intents")
    assert (failed.job, failed.status, failed.drift) == ("embed", "failed", None)
    assert "tokenizer digest mismatch" in str(failed.error)
    runner.models.model = replace(right, encoder=WordsEncoder(numeric_mode="bf16"))
    (failed,) = runner.tick("intents")
    assert "numeric mode mismatch" in str(failed.error)
    runner.models.model = right
    assert [run.status for run in runner.tick("intents")] == ["ok"]


def test_a_registry_that_is_away_is_tried_again(runner: Runner) -> None:
    class Away(Models):
        def load(self, name: str, version: str, policy: ModelPolicy) -> LoadedModel:
            raise TryAgainLater("registry away")

    send(runner.engine, texts(100, seed=5), hour=0)
    there, runner.models = runner.models, Away(WordsEncoder())
    assert [run.status for run in at(runner, 1).tick("intents")] == ["failed"]
    runner.models = there
    assert [run.status for run in runner.tick("intents")] == ["ok"]


def test_what_fails_unexpectedly_is_a_failed_run_without_a_text_and_is_tried_again(runner: Runner) -> None:
    class Full(WordsEncoder):
        def encode(self, texts, pairs=None) -> Encoded:
            raise RuntimeError("CUDA out of memory")

    class Quotes(WordsEncoder):
        def encode(self, texts, pairs=None) -> Encoded:
            raise ValueError(f"cannot read {texts[0]}")

    send(runner.engine, ["my secret order", *texts(100, seed=5)], hour=0)
    right = runner.models.model
    for encoder, said in ((Full(), "RuntimeError: CUDA out of memory"), (Quotes(), "ValueError")):
        runner.models.model = replace(right, encoder=encoder)
        (failed,) = at(runner, 1).tick("intents")
        assert (failed.job, failed.status, failed.error) == ("embed", "failed", said)
    runner.models.model = right
    assert [run.status for run in runner.tick("intents")] == ["ok"]


def test_an_alias_that_cannot_be_resolved_is_a_failed_run(runner: Runner) -> None:
    class Nameless(Models):
        def version_of(self, reference: str) -> str:
            raise TryAgainLater("registry away")

    rules = POLICY.models["intents"].model_copy(update={"version": None, "alias": "champion"})
    runner.policy = POLICY.model_copy(update={"models": {"intents": rules}})
    runner.models = Nameless(WordsEncoder())
    (failed,) = at(runner, 1).tick("intents")
    assert (failed.version, failed.status, failed.error) == ("@champion", "failed", "registry away")


def test_a_window_that_failed_or_had_too_little_is_judged_when_it_can_be(runner: Runner) -> None:
    for hour in range(3):
        send(runner.engine, texts(200 if hour else 20, seed=hour), hour=hour)
    judge_window = Runner.judge_window
    broken = Window(BEGIN + HOUR, BEGIN + 2 * HOUR)

    class Once(Runner):
        def judge_window(self, name, version, window, **options):
            if window == broken:
                raise RuntimeError("no memory")
            return judge_window(self, name, version, window, **options)

    flaky = Once(engine=runner.engine, policy=POLICY, models=runner.models, clock=runner.clock, code_version="test")
    assert [run.status for run in at(flaky, 3).tick("intents")] == ["too_little_data", "failed", "ok"]
    assert [(run.window_start, run.status) for run in runner.tick("intents")] == [(broken.start, "ok")]
    send(runner.engine, texts(200, seed=9, new_share=0.9), hour=0, seed=1)
    (judged,) = runner.tick("intents")
    assert (judged.window_start, judged.n, judged.drift) == (BEGIN, 220, True)
    assert runner.tick("intents") == []
