"""What an event is: the shape of predictions and labels, checked one by one, with field and reason for each refusal."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from monitor.policy import DEFAULTS, Policy
from monitor.store.types import NewLabel, NewPrediction

MAX_TEXT_CHARACTERS = 1_000_000
MAX_LABEL_CHARACTERS = 10_000
SCORES_SUM_TOLERANCE = 0.01
MAX_SCORES = 10_000
DAY_SECONDS = 86_400


def clean_text(text: str) -> str:
    """Return text that every database can keep: NUL and lone surrogates become U+FFFD."""
    if text.isascii():
        return text.replace("\x00", "\ufffd") if "\x00" in text else text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")


def _clean(value: Any) -> Any:
    return clean_text(value) if isinstance(value, str) else value


def _as_name(value: Any) -> Any:
    # a version often arrives as a number; a boolean is a mistake
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _clean(value)


def _plain_attributes(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {_clean(name): _attribute(one) for name, one in value.items() if one is not None}


def _attribute(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else _clean(value)


def _clean_names(value: Any) -> Any:
    return {_clean(name): one for name, one in value.items()} if isinstance(value, Mapping) else value


def _as_label(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(_plain_json(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return _as_name(value)


def _plain_json(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return _clean(value)
    try:
        json.dumps(value, allow_nan=False)
        return _clean_json(value)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("must be a label or JSON without NaN") from None


def _clean_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {clean_text(str(name)): _clean_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_json(one) for one in value]
    return _clean(value)


# every bound stands once, in the plain type; the full one adds the cleaning
PlainName = Annotated[str, Field(min_length=1, max_length=200)]
PlainText = Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)]
Segment = Annotated[str, Field(max_length=1000)]
Name = Annotated[PlainName, BeforeValidator(_as_name)]
Text = Annotated[PlainText, BeforeValidator(_clean)]
Latency = Annotated[float, Field(ge=0, allow_inf_nan=False)]
TokenCount = Annotated[int, Field(ge=0, lt=2**31)]
AtMostScores, AtMostAttributes = Field(max_length=MAX_SCORES), Field(max_length=50)
Attributes = Annotated[dict[Name, Segment], BeforeValidator(_plain_attributes), AtMostAttributes]
_ATTRIBUTES: TypeAdapter[dict[str, str]] = TypeAdapter(Attributes)
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

_SCORES: TypeAdapter[dict[str, float]] = TypeAdapter(
    Annotated[dict[str, Score], BeforeValidator(_clean_names), AtMostScores]
)


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class PredictionEvent(_Event):
    """One prediction of a served model."""

    id: Name = Field(description="idempotency key: an id counts once per model")
    model: Name = Field(description="registered model name")
    version: Name = Field(description="registered version that answered")
    timestamp: AwareDatetime = Field(description="when it was answered, with a zone")
    text: Text
    text_pair: Text | None = None
    prediction: Annotated[Any, BeforeValidator(_plain_json)] = Field(
        None, description="the label, or JSON (an object's `label` counts as its class)"
    )
    scores: Annotated[dict[str, Score], BeforeValidator(_clean_names), AtMostScores] | None = Field(
        None, description="label → probability, summing to 1"
    )
    latency_seconds: Latency | None = None
    attributes: Attributes | None = Field(None, description="segments: attribute → value")
    stage: Name | None = None
    endpoint: Name | None = None
    subject: Name | None = None
    token_count: TokenCount | None = Field(
        None, description="tokens the server made of the text, special tokens included"
    )
    tokenizer_digest: Name | None = None


class LabelEvent(_Event):
    """The truth about a prediction, often weeks late."""

    id: Name = Field(description="id of the prediction")
    model: Name
    label: Annotated[str, Field(min_length=1, max_length=MAX_LABEL_CHARACTERS), BeforeValidator(_as_label)] = Field(
        description="the class, or JSON where the task asks for it: a list of classes, spans, an answer"
    )
    timestamp: AwareDatetime | None = Field(
        None,
        description="when it was labelled: a label of another time is another version. Without it the time is now, and "
        "the same label of the same source counts once",
    )
    source: Name = Field("default", description="who labelled: each source speaks with its newest label")


class _PlainPrediction(_Event):
    """The usual event: every field already in its final type. It is checked without a Python call per field."""

    id: PlainName
    model: PlainName
    version: PlainName
    timestamp: AwareDatetime
    text: PlainText
    text_pair: PlainText | None = None
    prediction: str | None = None
    scores: Annotated[dict[str, Score], AtMostScores] | None = None
    latency_seconds: Latency | None = None
    attributes: Annotated[dict[PlainName, Segment], AtMostAttributes] | None = None
    stage: PlainName | None = None
    endpoint: PlainName | None = None
    subject: PlainName | None = None
    token_count: TokenCount | None = None
    tokenizer_digest: PlainName | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event was refused."""

    field: str
    reason: str


