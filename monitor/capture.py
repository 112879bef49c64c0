"""Take events in: check, sample and write them in one durable, idempotent transaction."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Generic, Literal, TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from monitor import store
from monitor.events import Refusal, clean_text, read_label, read_prediction
from monitor.policy import DEFAULTS, ModelPolicy, Policy
from monitor.sampling import Sampler, unit_interval
from monitor.store.types import NewLabel, NewPrediction

Kind = Literal["predictions", "labels"]
Row = TypeVar("Row", NewPrediction, NewLabel)
Refused = tuple[int, str, Refusal, Any]  # its place in the request, the model it counts under, why, and what was sent

PREFIXES: dict[Kind, str] = {"predictions": "events", "labels": "labels"}
_MODEL = attrgetter("model")


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
    """Checked and sampled events of one request, not written yet; `indexes` are their places in the request.

    `left_out` are those a sampler with class floors did not keep, as (index, row, payload): an earlier send may have
    been kept, which only the database knows. `floored` are the positions of the rows that took a place of a floor.
    `named` are the models that the policy names.
    """

    kind: Kind
    source: str
    received_at: datetime
    rows: list[Row] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    payloads: list[Any] = field(default_factory=list)
    sampled_out: Counter[str] = field(default_factory=Counter)
    left_out: list[tuple[int, Row, Any]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    named: Collection[str] = ()
    sampler: Sampler | None = None
    floored: list[int] = field(default_factory=list)

    def keep(self, index: int, row: Row, payload: Any) -> None:
        """Put down an event that shall be written."""
        self.rows.append(row)
        self.indexes.append(index)
        self.payloads.append(payload)

    def give_back(self, positions: Collection[int] | None = None) -> None:
        """Free the floors' places of rows that were not written: those at `positions`, or all."""
        for position in self.floored:
            if self.sampler is not None and (positions is None or position in positions):
                row = self.rows[position]
                self.sampler.give_back(model=row.model, label=row.label, timestamp=row.timestamp)


def prepare_predictions(
    events: Sequence[Any], *, policy: Policy, sampler: Sampler, now: datetime, source: str, first_index: int = 0
) -> Prepared[NewPrediction]:
    """Check and sample prediction events; nothing is written."""
    prepared: Prepared[NewPrediction] = Prepared(
        "predictions", source, now, named=policy.models.keys(), sampler=sampler
    )
    for index, event in enumerate(events, start=first_index):
        read = read_prediction(event, policy=policy, now=now)
        if isinstance(read, Refusal):
            prepared.refused.append((index, _known_model(event, policy), read, event))
            continue
        rules = policy.models.get(read.model, DEFAULTS)
        if rules.sampling_rate >= 1:
            prepared.keep(index, read, event)
        else:
            _sample(prepared, index, read, event, rules=rules, sampler=sampler)
    return prepared


def _sample(
    prepared: Prepared[NewPrediction],
    index: int,
    row: NewPrediction,
    payload: Any,
    *,
    rules: ModelPolicy,
    sampler: Sampler,
) -> None:
    probability = sampler.probability(rules, model=row.model, label=row.label, timestamp=row.timestamp)
    representative = unit_interval(row.model, row.event_id) < rules.sampling_rate
    floored = probability > rules.sampling_rate
    if representative or floored:
        if floored:
            prepared.floored.append(len(prepared.rows))
        row = row._replace(inclusion_probability=probability, representative=representative)
        prepared.keep(index, row, payload)
    elif rules.class_floor_per_hour > 0:
        prepared.left_out.append((index, row, payload))
    else:
        prepared.sampled_out[row.model] += 1


def prepare_labels(
    events: Sequence[Any], *, policy: Policy, now: datetime, source: str, first_index: int = 0
) -> Prepared[NewLabel]:
    """Check label events; nothing is written."""
    prepared: Prepared[NewLabel] = Prepared("labels", source, now, named=policy.models.keys())
    before: Counter[tuple[str, str, str]] = Counter()
    for index, event in enumerate(events, start=first_index):
        read = read_label(event, policy=policy, now=now)
        if isinstance(read, Refusal):
            prepared.refused.append((index, _known_model(event, policy), read, event))
            continue
        if not read.dated:  # two of one source: the later in the request is the newer
            said = before[read.model, read.event_id, read.source]
            before[read.model, read.event_id, read.source] += 1
            read = replace(read, timestamp=read.timestamp + said * timedelta(microseconds=1))
        prepared.keep(index, read, event)
    return prepared


def _known_model(event: Any, policy: Policy) -> str:
    name = event.get("model") if isinstance(event, dict) else None
    return name if isinstance(name, str) and name in policy.models else ""  # a label of a metric: bounded


