"""What the store takes and gives: frozen rows in our own words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


class NewPrediction(NamedTuple):
    """A validated, sampled prediction event, its fields after the first in the order of the table's columns.

    A named tuple and not a dataclass: one is made for every event, and it is the row that the driver writes.
    """

    content_digest: str  # of the key, not of the row
    event_id: str
    model: str
    version: str
    timestamp: datetime
    received_at: datetime
    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    prediction_json: Any = None
    confidence: float | None = None
    scores: Mapping[str, float] | None = None
    latency_seconds: float | None = None
    attributes: Mapping[str, str] | None = None
    stage: str | None = None
    endpoint: str | None = None
    subject: str | None = None
    token_count: int | None = None
    tokenizer_digest: str | None = None
    inclusion_probability: float = 1.0
    representative: bool = True  # of the uniform sample at the model's rate, and not kept by a class floor alone


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A kept prediction, as jobs read it."""

    id: int
    timestamp: datetime
    model: str
    version: str
    text: str | None
    text_pair: str | None
    label: str | None
    confidence: float | None
    scores: Mapping[str, float] | None
    attributes: Mapping[str, str] | None
    token_count: int | None
    tokenizer_digest: str | None
    inclusion_probability: float
    representative: bool


@dataclass(frozen=True, slots=True)
class NewLabel:
    """A version of the truth about a prediction, from one source; without a label the source withdraws its own.

    dated : whether the label came with a time; one that did not counts once, however often it is sent.
    reference : what the source itself calls the label, by which it can be withdrawn.
    """

    event_id: str
    model: str
    label: str | None
    timestamp: datetime
    source: str
    received_at: datetime
    content_digest: str
    dated: bool = True
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """A sampled answer beside the label that counts.

    answer : its class, or None where the answer is JSON without one, which `prediction` holds.
    labelling_probability : of the draws that queued it to be labelled; None where no draw did and the label just came.
    inclusion_probability : of being kept and, where a draw queued it, drawn; the product of the two.
    labelled_at, received_at : when any source first labelled it, by the label's own time and by its arrival.
    decided_at : the time of the label that counts. sources : how many sources have a label of it now.
    """

    id: int
    event_id: str
    timestamp: datetime
    answer: str | None
    prediction: Any
    truth: str
    confidence: float | None
    scores: Mapping[str, float] | None
    attributes: Mapping[str, str] | None
    stage: str | None
    representative: bool
    sampling_probability: float
    labelling_probability: float | None
    drawn_at_random: bool | None
    labelled_at: datetime
    received_at: datetime
    decided_at: datetime
    sources: int

    @property
    def inclusion_probability(self) -> float:
        """The probability that the pair is in the labelled sample."""
        return self.sampling_probability * (1.0 if self.labelling_probability is None else self.labelling_probability)


@dataclass(frozen=True, slots=True)
class LabelDelay:
    """How long a sampled answer waited for its first label; without one it still waits (censored)."""

    timestamp: datetime
    answer: str | None
    confidence: float | None
    sampling_probability: float
    queued: bool
    truth: str | None
    labelled_at: datetime | None
    received_at: datetime | None


@dataclass(frozen=True, slots=True)
class LabelCohort:
    """What was sampled of a window and how much of it is labelled.

    traffic : how many events there were, sampled or not, estimated as the sum of 1 / inclusion probability.
    """

    sampled: int
    labelled: int
    queued: int
    traffic: float
    traffic_labelled: float


@dataclass(frozen=True, slots=True)
class NewLabelBatch:
    """A draw of texts to be labelled: from which window, by which design, and every candidate's probability."""

    model: str
    version: str
    window_start: datetime
    window_end: datetime
    created_at: datetime
    seed: int
    design: Mapping[str, Any]
    chances: bytes


@dataclass(frozen=True, slots=True)
class StoredLabelBatch(NewLabelBatch):
    """A draw with its number."""

    id: int


@dataclass(frozen=True, slots=True)
class Queued:
    """A text drawn to be labelled; `probability` is that of all draws until now together."""

    event_id: str
    prediction_id: int
    timestamp: datetime
    reasons: Sequence[str]
    drawn_at_random: bool
    probability: float


@dataclass(frozen=True, slots=True)
class InsertOutcome:
    """What became of a batch: indexes of rows that were there already, and of those whose id other content holds."""

    accepted: int
    duplicates: tuple[int, ...]
    conflicting: tuple[int, ...]

    @property
    def duplicate(self) -> int:
        """How many were there already."""
        return len(self.duplicates)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was refused, whole, with the reason."""

    received_at: datetime
    source: str
    index: int
    field: str
    reason: str
    payload: str


@dataclass(frozen=True, slots=True)
class StoredDeadLetter(DeadLetter):
    """A dead letter with its number."""

    id: int


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A model version and the digests it was pinned at."""

    model: str
    version: str
    model_digest: str
    tokenizer_digest: str


@dataclass(frozen=True, slots=True)
class StoredBaseline:
    """A baseline: basis and reference sketch as bytes, texts aligned to the reference sketch's rows."""

    model: str
    version: str
    digest: str
    numeric_mode: str
    model_digest: str
    tokenizer_digest: str
    basis: bytes
    reference: bytes
    reference_texts: list[str]
    summary: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewSketch:
    """A partial sketch of one hour of a model version, with the counts that stand beside it."""

    model: str
    version: str
    hour: datetime
    segment: str
    baseline_digest: str
    n: int
    truncated: int
    nonfinite: int
    token_checked: int
    token_mismatched: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class StoredSketch(NewSketch):
    """A sketch with its number."""

    id: int


@dataclass(frozen=True, slots=True)
class SketchTotals:
    """Counts over all sketches of a model version in a span."""

    n: int
    truncated: int
    nonfinite: int
    token_checked: int
    token_mismatched: int


@dataclass(frozen=True, slots=True)
class NewRun:
    """One run of a job over a window, with everything its verdict rests on."""

    job: str
    model: str
    version: str
    window_start: datetime
    window_end: datetime
    status: str
    drift: bool | None
    p_value: float | None
    n: int
    seed: int
    policy_digest: str
    code_version: str
    baseline_digest: str | None
    payload: dict[str, Any]
    error: str | None
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class StoredRun(NewRun):
    """A run with its number."""

    id: int


@dataclass(frozen=True, slots=True)
class StoredResult:
    """One detector's row of a run."""

    run_id: int
    name: str
    statistic: float
    unit: str
    p_value: float
    threshold: float
    drift: bool
    effect: float | None = None


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """Who or what decided what, why, and on which evidence."""

    id: int
    model: str
    version: str
    kind: str
    actor: str
    reason: str
    evidence: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """Leadership of one name until `expires_at`; `term` grows with every change of holder and fences writes."""

    name: str
    holder: str
    term: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FinishedShard:
    """A finished part of a backfill; rejects are the first of its refused rows, each (file, row, reason)."""

    shard: str
    kernel_digest: str
    counts: Mapping[str, int]
    rejects: Sequence[tuple[str, int, str]]
