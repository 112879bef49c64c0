"""Quality over the store: labelled accuracy of a window, what scores promise of the rest, and whether it fell."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from detectors.agreement import annotator_agreement
from detectors.checks import FloatArray
from detectors.estimated_accuracy import estimated_accuracy
from detectors.estimates import NotEstimated
from detectors.prediction_powered import prediction_powered_accuracy
from detectors.weighted import Measure
from monitor import store
from monitor.clock import Window
from monitor.jobs.harm import KnownOutcomes
from monitor.policy import DEFAULTS
from monitor.quality.answer import Answer, estimate_as_json, measure
from monitor.quality.degrading import judge_degradation, mature_rows, state_before
from monitor.quality.examples import Asked, Cohort, Example, Looks, Task, Unreadable
from monitor.quality.lag import lag_corrected
from monitor.quality.looks import alike
from monitor.quality.tasks import task_named
from monitor.results import Results

UNCORRECTED = "not all predictions are labelled: measures speak of those that are, and correct for no lag"


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is known of a window's quality, as `driftwarden quality MODEL` prints it and its run keeps it."""

    answer: Answer
    estimated: dict[str, Any]
    prediction_powered: dict[str, Any]
    lag_corrected: dict[str, Any]
    degradation: dict[str, Any]
    agreement: dict[str, Any]
    labels: store.LabelMark

    def as_json(self) -> dict[str, Any]:
        """Return the answer with what stands beside it."""
        mark = {"predictions": self.labels.predictions, "labels": self.labels.labels, "newest": self.labels.newest}
        return {
            **self.answer.as_json(),
            "estimated_accuracy": self.estimated,
            "prediction_powered_accuracy": self.prediction_powered,
            "lag_corrected_accuracy": self.lag_corrected,
            "degradation": self.degradation,
            "annotator_agreement": self.agreement,
            "label_mark": mark,
        }


def assess(
    results: Results,
    name: str,
    version: str,
    window: Window,
    *,
    rng: np.random.Generator,
    looks: Looks = "every",
) -> Assessment:
    """Measure a window by what is labelled now; it writes nothing.

    Degradation goes on from the newest run of an earlier window; see monitor.quality.degrading.
    """
    policy = results.policy.models.get(name, DEFAULTS)
    task = task_named(policy.quality.task)
    least = policy.quality.least_inclusion_probability or policy.sampling_rate
    asked = Asked(policy.quality.alpha, looks, policy.quality.classes, least)
    history = Window(window.end - timedelta(days=policy.quality.restate_days), window.end)
    with Session(results.engine) as session:
        mark = store.label_mark(session, model=name, version=version, start=window.start, end=window.end)
        rows = store.quality_cohort(
            session, model=name, version=version, start=window.start, end=window.end, counts=policy.labels.counts
        )
        before = store.quality_cohort(
            session,
            model=name,
            version=version,
            start=history.start,
            end=history.end,
            counts=policy.labels.counts,
            labelled=True,
        )
        baseline = store.latest_baseline(session, model=name, version=version)
        drifted = _drifted(session, name, version, window)
        earlier = state_before(session, model=name, version=version, window=window, baseline=baseline)
        said = store.source_labels(session, model=name, version=version, start=window.start, end=window.end)
    cohort, warnings = read_rows(rows, task)
    past = read_rows(before, task)[0]
    mature = mature_rows(before, window=window, horizon_hours=policy.quality.lag_horizon_hours, before=earlier)
    corrected = lag_corrected(
        cohort,
        rows,
        history=past,
        history_rows=before,
        now=results.clock.now(),
        horizon_hours=policy.quality.lag_horizon_hours,
        alpha=policy.quality.alpha,
        scored=task.scored,
    )
    if isinstance(corrected, NotEstimated) and cohort.labelled and cohort.unlabelled:
        warnings = [*warnings, f"{UNCORRECTED} ({corrected.reason})"]
    known = None if baseline is None else KnownOutcomes.from_summary(baseline.summary)
    return Assessment(
        answer=measure(cohort, task, asked, warnings=warnings),
        estimated=_estimated(known, cohort, alpha=policy.quality.alpha, drifted=drifted),
        prediction_powered=_powered(cohort, task, alpha=policy.quality.alpha),
        lag_corrected=_measure_as_json(corrected),
        degradation=judge_degradation(
            known,
            read_rows(mature, task)[0],
            policy,
            window=window,
            baseline=baseline,
            before=earlier,
            scored=task.scored,
        ),
        agreement=_measure_as_json(annotator_agreement(said, rng=rng, alpha=policy.quality.alpha)),
        labels=mark,
    )


