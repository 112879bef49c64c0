"""One thread writes for all requests: it fails them alone, outlives them, and says when it has ended."""

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from monitor import store
from monitor.capture import Prepared, prepare_predictions
from monitor.errors import TryAgainLater
from monitor.policy import ModelPolicy, Policy
from monitor.sampling import Sampler
from monitor.writer import QueueFull, Writer

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
POLICY = Policy(models={"intents": ModelPolicy(version="1")})


def prepared(number: int) -> Prepared:
    event = {"id": f"e{number}", "model": "intents", "version": "1", "timestamp": "2026-05-01T11:00:00Z", "text": "x"}
    return prepare_predictions([event], policy=POLICY, sampler=Sampler(), now=NOW, source="test")


class Deadly(list):
    """Rows that end the thread which looks at them."""

    def __len__(self) -> int:
        raise SystemExit

    __iter__ = __len__  # type: ignore[assignment]


def deadly() -> Prepared:
    one = prepared(0)
    one.rows = Deadly()
    return one


def test_requests_that_wait_together_share_a_commit_and_one_that_fails_fails_alone(sqlite_engine: Engine) -> None:
    broken = prepared(2)
    broken.rows[0] = "not a row"  # type: ignore[call-overload]
    writer = Writer(sqlite_engine, max_queued=10)
    futures = [writer.submit(one) for one in (prepared(1), broken, prepared(3))]
    writer.start()
    assert futures[0].result(timeout=10).accepted == 1
    assert futures[2].result(timeout=10).accepted == 1
    with pytest.raises(AttributeError):
        futures[1].result(timeout=10)
    writer.stop()


def test_a_database_that_fails_is_try_again_and_not_an_acceptance(sqlite_engine: Engine) -> None:
    with store.writing(sqlite_engine) as session:
        session.execute(text("DROP TABLE predictions"))
    writer = Writer(sqlite_engine, max_queued=10)
    writer.start()
    with pytest.raises(TryAgainLater):
        writer.submit(prepared(1)).result(timeout=10)
    writer.stop()


def test_a_request_that_was_cancelled_is_not_written_and_the_next_is_answered(sqlite_engine: Engine) -> None:
    writer = Writer(sqlite_engine, max_queued=10)
    cancelled, following = writer.submit(prepared(1)), writer.submit(prepared(2))
    cancelled.cancel()
    writer.start()
    assert following.result(timeout=10).accepted == 1
    assert writer.submit(prepared(1)).result(timeout=10).accepted == 1
    assert writer.alive
    writer.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # its death is what is tested
def test_when_the_thread_dies_who_waits_and_who_comes_is_told_to_try_again(sqlite_engine: Engine) -> None:
    writer = Writer(sqlite_engine, max_queued=10)
    waiting = [writer.submit(deadly()), writer.submit(prepared(1))]
    writer.start()
    for future in waiting:
        with pytest.raises(TryAgainLater, match="the writer has ended"):
            future.result(timeout=10)
    with pytest.raises(TryAgainLater, match="the writer has ended"):
        writer.submit(prepared(2))
    writer.stop()
    assert not writer.alive


def test_what_is_queued_is_written_before_the_end_and_what_comes_after_is_not(sqlite_engine: Engine) -> None:
    writer = Writer(sqlite_engine, max_queued=100)
    futures = [writer.submit(prepared(i)) for i in range(70)]
    writer.start()
    writer.stop()
    assert [future.result(timeout=0).accepted for future in futures] == [1] * 70
    with pytest.raises(TryAgainLater):
        writer.submit(prepared(99))


def test_a_database_that_never_answers_does_not_hold_the_end_up(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.writer.STOP_SECONDS", 0.2)
    writer = Writer(sqlite_engine, max_queued=10)
    with store.writing(sqlite_engine) as session:
        session.execute(text("DELETE FROM counters"))  # the write lock is ours
        writer.start()
        future = writer.submit(prepared(1))
        stopping = threading.Thread(target=writer.stop)
        stopping.start()
        stopping.join(timeout=10)
        assert not stopping.is_alive()
        session.rollback()
    assert future.result(timeout=40).accepted == 1


def test_no_more_requests_than_the_bound_are_in_flight(sqlite_engine: Engine) -> None:
    writer = Writer(sqlite_engine, max_queued=1)
    full = pytest.raises(QueueFull, match="1 requests are in flight, the policy allows 1")
    with writer.reserved(), full, writer.reserved():
        raise AssertionError
    with writer.reserved():
        pass
