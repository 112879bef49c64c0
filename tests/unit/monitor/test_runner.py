"""The runner on a fake model: windows, reruns, catching up, fencing and refusals."""

import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from monitor import store
from monitor.backfill.kernel import embed_shard, fit_on
from monitor.backfill.reading import TextBatch
from monitor.baseline import baseline_of_sketch, build_baseline
from monitor.clock import ReplayedClock, Window, hour_of
from monitor.embed import Encoded
from monitor.errors import InputError, TryAgainLater
from monitor.jobs.baseline import known_entropies
from monitor.models import LoadedModel
from monitor.policy import DriftPolicy, ModelPolicy, Policy
from monitor.reporting import gather
from monitor.runner import LeadershipLost, Runner
from monitor.schedule import LEASE_TTL, Schedule
from monitor.sketchfiles import SketchFile
from monitor.texts import TextTable

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = Policy(
    models={
        "intents": ModelPolicy(
            version="1", drift=DriftPolicy(window_hours=1, permutations=499, alpha=0.01, grace_minutes=0)
        )
    }
)


@dataclass
class WordsEncoder:
    """Embeds a text as the mean of a fixed random vector per word; counts its words as tokens."""

    tokenizer_digest: str = "sha256:tokenizer"
    numeric_mode: str = "fake"
    model_max_length: int = 20
    labels: tuple[str, ...] = ()
    has_head: bool = False

    def encode(self, texts, pairs=None) -> Encoded:
        vectors = np.array([self._vector(text) for text in texts], dtype=np.float32)
        counts = np.array([len(text.split()) for text in texts])
        finite = np.isfinite(vectors).all(axis=1)
        unknown = np.array([np.mean([word in NEW_WORDS for word in text.split()]) for text in texts])
        return Encoded(vectors, counts, counts > 20, finite, unknown)

    def encode_in_place(self, texts, pairs=None) -> Encoded:
        return self.encode(texts, pairs)

    def _vector(self, text: str) -> np.ndarray:
        if "poison" in text:
            return np.full(24, np.nan)
        words = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=24) for word in text.split()]
        return np.mean(words, axis=0)


class Models:
    def __init__(self, encoder: WordsEncoder) -> None:
        self.model = LoadedModel("intents", "1", "sha256:model", encoder)

    def version_of(self, reference: str) -> str:
        return "1"

    def load(self, name: str, version: str, policy: ModelPolicy) -> LoadedModel:
        return self.model


WORDS = ["order", "parcel", "refund", "login", "invoice", "address", "voucher", "screen", "update", "plan"]
NEW_WORDS = ["bitcoin", "wallet", "ledger", "staking", "token"]


def texts(count: int, *, seed: int, new_share: float = 0.0) -> list[str]:
    rng = np.random.default_rng(seed)
    new = rng.random(count) < new_share
    return [" ".join(rng.choice(NEW_WORDS if is_new else WORDS, size=4)) for is_new in new]


def send(engine: Engine, found: list[str], *, hour: int, seed: int = 0, **fields) -> None:
    rows = [
        store.NewPrediction(
            event_id=f"{hour}-{seed}-{i}",
            model="intents",
            timestamp=BEGIN + hour * HOUR + timedelta(seconds=i),
            received_at=BEGIN,
            content_digest=str(i),
            text=text,
            **{"version": "1", "token_count": len(text.split()), **fields},
        )
        for i, text in enumerate(found)
    ]
    with store.writing(engine) as session:
        store.insert_predictions(session, rows)


@pytest.fixture
def runner(engine: Engine) -> Runner:
    models = Models(WordsEncoder())
    build_baseline(models.model, TextTable(tuple(texts(1200, seed=1)), None, None), engine=engine, seed=0)
    clock = ReplayedClock(BEGIN)
    return Runner(engine=engine, policy=POLICY, models=models, clock=clock, code_version="test")