def write_all(engine: Engine, batches: Sequence[Prepared[Any]]) -> list[Answer]:
    """Write several requests in one transaction; when it returns, every accepted event is durable."""
    store.make_partitions(engine, (row.timestamp for one in batches if one.kind == "predictions" for row in one.rows))
    tally = _Tally()
    with store.writing(engine) as session:
        outcomes = [_insert(session, batch) for batch in batches]
        held = [_held(session, batch) for batch in batches]
        answers = [tally.account(*one) for one in zip(batches, outcomes, held, strict=True)]
        fresh = store.add_dead_letters(session, [letter for _, letter in tally.letters])
        tally.counts.update(tally.letters[position][0] for position in fresh)
        named = {name for batch in batches for name in batch.named}
        store.add_counts(session, _with_bounded_names(session, tally.counts, named=named))
    for batch, outcome in zip(batches, outcomes, strict=True):
        batch.give_back({*outcome.duplicates, *outcome.conflicting})
    return answers


def _insert(session: Session, batch: Prepared[Any]) -> store.InsertOutcome:
    if not batch.rows:
        return store.InsertOutcome(0, (), ())
    insert: Callable[..., store.InsertOutcome] = (
        store.insert_predictions if batch.kind == "predictions" else store.insert_labels
    )
    return insert(session, batch.rows)


def _held(session: Session, batch: Prepared[Any]) -> Mapping[tuple[str, str], str]:
    """Return the content of those left-out ids that are kept all the same: an earlier send had a place in a floor."""
    if not batch.left_out:
        return {}
    return store.kept_content(session, [(row.model, row.event_id) for _, row, _ in batch.left_out])


def _with_bounded_names(
    session: Session, counts: Mapping[tuple[str, str], int], *, named: Collection[str]
) -> dict[tuple[str, str], int]:
    """Count a model that neither policy nor registry names under "": names are a metric's label."""
    unknown = {model for model, _ in counts if model and model not in named}
    if unknown:
        unknown -= {version.model for version in store.versions(session)}
    bounded: Counter[tuple[str, str]] = Counter()
    for (model, name), count in counts.items():
        if count:
            bounded["" if model in unknown else model, name] += count
    return bounded


class _Tally:
    """What a commit counts, and the dead letters it leaves, each with the counter it adds to when it is new."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.letters: list[tuple[tuple[str, str], store.DeadLetter]] = []

    def account(
        self, batch: Prepared[Any], outcome: store.InsertOutcome, held: Mapping[tuple[str, str], str]
    ) -> Answer:
        """Count a batch and return its answer; `held` is the content of left-out ids that are kept all the same."""
        known = [(one, held.get((one[1].model, one[1].event_id))) for one in batch.left_out]
        again = [row.model for (_, row, _), content in known if content == row.content_digest]
        left_out = [row.model for (_, row, _), content in known if content is None]
        taken = [one for one, content in known if content not in (None, one[1].content_digest)]
        taken += [(batch.indexes[i], batch.rows[i], batch.payloads[i]) for i in outcome.conflicting]
        conflict = _conflict if batch.kind == "predictions" else _label_conflict
        refused = sorted([*batch.refused, *map(conflict, taken)], key=lambda one: one[0])

        duplicates = Counter(batch.rows[i].model for i in outcome.duplicates)
        conflicting = Counter(batch.rows[i].model for i in outcome.conflicting)
        accepted = Counter(map(_MODEL, batch.rows)) - duplicates - conflicting
        sampled_out = batch.sampled_out + Counter(left_out)
        duplicates.update(again)
        self._count(batch.kind, accepted=accepted, duplicate=duplicates, sampled_out=sampled_out)
        self._write_letters(batch, refused)
        return Answer(
            accepted=outcome.accepted,
            duplicate=duplicates.total(),
            sampled_out=sampled_out.total(),
            rejected=tuple(Rejection(index, refusal.field, refusal.reason) for index, _, refusal, _ in refused),
        )

    def _count(self, kind: Kind, **outcomes: Mapping[str, int]) -> None:
        for outcome, models in outcomes.items():
            for model, count in models.items():
                self.counts[model, f"{PREFIXES[kind]}.{outcome}"] += count

    def _write_letters(self, batch: Prepared[Any], refused: Iterable[Refused]) -> None:
        for index, model, refusal, payload in refused:
            letter = store.DeadLetter(
                received_at=batch.received_at,
                source=batch.source,
                index=index,
                field=refusal.field,
                reason=refusal.reason,
                payload=_payload(payload),
            )
            self.letters.append(((model, f"{PREFIXES[batch.kind]}.rejected"), letter))


def _conflict(event: tuple[int, Any, Any]) -> Refused:
    index, row, payload = event
    return index, row.model, Refusal("id", f"{row.event_id!r:.100} is taken by an event with other content"), payload


def _label_conflict(event: tuple[int, Any, Any]) -> Refused:
    index, row, payload = event
    reason = (
        f"{row.source!r:.100} labelled {row.event_id!r:.100} otherwise at the same time, {row.timestamp.isoformat()}"
    )
    return index, row.model, Refusal("label", reason), payload


def _payload(event: Any) -> str:
    if isinstance(event, str):
        return clean_text(event)
    try:
        return clean_text(json.dumps(event, ensure_ascii=False, default=str))
    except (ValueError, RecursionError):
        return clean_text(repr(event))
