"""Take events in: check, sample and write them in one durable, idempotent transaction."""

import json
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from monitor import store
from monitor.errors import TryAgainLater
from monitor.events import Refusal, clean_text, read_label, read_prediction
from monitor.policy import DEFAULTS, Policy
from monitor.sampling import Sampler, unit_interval
from monitor.store.types import NewLabel, NewPrediction

Kind = Literal["predictions", "labels"]
Row = TypeVar("Row", NewPrediction, NewLabel)

MAX_BATCHES_PER_COMMIT = 32

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that was refused: its place in the request, the field and the reason."""

    index: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request's events."""

    accepted: int = 0
    duplicate: int = 0
    sampled_out: int = 0
    rejected: tuple[Rejection, ...] = ()


@dataclass(slots=True)
class Prepared(Generic[Row]):
    """Checked and sampled events of one request, not written yet; `indexes` are their places in the request."""

    kind: Kind
    source: str
    received_at: datetime
    rows: list[Row] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    payloads: list[Any] = field(default_factory=list)
    sampled_out: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[int, str, Refusal, Any]] = field(default_factory=list)


def prepare_predictions(
    events: Sequence[Any], *, policy: Policy, sampler: Sampler, now: datetime, source: str, first_index: int = 0
) -> Prepared[NewPrediction]:
    """Check and sample prediction events; nothing is written."""
    prepared: Prepared[NewPrediction] = Prepared("predictions", source, now)
    for index, event in enumerate(events, start=first_index):
        read = read_prediction(event, policy=policy, now=now)
        if isinstance(read, Refusal):
            prepared.refused.append((index, _known_model(event, policy), read, event))
            continue
        rules = policy.models.get(read.model, DEFAULTS)
        probability = sampler.probability(rules, model=read.model, label=read.label, timestamp=read.timestamp)
        if not keeps(read, probability):
            prepared.sampled_out[read.model] += 1
            continue
        prepared.rows.append(read if probability == 1 else read._replace(inclusion_probability=probability))
        prepared.indexes.append(index)
        prepared.payloads.append(event)
    return prepared


def keeps(row: NewPrediction, probability: float) -> bool:
    """Whether an event's hash lies within its inclusion probability."""
    return probability >= 1 or unit_interval(row.model, row.event_id) < probability


def prepare_labels(
    events: Sequence[Any], *, policy: Policy, now: datetime, source: str, first_index: int = 0
) -> Prepared[NewLabel]:
    """Check label events; nothing is written."""
    prepared: Prepared[NewLabel] = Prepared("labels", source, now)
    for index, event in enumerate(events, start=first_index):
        read = read_label(event, policy=policy, now=now)
        if isinstance(read, Refusal):
            prepared.refused.append((index, _known_model(event, policy), read, event))
            continue
        prepared.rows.append(read)
        prepared.indexes.append(index)
        prepared.payloads.append(event)
    return prepared


def _known_model(event: Any, policy: Policy) -> str:
    name = event.get("model") if isinstance(event, dict) else None
    return name if isinstance(name, str) and name in policy.models else ""  # a label of a metric: bounded


def write_all(engine: Engine, batches: Sequence[Prepared[Any]]) -> list[Answer]:
    """Write several requests in one transaction; when it returns, every accepted event is durable."""
    with store.writing(engine) as session:
        answers = []
        counts: Counter[tuple[str, str]] = Counter()
        letters: list[store.DeadLetter] = []
        for batch in batches:
            insert: Callable[..., store.InsertOutcome] = (
                store.insert_predictions if batch.kind == "predictions" else store.insert_labels
            )
            outcome = insert(session, batch.rows) if batch.rows else store.InsertOutcome(0, (), ())
            answers.append(_account(batch, outcome, counts=counts, letters=letters))
        store.add_dead_letters(session, letters)
        store.add_counts(session, {key: count for key, count in counts.items() if count})
    return answers


def _account(
    batch: Prepared[Any],
    outcome: store.InsertOutcome,
    *,
    counts: "Counter[tuple[str, str]]",
    letters: list[store.DeadLetter],
) -> Answer:
    prefix = "events" if batch.kind == "predictions" else "labels"
    conflicting = set(outcome.conflicting)
    refused = [
        *batch.refused,
        *(
            (
                batch.indexes[i],
                batch.rows[i].model,
                Refusal("id", f"{batch.rows[i].event_id!r:.100} is taken by an event with other content"),
                batch.payloads[i],
            )
            for i in outcome.conflicting
        ),
    ]
    refused.sort(key=lambda one: one[0])
    duplicates = set(outcome.duplicates)
    for i, row in enumerate(batch.rows):
        if i not in conflicting:
            counts[row.model, f"{prefix}.{'duplicate' if i in duplicates else 'accepted'}"] += 1
    for model, count in batch.sampled_out.items():
        counts[model, f"{prefix}.sampled_out"] += count
    for index, model, refusal, payload in refused:
        counts[model, f"{prefix}.rejected"] += 1
        letters.append(
            store.DeadLetter(
                received_at=batch.received_at,
                source=batch.source,
                index=index,
                field=refusal.field,
                reason=refusal.reason,
                payload=_payload(payload),
            )
        )
    return Answer(
        accepted=outcome.accepted,
        duplicate=outcome.duplicate,
        sampled_out=sum(batch.sampled_out.values()),
        rejected=tuple(Rejection(index, refusal.field, refusal.reason) for index, _, refusal, _ in refused),
    )


def _payload(event: Any) -> str:
    if isinstance(event, str):
        return clean_text(event)
    try:
        return clean_text(json.dumps(event, ensure_ascii=False, default=str))
    except (ValueError, RecursionError):
        return clean_text(repr(event))


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