def at(runner: Runner, hour: float) -> Runner:
    runner.clock.advance_to(BEGIN + hour * HOUR)
    return runner


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


def test_who_lost_the_lease_writes_nothing(runner: Runner) -> None:
    send(runner.engine, texts(100, seed=5), hour=0)
    now = at(runner, 1).clock.now()
    with store.writing(runner.engine) as session:
        runner.lease = store.take_lease(session, name="scheduler", holder="a", now=now, ttl=HOUR)
        assert runner.lease is not None
    with store.writing(runner.engine) as session:
        later = now + 2 * HOUR
        assert store.take_lease(session, name="scheduler", holder="b", now=later, ttl=HOUR) is not None
    with pytest.raises(LeadershipLost):
        runner.tick("intents")
    with Session(runner.engine) as session:
        assert store.runs(session) == []
        assert store.sketch_totals(session) == {}


def test_a_scheduler_that_lost_its_lease_in_the_middle_of_a_batch_writes_nothing(runner: Runner) -> None:
    schedule = Schedule(runner)
    send(runner.engine, texts(100, seed=5), hour=0)
    at(runner, 1)
    assert schedule.lead()

    class Loses(WordsEncoder):
        def encode(self, texts, pairs=None) -> Encoded:
            runner.lease = None  # as the heartbeat does when another replica has taken over
            return super().encode(texts, pairs)

    runner.models.model = replace(runner.models.model, encoder=Loses())
    assert schedule.tick() == []
    with Session(runner.engine) as session:
        assert store.runs(session) == []
        assert store.sketch_totals(session) == {}


def test_a_stopped_scheduler_gives_its_lease_back(runner: Runner) -> None:
    first, second = Schedule(runner), Schedule(replace_runner(runner))
    assert (first.lead(), second.lead()) == (True, False)
    first.stop()
    assert second.lead()


def replace_runner(runner: Runner) -> Runner:
    return Runner(engine=runner.engine, policy=POLICY, models=runner.models, clock=runner.clock, code_version="test")


def test_one_run_does_what_is_due_and_says_when_another_leads(runner: Runner) -> None:
    send(runner.engine, texts(100, seed=5), hour=0)
    at(runner, 1)
    other = Schedule(replace_runner(runner))
    assert other.lead()
    assert Schedule(replace_runner(runner)).run_once() is None
    other.stop()
    recorded = Schedule(replace_runner(runner)).run_once()
    assert recorded is not None
    assert [(one.job, one.status) for one in recorded] == [("drift", "ok")]


def test_two_replicas_do_each_job_once_and_the_second_takes_over(runner: Runner, engine: Engine) -> None:
    send(engine, texts(100, seed=5), hour=0)
    other = Runner(engine=engine, policy=POLICY, models=runner.models, clock=runner.clock, code_version="test")
    first, second = Schedule(runner), Schedule(other)
    at(runner, 1)
    assert (first.lead(), second.lead()) == (True, False)
    assert (len(first.tick()), second.tick()) == (1, [])
    send(engine, texts(100, seed=6), hour=1)
    runner.clock.advance_to(BEGIN + 2 * HOUR + LEASE_TTL)
    assert second.lead()
    assert (len(second.tick()), first.tick()) == (1, [])
    with Session(engine) as session:
        assert len(store.runs(session, job="drift")) == 2


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


def test_retention_keeps_verdicts_after_their_texts_are_gone(runner: Runner) -> None:
    send(runner.engine, texts(100, seed=5), hour=0)
    at(runner, 1).tick("intents")
    at(runner, 24 * 40)
    dropped = runner.retention()
    assert dropped["predictions"] == 100
    with Session(runner.engine) as session:
        assert len(store.runs(session, job="drift")) == 1


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


def with_drift_policy(runner: Runner, **changes) -> Runner:
    rules = POLICY.models["intents"]
    changed = rules.model_copy(update={"drift": rules.drift.model_copy(update=changes)})
    runner.policy = POLICY.model_copy(update={"models": {"intents": changed}})
    return runner