def read_prediction(event: Any, *, policy: Policy, now: datetime) -> NewPrediction | Refusal:
    """Check one prediction event.

    The usual event is read by the plain model; what that refuses, or holds NUL, is read again by the full one, which
    cleans, converts and names the field.
    """
    try:
        plain = _PLAIN.validate_python(event)
    except ValidationError:
        plain = None
    if plain is not None:
        row = _as_row(plain, policy=policy, now=now)
        if row is not None:
            return row
    try:
        found = PredictionEvent.model_validate(event)
    except ValidationError as error:
        return _refusal(error, event)
    read = _as_row(found, policy=policy, now=now, cleaned=True)
    assert read is not None  # noqa: S101 only an event that was not cleaned is put off
    return read


_PLAIN = _PlainPrediction.__pydantic_validator__


def _as_row(
    found: PredictionEvent | _PlainPrediction, *, policy: Policy, now: datetime, cleaned: bool = False
) -> NewPrediction | Refusal | None:
    """Return the row or the refusal; None for an event that must be cleaned first."""
    # both models declare the same fields in this order; reading each by name costs as much as checking it
    (
        event_id,
        model,
        version,
        timestamp,
        text,
        text_pair,
        prediction,
        scores,
        latency_seconds,
        attributes,
        *others,  # stage, endpoint, subject, token_count, tokenizer_digest
    ) = vars(found).values()
    named = prediction is None or isinstance(prediction, str)
    content = to_json(
        (
            event_id,
            model,
            version,
            timestamp.timestamp(),
            text,
            text_pair,
            prediction if named else json.dumps(prediction, sort_keys=True),
            sorted(scores.items()) if scores else None,
            latency_seconds,
            sorted(attributes.items()) if attributes else None,
            *others,
        )
    )
    if not cleaned and b"\\u0000" in content:
        return None
    refused = _refuse_context(model, timestamp, policy=policy, now=now) or _refuse_scores(scores)
    if refused is not None:
        return refused
    label = _label(prediction)
    return NewPrediction(
        _digest(content),
        event_id,
        model,
        version,
        timestamp,
        now,
        text,
        text_pair,
        label,
        None if named else prediction,
        confidence_of(label, scores),
        scores,
        latency_seconds,
        attributes,
        *others,
    )


def read_label(event: Any, *, policy: Policy, now: datetime) -> NewLabel | Refusal:
    """Check one label event."""
    try:
        found = LabelEvent.model_validate(event)
    except ValidationError as error:
        return _refusal(error, event)
    at = found.timestamp or now
    classes = policy.models.get(found.model, DEFAULTS).labels.classes
    refused = _refuse_context(found.model, at, policy=policy, now=now) or _refuse_class(event["label"], classes)
    if refused is not None:
        return refused
    return NewLabel(
        event_id=found.id,
        model=found.model,
        label=found.label,
        timestamp=at,
        source=found.source,
        received_at=now,
        content_digest=_digest(found.label.encode()),
        dated=found.timestamp is not None,
    )


