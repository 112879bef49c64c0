"""One thread that writes what requests bring, many requests a commit."""

import queue
import threading
from concurrent.futures import Future
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from monitor import store
from monitor.capture import Answer, Prepared, write_all
from monitor.errors import TryAgainLater

MAX_BATCHES_PER_COMMIT = 32

log = structlog.get_logger()


class QueueFull(TryAgainLater):
    """More requests are in flight than the policy allows."""


class Writer:
    """One thread that writes: requests that arrive while it commits share its next commit.

    A future resolves after the commit, so an acknowledged event is on disk; what was not acknowledged may be sent
    again, since ids count once.
    """

    def __init__(self, engine: Engine, *, max_queued: int) -> None:
        self._engine = engine
        self._max_queued = max_queued
        self._queue: queue.SimpleQueue[tuple[Prepared[Any], Future[Answer]] | None] = queue.SimpleQueue()
        self._in_flight = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="capture-writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, then end."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def reserve(self) -> None:
        """Count a request in. Raises QueueFull over the bound; every reserve needs one release."""
        with self._lock:
            if self._in_flight >= self._max_queued:
                raise QueueFull(f"{self._in_flight} requests are in flight, the policy allows {self._max_queued}")
            self._in_flight += 1

    def release(self) -> None:
        """Count a request out."""
        with self._lock:
            self._in_flight -= 1

    def submit(self, prepared: Prepared[Any]) -> "Future[Answer]":
        """Queue a request; the future holds its answer once it is durable."""
        future: Future[Answer] = Future()
        self._queue.put((prepared, future))
        return future

    def _work(self) -> None:
        while (head := self._queue.get()) is not None:
            batch = [head]
            stop = False
            while len(batch) < MAX_BATCHES_PER_COMMIT:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    stop = True
                    break
                batch.append(following)
            self._write(batch)
            if stop:
                return

    def _write(self, batch: "list[tuple[Prepared[Any], Future[Answer]]]") -> None:
        try:
            answers = write_all(self._engine, [prepared for prepared, _ in batch])
        except Exception as error:  # noqa: BLE001 each waiting request is told, and the thread lives on
            if len(batch) > 1:  # one request must not fail the others
                for one in batch:
                    self._write([one])
                return
            log.error("capture_write_failed", error=type(error).__name__)
            batch[0][1].set_exception(
                TryAgainLater("the database does not take events now")
                if isinstance(error, SQLAlchemyError | store.StoreError)
                else error
            )
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            future.set_result(answer)