def test_slow_drift_that_no_window_shows_alone_is_found_by_run_length(runner: Runner) -> None:
    def first_alarm(calibration: str) -> int | None:
        moded = with_drift_policy(replace_runner(runner), calibration=calibration, windows_between_alarms=50)
        found = [moded.judge_window("intents", "1", Window(BEGIN + h * HOUR, BEGIN + (h + 1) * HOUR))[0] for h in (0,)]
        assert found[0].alarm is not None
        assert found[0].alarm.mode == calibration
        recorded = moded.tick("intents")
        with store.writing(moded.engine) as session:
            session.execute(text("DELETE FROM results"))
            session.execute(text("DELETE FROM runs"))
        return next((i for i, run in enumerate(recorded) if run.drift), None)

    for hour in range(12):
        send(runner.engine, texts(150, seed=hour + 50, new_share=0.06 if hour >= 4 else 0.0), hour=hour)
    runner.clock.advance_to(BEGIN + 12 * HOUR)
    runner.embed("intents", "1", until=runner.clock.now())
    alone, together = first_alarm("window"), first_alarm("run_length")
    assert together is not None
    assert together >= 4
    assert alone is None or alone >= together


def test_anytime_ranks_windows_among_those_before_and_stays_quiet_on_usual_ones(runner: Runner) -> None:
    with_drift_policy(runner, calibration="anytime", alpha=0.05)
    for hour in range(8):
        send(runner.engine, texts(120, seed=hour + 20), hour=hour)
    recorded = at(runner, 8).tick("intents")
    assert [run.drift for run in recorded] == [False] * 8
    assert [run.payload["alarm"]["windows"] for run in recorded] == list(range(1, 9))


def test_a_drift_below_the_practical_difference_is_told_and_is_not_actionable(runner: Runner) -> None:
    send(runner.engine, texts(300, seed=5, new_share=0.2), hour=0)
    at(runner, 1)
    window = Window(BEGIN, BEGIN + HOUR)
    runner.embed("intents", "1", until=runner.clock.now())
    for floor, importance, actionable in (
        (0.01, "significant and large enough", True),
        (0.9, "significant but small", False),
    ):
        judgement, _, _ = with_drift_policy(runner, practical_difference=floor).judge_window("intents", "1", window)
        answer = judgement.as_json()
        assert answer["verdict"]["drift"] is True
        assert (answer["importance"], answer["actionable"]) == (importance, actionable)
        assert 0.05 < answer["effect"] < 0.9


def test_entropy_is_known_only_where_the_scores_cover_the_models_labels(runner: Runner) -> None:
    send(runner.engine, texts(1, seed=1), hour=0, scores={"a": 0.5, "b": 0.5})
    send(runner.engine, texts(1, seed=2), hour=0, seed=1, scores={"a": 0.9, "other": 0.1})
    send(runner.engine, texts(1, seed=3), hour=0, seed=2)
    with Session(runner.engine) as session:
        waiting = store.unembedded(session, model="intents", version="1", before=BEGIN + HOUR, limit=9)
    model = replace(runner.models.model, encoder=WordsEncoder(has_head=True, labels=("a", "b")))
    found = known_entropies([one.scores for one in waiting], encoder=model.encoder)
    np.testing.assert_allclose(found, [np.log(2), np.nan, np.nan])


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


def test_a_baseline_built_again_with_labels_counts_at_once(runner: Runner) -> None:
    assert runner.baseline("intents", "1").stored.summary["labelled"] == 0
    table = TextTable(tuple(texts(1200, seed=1)), ("pay",) * 1200, None)
    for truths, labelled in ((None, 0), (("pay",) * 600 + (None,) * 600, 600)):
        build_baseline(runner.models.model, replace(table, truths=truths), engine=runner.engine, seed=0)
        assert runner.baseline("intents", "1").stored.summary["labelled"] == labelled


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


