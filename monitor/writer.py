"""One thread that writes what requests bring, many requests a commit."""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from monitor import store
from monitor.capture import Answer, Prepared, write_all
from monitor.errors import TryAgainLater

MAX_BATCHES_PER_COMMIT = 32
STOP_SECONDS = 40  # longer than a write waits for SQLite's lock
ENDED = "the writer has ended; the service is stopping or must be restarted"
Waiting = tuple[Prepared[Any], "Future[Answer]"]

log = structlog.get_logger()


class QueueFull(TryAgainLater):
    """More requests are in flight than the policy allows."""


class Writer:
    """One thread that writes: requests that arrive while it commits share its next commit.

    A future resolves after the commit, so an acknowledged event is on disk; what was not acknowledged may be sent
    again, since ids count once. When the thread has ended, whatever waits or comes is told to try again.
    """

    def __init__(self, engine: Engine, *, max_queued: int) -> None:
        self._engine = engine
        self._max_queued = max_queued
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._in_flight = 0
        self._ended = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="capture-writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, then end; a database that does not answer is not waited for without end."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=STOP_SECONDS)
            if self._thread.is_alive():
                log.error("capture_writer_left", waited_seconds=STOP_SECONDS)
            self._thread = None

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Count a request in, and out at the end. Raises QueueFull over the bound."""
        with self._lock:
            if self._in_flight >= self._max_queued:
                raise QueueFull(f"{self._in_flight} requests are in flight, the policy allows {self._max_queued}")
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    def submit(self, prepared: Prepared[Any]) -> "Future[Answer]":
        """Queue a request; the future holds its answer once it is durable. Raises TryAgainLater after the end."""
        future: Future[Answer] = Future()
        with self._lock:
            if self._ended:
                raise TryAgainLater(ENDED)
            self._queue.put((prepared, future))
        return future

    def _work(self) -> None:
        batch: list[Waiting] = []
        try:
            stop = False
            while not stop:
                batch, stop = self._take()
                batch = _begun(batch)
                if batch:
                    self._write(batch)
        finally:
            self._end(batch)

    def _take(self) -> "tuple[list[Waiting], bool]":
        """Wait for a request and take those queued behind it; say whether the end was among them."""
        batch: list[Waiting] = []
        head = self._queue.get()
        while head is not None:
            batch.append(head)
            if len(batch) == MAX_BATCHES_PER_COMMIT:
                return batch, False
            try:
                head = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _end(self, batch: "list[Waiting]") -> None:
        with self._lock:
            self._ended = True
        while not self._queue.empty():
            following = self._queue.get()
            if following is not None:
                batch += _begun([following])
        for prepared, future in batch:
            if not future.done():
                prepared.give_back()
                future.set_exception(TryAgainLater(ENDED))

    def _write(self, batch: "list[Waiting]") -> None:
        try:
            answers = write_all(self._engine, [prepared for prepared, _ in batch])
        except Exception as error:  # noqa: BLE001 each waiting request is told, and the thread lives on
            if len(batch) > 1:  # one request must not fail the others
                for one in batch:
                    self._write([one])
                return
            self._fail(*batch[0], error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            future.set_result(answer)

    def _fail(self, prepared: Prepared[Any], future: "Future[Answer]", error: Exception) -> None:
        log.error("capture_write_failed", error=type(error).__name__)
        prepared.give_back()
        future.set_exception(
            TryAgainLater("the database does not take events now")
            if isinstance(error, SQLAlchemyError | store.StoreError)
            else error
        )


def _begun(batch: list[Waiting]) -> list[Waiting]:
    """Mark requests as begun, so that they can be cancelled no more, and leave out those that were."""
    begun = []
    for prepared, future in batch:
        if future.set_running_or_notify_cancel():
            begun.append((prepared, future))
        else:
            prepared.give_back()
    return begun
