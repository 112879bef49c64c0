"""The answer of a quality question, as JSON and tables show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectors.estimates import Estimate, NotEstimated
from detectors.weighted import Measure
from monitor.quality.examples import Asked, Cohort, Looks, Task


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a cohort: measures, what could not be measured, and what makes either doubtful."""

    task: str
    alpha: float
    looks: Looks
    predictions: int
    labelled: int
    maturity: float | None  # share of the cohort that is labelled, weighted; None of none
    metrics: Sequence[Estimate]
    not_estimated: Sequence[NotEstimated]
    warnings: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Return the shape that `--json` prints and a run's payload keeps."""
        return {
            "task": self.task,
            "alpha": self.alpha,
            "looks": self.looks,
            "predictions": self.predictions,
            "labelled": self.labelled,
            "maturity": self.maturity,
            "metrics": [estimate_as_json(one) for one in self.metrics],
            "not_estimated": [
                {"name": one.name, "reason": one.reason, "got": one.got, "needed": one.needed}
                for one in self.not_estimated
            ],
            "warnings": list(self.warnings),
        }


def estimate_as_json(one: Estimate) -> dict[str, Any]:
    """Return an estimate by its fields; the confidence stands once, beside them all."""
    return {
        "name": one.name,
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "n": one.n,
        "method": one.method,
    }


def estimate_from_json(given: Mapping[str, Any], *, alpha: float) -> Estimate:
    """Return what `estimate_as_json` wrote."""
    return Estimate(**given, alpha=alpha)


def measure(cohort: Cohort, task: Task, asked: Asked, *, warnings: Sequence[str] = ()) -> Answer:
    """Measure a cohort by its task; without a label nothing is measured and the reason stands in its place."""
    found: list[Measure] = (
        task.measure(cohort, asked) if cohort.labelled else [NotEstimated("quality", "no prediction has a label", 0, 1)]
    )
    weighed = [sum(1 / one.inclusion_probability for one in part) for part in (cohort.labelled, cohort.unlabelled)]
    return Answer(
        task=task.name,
        alpha=asked.alpha,
        looks=asked.looks,
        predictions=cohort.size,
        labelled=len(cohort.labelled),
        maturity=weighed[0] / sum(weighed) if cohort.size else None,
        metrics=[one for one in found if isinstance(one, Estimate)],
        not_estimated=[one for one in found if isinstance(one, NotEstimated)],
        warnings=[*warnings, *task.warn(cohort, asked)],
    )