def mixed_texts(count: int, *, seed: int, first_share: float) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[:5] if rng.random() < first_share else WORDS[5:], size=4)) for _ in range(count)]


def test_what_is_usual_for_its_weekday_is_told_and_is_not_actionable(runner: Runner) -> None:
    weeks = 6
    first = hour_of(BEGIN) - weeks * 168
    found, hours = [], []
    for day in range(weeks * 7):
        found += mixed_texts(24 * 8, seed=day, first_share=0.9 if day % 7 == 0 else 0.5)
        hours += [first + day * 24 + hour for hour in range(24) for _ in range(8)]
    table = TextTable(tuple(found), None, None, hours=np.array(hours))
    build_baseline(runner.models.model, table, engine=runner.engine, seed=0)
    for hour in range(48):  # the first day is of the weekday that has this mix, the second is not
        send(runner.engine, mixed_texts(5, seed=100 + hour, first_share=0.9), hour=hour)
    at(runner, 48).embed("intents", "1", until=runner.clock.now())
    days = [Window(BEGIN + day * 24 * HOUR, BEGIN + (day + 1) * 24 * HOUR) for day in (0, 1)]
    usual, unusual = [runner.judge_window("intents", "1", day)[0].as_json() for day in days]
    for answer, is_usual in ((usual, True), (unusual, False)):
        assert answer["verdict"]["drift"] is True
        assert set(answer["usual_variation"]) == {"p_value", "finest_p_value", "reference_blocks"}
        assert (answer["usual_variation"]["p_value"] > 0.05) is is_usual
        assert answer["actionable"] is not is_usual


DAY = 24 * HOUR
A_DAY = 60


def weekly(days: range, *, new_share: float = 0.0) -> list[list[str]]:
    """Texts of each day since BEGIN: every seventh has a mix of its own."""
    found = []
    for day in days:
        usual = mixed_texts(A_DAY, seed=7000 + day, first_share=0.9 if day % 7 == 0 else 0.5)
        new = texts(round(A_DAY * new_share), seed=day + 5000, new_share=1.0)
        found.append(usual[len(new) :] + new)
    return found


def send_days(runner: Runner, days: range, *, new_share: float = 0.0) -> list[store.StoredRun]:
    recorded = []
    for day, found in zip(days, weekly(days, new_share=new_share), strict=True):
        send(runner.engine, found, hour=24 * day)
        recorded += at(runner, 24 * (day + 1)).tick("intents")
    return recorded


@pytest.mark.parametrize("timed", [True, False])
def test_a_weekly_season_is_no_alarm_where_the_reference_shows_it_and_a_shift_is(runner: Runner, timed: bool) -> None:
    with_drift_policy(runner, calibration="run_length", windows_between_alarms=100, window_hours=24, permutations=499)
    past = range(-16 * 7, 0)
    table = TextTable(
        tuple(one for day in weekly(past) for one in day),
        None,
        None,
        hours=np.repeat([hour_of(BEGIN) + 24 * day for day in past], A_DAY) if timed else None,
    )
    policy = runner.policy.models["intents"].drift
    build_baseline(runner.models.model, table, engine=runner.engine, seed=0, run_length=policy)
    quiet = send_days(runner, range(14 if timed else 35))
    alarms = [run for run in quiet if run.drift]
    if not timed:
        assert alarms
        assert {run.payload["detail"] for run in quiet} == {
            "calibrated as if windows were independent: the reference has no timestamps"
        }
        return
    assert {run.payload["detail"] for run in quiet} == {"calibrated on 112 windows of the reference"}
    assert len(alarms) <= 1
    told = gather(runner, "intents", "1", Window(BEGIN, BEGIN + 14 * DAY)).promise
    assert told == (
        "Were nothing to change, one window in about 100 would alarm, calibrated on 112 windows of the reference."
    )
    shifted = send_days(runner, range(14, 18), new_share=0.3)
    assert any(run.drift for run in shifted)


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
