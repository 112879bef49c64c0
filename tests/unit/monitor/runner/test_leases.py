"""Of several schedulers one leads, and who lost the lead writes nothing."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from monitor import store
from monitor.embed import Encoded
from monitor.runner import LeadershipLost, Runner
from monitor.schedule import LEASE_TTL, Schedule
from tests.unit.monitor.runner.traffic import BEGIN, HOUR, POLICY, WordsEncoder, at, replace_runner, send, texts


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