def read_rows(rows: Sequence[store.CohortRow], task: Task) -> tuple[Cohort, list[str]]:
    """Return stored rows as the task reads them; what it cannot read is counted and left out."""
    labelled: list[Example] = []
    unlabelled: list[Example] = []
    unread: list[str] = []
    for row in rows:
        example, problem = _example(row, task)
        if problem:
            unread.append(f"{row.event_id!r}: {problem}")
        if example is not None:
            (unlabelled if example.truth is None else labelled).append(example)
    told = "stored answers or labels are not what the task reads, such as of"
    return Cohort(labelled, unlabelled), [f"{len(unread)} {told} {unread[0]}"] if unread else []


def _example(row: store.CohortRow, task: Task) -> tuple[Example | None, str]:
    problem, truth = "", None
    try:
        prediction = task.read_prediction(row.label if task.scored and row.label is not None else row.prediction)
    except Unreadable as error:
        return None, f"prediction {error}"
    if row.truth is not None:
        try:
            truth = task.read_truth(row.truth)
        except Unreadable as error:
            problem = f"label {error}"
    chance = row.inclusion_probability
    return Example(row.event_id, prediction, truth, row.confidence, row.scores, chance, row.stage), problem


def _hits(cohort: Cohort) -> FloatArray:
    return np.array([float(one.prediction == one.truth) for one in cohort.labelled])


def _confidences(rows: Sequence[Example]) -> FloatArray:
    return np.array([one.confidence for one in rows if one.confidence is not None], dtype=np.float64)


def _measure_as_json(one: Measure) -> dict[str, Any]:
    if isinstance(one, NotEstimated):
        return {"value": None, "reason": one.reason, "got": one.got, "needed": one.needed}
    return estimate_as_json(one)


def _drifted(session: Session, name: str, version: str, window: Window) -> bool | None:
    """Return whether any judged window of texts within this one drifted, None where none was judged."""
    runs = store.runs(session, job="drift", model=name, version=version, start=window.start, end=window.end)
    judged = [run.drift for run in runs if run.drift is not None]
    return any(judged) if judged else None


def _estimated(
    known: KnownOutcomes | None, cohort: Cohort, *, alpha: float, drifted: bool | None = None
) -> dict[str, Any]:
    """Return the accuracy that the scores promise, with whether to believe it."""
    if known is None or not known.scores.size:
        return {"value": None, "reason": "the version has no baseline with labels and scores", "reliable": False}
    confidences = _confidences([*cohort.labelled, *cohort.unlabelled])
    found = estimated_accuracy(known.scores[:, 0], known.scores[:, 1], confidences, alpha=alpha, inputs_drifted=drifted)
    return {"reason": found.reason, **_measure_as_json(found.estimate), "reliable": found.reliable}


def _powered(cohort: Cohort, task: Task, *, alpha: float) -> dict[str, Any]:
    """Return the accuracy from few labels helped by the scores of all, at a single look."""
    scored = [one for one in cohort.labelled if one.confidence is not None]
    if not task.scored or not scored:
        return {"value": None, "reason": "no labelled prediction has a confidence", "got": 0, "needed": 20}
    if not alike(np.array([one.inclusion_probability for one in (*cohort.labelled, *cohort.unlabelled)])):
        return {"value": None, "reason": "rows were sampled with unequal chances", "got": len(scored), "needed": None}
    hits = np.array([float(one.prediction == one.truth) for one in scored])
    return _measure_as_json(
        prediction_powered_accuracy(hits, _confidences(scored), _confidences(cohort.unlabelled), alpha=alpha)
    )
