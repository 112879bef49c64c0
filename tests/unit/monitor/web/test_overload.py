"""The real server under clients that are slow, many or gone."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from monitor import store
from monitor.app import create_app
from monitor.clock import ReplayedClock
from monitor.demo.replay import served
from monitor.policy import CapturePolicy, ModelPolicy, Policy
from monitor.settings import Settings

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
EVENT = {"id": "e1", "model": "intents", "version": "1", "timestamp": "2026-05-01T11:00:00Z", "text": "where is it"}
HALF = b"POST /v1/predictions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[{"

Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def serve(sqlite_engine: Engine, tmp_path: Path) -> Serve:
    def start(**capture) -> AbstractContextManager[str]:
        policy = Policy(capture=CapturePolicy(**capture), models={"intents": ModelPolicy(version="1")})
        settings = Settings(database_url=f"sqlite:///{tmp_path}/driftwarden.db")
        return served(create_app(settings, policy, ReplayedClock(NOW)))

    return start


@pytest.fixture
def half_sent() -> Iterator[Callable[[str, int], list[socket.socket]]]:
    with ExitStack() as opened:

        def send(address: str, count: int) -> list[socket.socket]:
            parts = urlsplit(address)
            found = []
            for _ in range(count):
                one = opened.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=30))
                one.sendall(HALF)
                found.append(one)
            time.sleep(0.3)  # until the server has read them
            return found

        yield send


def test_uploads_that_stand_still_keep_nobody_out_and_are_let_go(serve: Serve, half_sent: Callable) -> None:
    with serve(max_queued_requests=4, body_timeout_seconds=2) as address:
        slow = half_sent(address, 16)
        assert httpx.post(f"{address}/v1/predictions", json=[EVENT], timeout=30).json()["accepted"] == 1
        answers = [one.recv(4096) for one in slow]
        assert {answer.split(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 408 Request Timeout"}
        assert all(b"connection: close" in answer.lower() for answer in answers)


def test_too_many_uploads_at_a_time_are_answered_429_until_the_slow_are_let_go(
    serve: Serve, half_sent: Callable
) -> None:
    with serve(max_queued_requests=1, body_timeout_seconds=2) as address:
        slow = half_sent(address, 8)
        refused = httpx.post(f"{address}/v1/predictions", json=[EVENT], timeout=30)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert slow[-1].recv(4096).startswith(b"HTTP/1.1 408")
        assert httpx.post(f"{address}/v1/predictions", json=[EVENT], timeout=30).json()["accepted"] == 1


def test_the_service_ends_though_uploads_stand_open(serve: Serve, half_sent: Callable) -> None:
    with serve(body_timeout_seconds=1) as address:
        half_sent(address, 4)
        started = time.monotonic()
    assert time.monotonic() - started < 15


def test_over_its_bound_the_service_says_when_to_come_again(serve: Serve, sqlite_engine: Engine) -> None:
    answers: list[httpx.Response] = []
    answered = threading.Event()

    def post(address: str) -> None:
        answers.append(httpx.post(f"{address}/v1/predictions", json=[EVENT], timeout=60))
        answered.set()

    with serve(max_queued_requests=1) as address:
        with store.writing(sqlite_engine) as session:
            session.execute(text("DELETE FROM counters"))  # the write lock is ours: one request waits for it
            clients = [threading.Thread(target=post, args=(address,)) for _ in range(2)]
            for client in clients:
                client.start()
            assert answered.wait(timeout=20)
            assert (answers[0].status_code, answers[0].headers["retry-after"]) == (429, "1")
            session.commit()
        for client in clients:
            client.join(timeout=60)
        assert answers[1].json()["accepted"] == 1


def test_a_service_whose_writer_does_not_run_is_not_ready(sqlite_engine: Engine, tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/driftwarden.db")
    app = create_app(settings, Policy(), ReplayedClock(NOW))
    with TestClient(app) as http:
        assert http.get("/-/ready").status_code == 200
    ended = TestClient(app).get("/-/ready")  # outside of the service's life
    assert (ended.status_code, "writer" in ended.json()["detail"]) == (503, True)
