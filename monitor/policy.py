"""What a team reviews: models, cadences, thresholds and retention, from one TOML file into frozen models."""

import hashlib
import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from alerts.alertmanager import Notifications
from alerts.slo import Slo, require_possible
from alerts.windows import read_windows
from monitor.errors import InputError

TaskName = Literal["classification", "pair", "multilabel", "tagging", "extractive", "ranking", "cascade"]
MetricName = Literal["selection_rate", "tpr", "fpr", "fnr", "precision", "accuracy"]
OpinionName = Literal["mmd", "classifier", "knn_kl"]


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs a zone, for example 2015-01-01T00:00:00Z")
    return value.astimezone(UTC)


class Section(BaseModel):
    """A table of the policy: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CapturePolicy(Section):
    """What capture takes in."""

    max_queued_requests: int = Field(64, ge=1, description="requests in flight before the service answers 429")
    body_timeout_seconds: float = Field(20.0, gt=0, description="how long a request's body may take to arrive")
    future_tolerance_seconds: float = Field(300.0, ge=0, description="how far ahead of our clock an event may be")
    earliest: Annotated[datetime, AfterValidator(_aware)] = Field(
        datetime(2015, 1, 1, tzinfo=UTC), description="events older than this are rejected as a broken clock"
    )


class RetentionPolicy(Section):
    """How long rows are kept."""

    retain_text_days: int = Field(30, ge=1, description="days that texts and predictions are kept")
    retain_results_days: int = Field(400, ge=1, description="days that sketches, runs and results are kept")


class DriftPolicy(Section):
    """How windows are judged."""

    alpha: float = Field(
        0.01, ge=0.0005, lt=0.5, description="probability of a false alarm: in one window, or ever with anytime"
    )
    calibration: Literal["window", "run_length", "anytime"] = Field(
        "window",
        description="what an alarm promises: alpha in each window, one false alarm in windows_between_alarms, or alpha "
        "for ever alarming without drift",
    )
    windows_between_alarms: float = Field(
        100,
        ge=10,
        lt=1_000_000,
        description="expected windows between false alarms, of calibration = run_length; "
        "read off the reference's own windows where it has timestamps, else as if windows were independent",
    )
    baseline_confidence: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="share of baselines whose windows keep alpha, however many they judge; 0: on the average only",
    )
    practical_difference: float = Field(
        0.0, ge=0, le=1, description="share of texts that must have changed before drift is worth waking someone"
    )
    harm_tolerance: float = Field(
        0.02, ge=0, lt=1, description="rise of the error ratio that is tolerated; drift that stays within it is benign"
    )
    window_hours: int = Field(24, ge=1, le=24 * 31, description="length of a window")
    grace_minutes: int = Field(
        5, ge=0, le=55, description="how long after its end a window is judged: events on their way still count"
    )
    permutations: int = Field(
        999, ge=199, le=99_999, description="permutations of the null, at least; a small alpha draws more"
    )
    minimum_texts: int = Field(50, ge=20, description="fewer sampled texts in a window are too little data")
    second_opinions: tuple[OpinionName, ...] = Field(
        ("mmd", "classifier", "knn_kl"),
        description="tests asked about a window that drifted, shown beside the verdict and never part of it: mmd, "
        "classifier, knn_kl; about half a second each",
    )
    token_mismatch_tolerance: float = Field(
        0.001, ge=0, lt=1, description="share of token-count mismatches that is not a wrong tokenizer"
    )


class ReportPolicy(Section):
    """How often reports are written."""

    every_hours: int = Field(24, ge=1, description="cadence of the scheduled report")
    directory: str = Field("reports-out", description="folder for scheduled reports")


class QualityPolicy(Section):
    """How answers are measured by labels that come late."""

    task: TaskName = Field(
        "classification",
        description="what an answer is: classification, pair, multilabel, tagging, extractive, ranking, cascade",
    )
    alpha: float = Field(
        0.05, ge=0.0005, lt=0.5, description="1 minus the confidence of intervals, which hold at every look together"
    )
    classes: tuple[str, ...] = Field((), description="the class set; labels outside it are counted and told")
    window_hours: int = Field(24, ge=1, le=24 * 31, description="length of a window of event time")
    restate_days: int = Field(
        30, ge=1, le=400, description="how long after its end late labels restate a window; texts must be kept as long"
    )
    lag_horizon_hours: int = Field(
        168, ge=1, description="age by which a label that comes at all has come; undoes a lag that depends on errors"
    )
    tolerance: float = Field(
        0.02, ge=0, lt=1, description="rise of the error ratio over the baseline's that is no degradation"
    )
    least_inclusion_probability: float | None = Field(
        None, gt=0, le=1, description="the least chance of any row to be sampled and labelled; sampling_rate by default"
    )


class BiasPolicy(Section):
    """Which groups are audited, and what counts as unlike."""

    groups: tuple[str, ...] = Field((), description="attributes of events that name groups; without any, no audit")
    positive: str | None = Field(None, description="the label that counts as selected; 1 or true by itself")
    reference_groups: dict[str, str] = Field(
        default_factory=dict, description="attribute → the group others are compared with; the largest by default"
    )
    metrics: tuple[MetricName, ...] = Field(
        ("selection_rate", "tpr", "fpr", "fnr", "precision", "accuracy"), min_length=1, description="rates to compare"
    )
    intersections: bool = Field(False, description="audit the crossing of all groups too")
    alpha: float = Field(
        0.05, ge=0.0005, lt=0.5, description="chance that any audit of a version ever shows a false disparity"
    )
    margin: float = Field(0.1, gt=0, lt=1, description="difference of rates that is worth showing")
    window_hours: int = Field(24 * 7, ge=1, le=24 * 31, description="length of an audited window")
    wait_hours: int = Field(
        24, ge=0, le=24 * 90, description="how long after its end a window is audited: labels come late"
    )


class LabelPolicy(Section):
    """How labels are read and counted."""

    counts: Literal["newest", "majority"] = Field(
        "newest",
        description="which of an event's labels counts: the newest, or what most annotators' newest labels say; "
        "of labels that as many give, the one given last",
    )
    expire_unknown_days: int = Field(
        30, ge=1, description="days that a label waits for its prediction; never longer than retain_text_days"
    )
    classes: tuple[str, ...] | None = Field(
        None, min_length=1, description="the only labels taken; others are dead letters. Any label by default"
    )


class ModelPolicy(Section):
    """One watched model."""

    version: str | None = Field(None, description="registered version to watch; or set alias")
    alias: str | None = Field(None, description="registry alias to follow; or set version")
    sampling_rate: float = Field(1.0, gt=0, le=1, description="share of events kept")
    class_floor_per_hour: int = Field(0, ge=0, description="events of every predicted class kept each hour in any case")
    pooling: Literal["mean", "cls"] = Field("mean", description="how token vectors become one text vector")
    max_length: int | None = Field(None, ge=8, description="tokens a text is truncated at; the model's own by default")
    arithmetic: Literal["native", "int8"] = Field(
        "native", description="native: fp32 on a CPU, bf16 on a GPU; int8: several times faster on a CPU, other vectors"
    )
    int8_minimum_cosine: float = Field(
        0.98, ge=0, le=1, description="median centred cosine with fp32 below which int8 gives no baseline"
    )
    embedding_cache_mebibytes: int = Field(
        0, ge=0, description="memory for the vectors of texts seen before; 0: none are kept"
    )
    drift: DriftPolicy = DriftPolicy()
    report: ReportPolicy = ReportPolicy()
    quality: QualityPolicy = QualityPolicy()
    bias: BiasPolicy = BiasPolicy()
    labels: LabelPolicy = LabelPolicy()

    @model_validator(mode="after")
    def _one_name(self) -> "ModelPolicy":
        if (self.version is None) == (self.alias is None):
            raise ValueError("set exactly one of version and alias")
        return self

    def reference(self, name: str) -> str:
        """Return the registry reference, NAME/VERSION or NAME@ALIAS."""
        return f"{name}/{self.version}" if self.version is not None else f"{name}@{self.alias}"


DEFAULTS = ModelPolicy(version="0")  # for a model that no policy names


class Policy(Section):
    """The whole file."""

    capture: CapturePolicy = CapturePolicy()
    retention: RetentionPolicy = RetentionPolicy()
    models: dict[str, ModelPolicy] = Field(default_factory=dict, description="the watched models by registered name")
    notifications: Notifications = Notifications()
    slos: tuple[Slo, ...] = Field((), description="service level objectives; docs/slo.md")
    slo_escalation: float | None = Field(
        4.0, gt=1, description="page at once when the shortest window burns this many times beyond the fastest factor"
    )

    @model_validator(mode="after")
    def _possible_slos(self) -> "Policy":
        if self.slos:
            require_possible(self.slos, read_windows())
        return self

    @property
    def digest(self) -> str:
        """Digest of the policy's meaning: comments and order of keys do not count."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

    def model(self, name: str) -> ModelPolicy:
        """Return a model's policy. Raises InputError when the file does not name it."""
        try:
            return self.models[name]
        except KeyError:
            named = ", ".join(sorted(self.models)) or "none"
            raise InputError(f"the policy has no [models.{name!r}]; it names {named}") from None


