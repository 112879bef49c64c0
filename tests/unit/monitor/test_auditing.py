"""The bias job on both databases: the policy's groups in every window, with a share of alpha each."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from monitor import store
from monitor.auditing import audit_due
from monitor.bias.stored import audit_window, read_join
from monitor.clock import ReplayedClock, Window
from monitor.errors import InputError
from monitor.measured import audit_shown
from monitor.metrics import ResultsCollector
from monitor.policy import BiasPolicy, ModelPolicy, Policy
from monitor.runner import Runner

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
BIAS = BiasPolicy(groups=("region",), positive="escalate", window_hours=1, wait_hours=2)
POLICY = Policy(models={"intents": ModelPolicy(version="1", bias=BIAS)})


class NoModels:
    def version_of(self, reference: str) -> str:
        return "1"

    def load(self, name: str, version: str, policy: ModelPolicy) -> Any:
        raise AssertionError("an audit loads no model")


@pytest.fixture
def runner(engine: Engine) -> Runner:
    return Runner(engine=engine, policy=POLICY, models=NoModels(), clock=ReplayedClock(BEGIN), code_version="test")


def predict(engine: Engine, *, hour: int, rates: dict[str | None, float], n: int = 400, chance: float = 1.0) -> None:
    rows, labels = [], []
    for region, rate in rates.items():
        for i in range(n):
            event_id, escalates = f"{hour}-{region}-{i}", i < rate * n
            at = BEGIN + hour * HOUR + timedelta(seconds=i)
            rows.append(
                store.NewPrediction(
                    event_id=event_id,
                    model="intents",
                    version="1",
                    timestamp=at,
                    received_at=BEGIN,
                    content_digest=event_id,
                    text="x",
                    label="escalate" if escalates else "answer",
                    attributes=None if region is None else {"region": region},
                    inclusion_probability=chance,
                )
            )
            if i % 2:
                truth = "escalate" if i % 4 == 1 else "answer"
                labels.append(store.NewLabel(event_id, "intents", truth, at, "desk", at, event_id))
    with store.writing(engine) as session:
        store.insert_predictions(session, rows)
        store.insert_labels(session, labels)


def at(runner: Runner, hours: float) -> list[store.StoredRun]:
    assert isinstance(runner.clock, ReplayedClock)
    runner.clock.advance_to(BEGIN + hours * HOUR)
    return audit_due(runner, "intents")


def shown(runner: Runner) -> dict[str, dict[tuple[str, ...], float]]:
    families = ResultsCollector(runner.engine, models=["intents"], code_version="t").collect()
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in families
        if family.name.startswith("driftwarden_bias")
    }


def test_a_window_is_audited_once_labels_had_their_time_and_only_then(engine: Engine, runner: Runner) -> None:
    predict(engine, hour=0, rates={"north": 0.5, "south": 0.2, None: 0.5})
    assert at(runner, 2) == []
    (run,) = at(runner, 3)
    assert (run.job, run.status, run.n) == ("bias", "ok", 1200)
    assert run.payload["verdict"] == "disparity"
    assert run.payload["look"] == 1
    groups = {one["group"]: one for one in run.payload["groups"]}
    assert set(groups) == {"north", "south", "unknown"}
    assert groups["south"]["metrics"]["selection_rate"]["verdict"] == "disparity"
    assert groups["south"]["metrics"]["tpr"]["n"] == 100  # of the labelled half
    assert at(runner, 3.5) == []
    predict(engine, hour=3, rates={"north": 0.5, "south": 0.5})
    later = at(runner, 6)
    assert [one.status for one in later] == ["too_little_data", "too_little_data", "ok"]
    assert later[-1].payload["look"] == 2
    assert later[-1].payload["verdict"] != "disparity"


def test_the_latest_audit_is_what_prometheus_sees(engine: Engine, runner: Runner) -> None:
    predict(engine, hour=0, rates={"north": 0.5, "south": 0.2})
    at(runner, 3)
    found = shown(runner)
    assert found["driftwarden_bias_disparity"] == {("intents", "1"): 1.0}
    assert found["driftwarden_bias_rate_ratio"]["intents", "1", "region", "south", "selection_rate"] == 0.2
    low = found["driftwarden_bias_rate_low_ratio"]["intents", "1", "region", "south", "selection_rate"]
    assert 0.1 < low < 0.2


def test_a_model_without_groups_is_not_audited(engine: Engine) -> None:
    policy = Policy(models={"intents": ModelPolicy(version="1")})
    runner = Runner(engine=engine, policy=policy, models=NoModels(), clock=ReplayedClock(BEGIN), code_version="test")
    predict(engine, hour=0, rates={"north": 0.5, "south": 0.2})
    assert at(runner, 200) == []


def test_groups_that_events_do_not_carry_come_from_a_file(engine: Engine, runner: Runner, tmp_path: Path) -> None:
    predict(engine, hour=0, rates={None: 0.5})
    path = tmp_path / "join.csv"
    path.write_text("id,age\n" + "\n".join(f"0-None-{i},{'old' if i < 200 else 'young'}" for i in range(390)))
    window = Window(BEGIN, BEGIN + HOUR)
    policy = BIAS.model_copy(update={"groups": ("age",)})
    audited = audit_window(runner, "intents", "1", window, policy, join=read_join(path))
    sizes = {one["group"]: one["n"] for one in audited.as_json()["groups"]}
    assert sizes == {"old": 200, "young": 190, "unknown": 10}
    path.write_text("id,age\na,1\na,2\n")
    with pytest.raises(InputError, match=r"join.csv: row 2: id 'a' stands there twice"):
        read_join(path)


def test_rarely_drawn_rows_weigh_more_and_say_less(engine: Engine, runner: Runner) -> None:
    predict(engine, hour=0, rates={"north": 0.5}, n=400)
    predict(engine, hour=0, rates={"south": 0.5}, n=400, chance=0.1)
    audited = audit_window(runner, "intents", "1", Window(BEGIN, BEGIN + HOUR), BIAS).as_json()
    assert {one["group"]: one["metrics"]["selection_rate"]["value"] for one in audited["groups"]} == {
        "north": pytest.approx(0.5),
        "south": pytest.approx(0.5),
    }


def test_a_window_without_the_positive_label_says_so_once(engine: Engine) -> None:
    bias = BIAS.model_copy(update={"positive": "nope"})
    runner = Runner(
        engine=engine,
        policy=Policy(models={"intents": ModelPolicy(version="1", bias=bias)}),
        models=NoModels(),
        clock=ReplayedClock(BEGIN),
        code_version="test",
    )
    predict(engine, hour=0, rates={"north": 0.5})
    (run,) = at(runner, 3)
    assert run.status == "too_little_data"
    assert "the positive label 'nope' never occurs" in run.payload["reason"]
    assert at(runner, 3.1) == []


def test_the_report_shows_what_the_audit_compared(engine: Engine, runner: Runner) -> None:
    predict(engine, hour=0, rates={"north": 0.5, "south": 0.2})
    (run,) = at(runner, 3)
    shown = audit_shown(run)
    south = next(one for one in shown.groups if one.metric == "selection_rate")
    assert (south.group, south.reference, south.verdict) == ("south", "north", "disparity")
    assert south.difference == pytest.approx(-0.3)
    assert (shown.n, shown.labelled) == (800, 400)
