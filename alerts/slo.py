"""Service level objectives: which events count, how many may be bad, and what makes one impossible."""

import re
from collections.abc import Sequence
from statistics import NormalDist
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from alerts.errors import SloRefused
from alerts.windows import BurnWindows, duration_of, require_pairs, seconds_of

SELECTOR = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{(?:[^{}"]|"(?:\\.|[^"\\])*")*\})?')
PLACEHOLDERS = ("$window", "{{.window}}", "{{ .window }}")  # the latter two are Sloth's


def _countable(query: str) -> str:
    if not any(held in query for held in PLACEHOLDERS) and not SELECTOR.fullmatch(query):
        raise ValueError(f"an event query is a counter's selector, or PromQL that holds $window, got {query!r}")
    return query


Query = Annotated[str, AfterValidator(_countable)]
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def _label_names(labels: dict[str, str]) -> dict[str, str]:
    taken = {"alertname", "severity"}
    for name in labels:
        if not LABEL.fullmatch(name) or name.startswith(("__", "sloth_")) or name in taken:
            raise ValueError(f"a label's name is letters, digits and _, and none of ours, got {name!r}")
    return labels


Labels = Annotated[dict[str, str], AfterValidator(_label_names)]
SloName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]


class Slo(BaseModel):
    """An objective over events: at most 1 - objective of them may be bad within the period."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: SloName = Field(description="what is promised for, for example a model's endpoint")
    name: SloName = Field(description="what is promised, for example requests-availability")
    objective: float = Field(gt=0, lt=1, description="share of events that are good, 0.999 for 99.9 %")
    period_days: float = Field(30, gt=0, le=366, description="over which the budget counts")
    total: Query = Field(description="all events: a counter's selector, or PromQL with $window for its increase")
    bad: Query | None = Field(None, description="bad events; or set good")
    good: Query | None = Field(None, description="good events; or set bad")
    description: str = ""
    labels: Labels = Field(default_factory=dict, description="put on every rule")
    runbook: str = Field("SloBurn", pattern=r"^[A-Za-z][A-Za-z0-9]*$", description="page under the runbooks")
    page: bool = Field(True, description="whether fast burn pages; slow burn is a ticket in any case")
    confidence: float = Field(
        0.99,
        ge=0.5,
        lt=1,
        description="of the evidence that the long window burns: a lower bound must cross the factor",
    )

    @model_validator(mode="after")
    def _one_indicator(self) -> "Slo":
        if (self.bad is None) == (self.good is None):
            raise ValueError("set exactly one of bad and good")
        return self

    @property
    def id(self) -> str:
        """Service and name, as Sloth joins them."""
        return f"{self.service}-{self.name}"

    @property
    def period(self) -> str:
        """The period as a Prometheus duration."""
        return duration_of(max(round(self.period_days * 86_400), 1))

    @property
    def error_budget(self) -> float:
        """Share of events that may be bad, rounded as a person writes it."""
        return round(1 - self.objective, 12)

    @property
    def evidence_z(self) -> float:
        """The normal quantile of `confidence`."""
        return round(NormalDist().inv_cdf(self.confidence), 6)


def problems(slo: Slo, pairs: Sequence[BurnWindows]) -> list[str]:
    """Return why the objective's alerts could never do their work, a line each; none where all is well.

    >>> from alerts.windows import read_windows
    >>> found = problems(Slo(service="a", name="b", objective=0.9, total="t_total", bad="b_total"), read_windows())
    >>> found[0].split(";")[0]
    'a-b: 5m/1h can never fire: 14.4 times the budget of 0.1 is an error ratio of 1.44'
    """
    found = []
    for pair in pairs:
        factor = pair.factor(slo.period_days)
        ratio = factor * slo.error_budget
        if ratio >= 1:
            found.append(
                f"{slo.id}: {pair.short}/{pair.long} can never fire: {factor:g} times the budget of "
                f"{slo.error_budget:g} is an error ratio of {ratio:g}; raise the objective or lower the factor"
            )
        if factor < 1 - 1e-9:
            found.append(
                f"{slo.id}: {pair.short}/{pair.long} fires at {factor:g} times the budget: also for a service that "
                "keeps its objective; raise budget_share or shorten the window"
            )
        if seconds_of(pair.long) > slo.period_days * seconds_of("1d"):
            found.append(f"{slo.id}: window {pair.long} is longer than the period of {slo.period_days:g} days")
    return found


def require_possible(slos: Sequence[Slo], pairs: Sequence[BurnWindows]) -> None:
    """Refuse objectives whose alerts could never work, and two of one name. Raises SloRefused, a line a problem."""
    require_pairs(pairs)
    found = [problem for slo in slos for problem in problems(slo, pairs)]
    ids = [slo.id for slo in slos]
    found += [f"{one}: named twice" for one in sorted({one for one in ids if ids.count(one) > 1})]
    if found:
        raise SloRefused("; ".join(found))
