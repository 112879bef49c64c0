"""What a report shows: finished results, handed over by the caller. Nothing here is computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from reports.errors import ReportInputError

STATUSES = ("ok", "too_little_data", "failed")

Points = npt.NDArray[np.float64]


def _require_utc(owner: str, **times: datetime) -> None:
    for name, time in times.items():
        if time.utcoffset() != timedelta(0):
            raise ReportInputError(f"{owner}.{name} must be an aware UTC time, got {time.isoformat()}")


@dataclass(frozen=True, slots=True)
class DetectorRow:
    """One detector's result in one window; `drift` is against its own `threshold`, `effect` how much changed."""

    name: str
    statistic: float
    unit: str
    p_value: float
    threshold: float
    drift: bool
    effect: float | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """Another test's answer about a window, which decided nothing; `effect` as `reports.explained` words it by name."""

    name: str
    p_value: float
    drift: bool
    effect: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a drift costs: a grade by labels or scores, the rise of the error ratio with its interval, and why.

    grade is "harmful", "benign" or "unknown"; n counts the labels or scores, and 0 or lower = -1 is no estimate.
    """

    grade: str
    evidence: str
    error_rise: float
    lower: float
    upper: float
    tolerance: float
    n: int
    reason: str


@dataclass(frozen=True, slots=True)
class WindowVerdict:
    """The verdict on one window [start, end).

    status is "ok", "too_little_data" or "failed"; drift and p_value are None where the window was not judged.
    alpha is the level of the test, n the number of texts compared, importance and usual what the judge says of
    the drift's size and whether such windows are usual, in its own words. raw_cosine is that of the two mean
    embeddings, shown and without a part in the verdict. Raises ReportInputError on other statuses.
    """

    start: datetime
    end: datetime
    status: str
    drift: bool | None
    p_value: float | None
    alpha: float
    n: int
    detectors: tuple[DetectorRow, ...] = ()
    detail: str = ""
    importance: str = ""
    harm: Cost | None = None
    usual: str = ""
    raw_cosine: float | None = None
    opinions: tuple[Opinion, ...] = ()

    def __post_init__(self) -> None:
        _require_utc("WindowVerdict", start=self.start, end=self.end)
        if self.status not in STATUSES:
            raise ReportInputError(f"status must be one of {', '.join(STATUSES)}, got {self.status!r}")
        if not self.start < self.end:
            raise ReportInputError(f"a window must end after it starts, got {self.start} to {self.end}")
        if not 0 < self.alpha < 1:
            raise ReportInputError(f"alpha must lie in (0, 1), got {self.alpha}")


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Two coordinates of reference texts, shape (n, 2), and of current texts, shape (m, 2)."""

    reference_xy: Points
    current_xy: Points
    axis_labels: tuple[str, str]


@dataclass(frozen=True, slots=True)
class MovedCell:
    """One cell of the embedding space whose share of the texts changed; contribution in nats of KL."""

    cell: int
    reference_share: float
    current_share: float
    contribution_nats: float
    keywords: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DriftedSegment:
    """Texts that share attributes, such as {"language": "de"}: numbers of texts, effect (in standard deviations), p.

    adjusted_p_value controls the rate of false discoveries over all segments searched.
    """

    segment: Mapping[str, str]
    reference_n: int
    current_n: int
    effect: float
    p_value: float
    adjusted_p_value: float


@dataclass(frozen=True, slots=True)
class MixRow:
    """One predicted label: its share in the reference (None: not known) and now, and how often it was predicted now."""

    label: str
    reference_share: float | None
    current_share: float
    count: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Events by outcome at the door, and texts by what happened to them on the way into a sketch."""

    accepted: int
    duplicate: int
    sampled_out: int
    rejected: int
    sketched: int
    truncated: int
    nonfinite: int
    token_checked: int
    token_mismatched: int


@dataclass(frozen=True, slots=True)
class MeasuredWindow:
    """The task's main measure of the labels of one window [start, end), with its interval.

    n labels are maturity in [0, 1] of the window's texts; restated counts how often late labels changed it.
    """

    start: datetime
    end: datetime
    metric: str
    value: float
    low: float
    high: float
    n: int
    maturity: float
    restated: int = 0

    def __post_init__(self) -> None:
        _require_utc("MeasuredWindow", start=self.start, end=self.end)


@dataclass(frozen=True, slots=True)
class AuditedGroup:
    """One rate of one group beside the reference group's; value None where no row is of this kind.

    difference is group minus reference in [-1, 1]; needed counts the rows that would tell, None where it is known.
    """

    attribute: str
    group: str
    reference: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    difference: float | None
    verdict: str
    needed: int | None


@dataclass(frozen=True, slots=True)
class AuditShown:
    """The latest bias audit of answers in [start, end)."""

    start: datetime
    end: datetime
    verdict: str
    n: int
    labelled: int
    groups: tuple[AuditedGroup, ...]

    def __post_init__(self) -> None:
        _require_utc("AuditShown", start=self.start, end=self.end)


@dataclass(frozen=True, slots=True)
class ReportInput:
    """Everything one report shows of one model version over [window_start, window_end).

    promise says how often windows without drift alarm, where that is not alpha of each window. degraded is the verdict
    on accuracy by labels, None where it was not judged.
    """

    model: str
    version: str
    window_start: datetime
    window_end: datetime
    generated_at: datetime
    verdicts: tuple[WindowVerdict, ...]
    projection: Projection | None
    cells: tuple[MovedCell, ...]
    mix: tuple[MixRow, ...]
    counts: Counts
    provenance: tuple[tuple[str, str], ...]
    evidently_href: str | None = None
    evidently_label: str = "Evidently's summary of the texts"
    overview_href: str | None = None
    segments: tuple[DriftedSegment, ...] = ()
    promise: str = ""
    quality: tuple[MeasuredWindow, ...] = ()
    degraded: bool | None = None
    audit: AuditShown | None = None

    def __post_init__(self) -> None:
        _require_utc(
            "ReportInput", window_start=self.window_start, window_end=self.window_end, generated_at=self.generated_at
        )