def load_policy(path: Path) -> Policy:
    """Read and check a policy file. Raises InputError naming file, key and value."""
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such policy file; `driftwarden policy example` prints one") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "models"
        if first["type"] == "extra_forbidden":
            raise InputError(f"{path}: unknown key {key}") from None
        raise InputError(
            f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}, got {first['input']!r}"
        ) from None


EXAMPLE = """\
# driftwarden policy: reviewed like code; its digest stands on every result.
# A threshold changes here, with a reason beside it.

[capture]
max_queued_requests = 64          # beyond this the service answers 429 with Retry-After
body_timeout_seconds = 20         # a client that sends slower is answered 408
future_tolerance_seconds = 300    # serving clocks may run this far ahead

[retention]
retain_text_days = 30             # texts are personal data: keep them no longer than review needs
retain_results_days = 400         # a year of verdicts, and a month to compare with

[models."support-intents"]
alias = "champion"                # or: version = "3"
sampling_rate = 0.2               # share of events kept, by a hash of the event id
class_floor_per_hour = 20         # rare classes stay visible
pooling = "mean"

[models."support-intents".drift]
alpha = 0.01                      # one false alarm in a hundred windows
calibration = "window"            # or "run_length" (finds slow drift sooner), or "anytime": docs/math/calibration.md
practical_difference = 0.02       # less than 2 in 100 texts changed: reported, wakes nobody
harm_tolerance = 0.02             # drift that costs at most 2 errors more in 100 answers is benign: wakes nobody
window_hours = 24
grace_minutes = 5                 # events on their way when a window ends still count
minimum_texts = 50                # fewer are "too little data", never a verdict
token_mismatch_tolerance = 0.001
second_opinions = ["mmd", "classifier", "knn_kl"]   # of a drifted window, half a second each; they decide nothing

[models."support-intents".quality]
task = "classification"           # or: pair, multilabel, tagging, extractive, ranking, cascade
alpha = 0.05                      # intervals hold at every look together with this chance of a miss
window_hours = 24
restate_days = 30                 # labels that come later than this change no history
tolerance = 0.02                  # 2 errors more in 100 answers than in the baseline are no degradation

[models."support-intents".bias]
groups = ["region", "language"]   # attributes of events; rows without one are the group "unknown"
positive = "escalate"             # the answer whose rate is compared
margin = 0.1                      # a gap of 10 points is worth showing
window_hours = 168
wait_hours = 24                   # labels of the window's last day still count

[models."support-intents".report]
every_hours = 24
directory = "reports-out"

[models."support-intents".labels]
counts = "newest"                 # or "majority", of each annotator's newest label
expire_unknown_days = 30          # labels wait so long for their prediction
# classes = ["billing", "login"]  # other labels become dead letters
"""