def withdrawal(*, model: str, event_id: str, source: str, at: datetime, reference: str, now: datetime) -> NewLabel:
    """Return the version by which a source takes its label back."""
    return NewLabel(event_id, model, None, at, source, now, _digest(b""), reference=reference)


def read_attributes(value: Any) -> dict[str, str] | Refusal:
    """Check attributes as those of an event are checked."""
    try:
        return _ATTRIBUTES.validate_python(value)
    except ValidationError as error:
        return _refusal(error, {})


def read_scores(value: Any) -> dict[str, float] | Refusal:
    """Check scores as those of an event are checked."""
    try:
        found = _SCORES.validate_python(value)
    except ValidationError as error:
        return _refusal(error, {})
    return _refuse_scores(found) or found


def confidence_of(label: str | None, scores: Mapping[str, float] | None) -> float | None:
    """Return the probability of the predicted label, the highest where it has none; None without scores."""
    if not scores:
        return None
    return scores[label] if label is not None and label in scores else max(scores.values())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _label(prediction: Any) -> str | None:
    label = prediction.get("label") if isinstance(prediction, dict) else prediction
    if isinstance(label, int) and not isinstance(label, bool):
        return str(label)  # a class number, as reference files may hold it
    return label[:200] if isinstance(label, str) and label else None


def _refuse_context(model: str, timestamp: datetime, *, policy: Policy, now: datetime) -> Refusal | None:
    if policy.models and model not in policy.models:
        return Refusal("model", f"the policy names no model {model!r:.100}")
    if timestamp < policy.capture.earliest:
        return Refusal(
            "timestamp", f"{timestamp.isoformat()} is before {policy.capture.earliest.isoformat()}, a broken clock"
        )
    ahead = (timestamp - now).total_seconds()
    if ahead > policy.capture.future_tolerance_seconds:
        return Refusal("timestamp", f"{timestamp.isoformat()} is {ahead:.0f} s in the future")
    days = policy.retention.retain_text_days
    if -ahead > days * DAY_SECONDS:  # retention would drop it, id and all, and it would count again when sent again
        return Refusal(
            "timestamp", f"{timestamp.isoformat()} is {-ahead / DAY_SECONDS:.1f} days old, retain_text_days is {days}"
        )
    return None


def _refuse_class(label: Any, classes: Sequence[str] | None) -> Refusal | None:
    if classes is None or isinstance(label, dict):
        return None
    for one in label if isinstance(label, list) else [label]:
        if str(_as_name(one)) not in classes:
            shown = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
            return Refusal(
                "label", clean_text(f"{one!r:.100} is none of the policy's {len(classes)} classes ({shown})")
            )
    return None


def _refuse_scores(scores: Mapping[str, float] | None) -> Refusal | None:
    if not scores:
        return None
    total = math.fsum(scores.values())
    if abs(total - 1) > SCORES_SUM_TOLERANCE:
        return Refusal("scores", f"probabilities must sum to 1, got {total:.4f}")
    return None


def _refusal(error: ValidationError, event: Any) -> Refusal:
    if not isinstance(event, Mapping):
        return Refusal("", f"an event is a JSON object, got {type(event).__name__}")
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])[:200]
    if first["type"] == "extra_forbidden":
        return Refusal(clean_text(field), f"unknown field; an event has {', '.join(PredictionEvent.model_fields)}")
    if first["type"] == "missing":
        return Refusal(field, "is missing")
    value = first["input"]
    if isinstance(value, str) and len(value) > MAX_TEXT_CHARACTERS:
        return Refusal(field, f"has {len(value)} characters, at most {MAX_TEXT_CHARACTERS} are taken")
    reason = str(first["msg"]).removeprefix("Value error, ")
    return Refusal(clean_text(field), clean_text(f"{reason}, got {value!r:.100}"))
