"""Undo a lag of labels that depends on right and wrong: where errors are labelled later, what came first flatters."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from detectors.checks import FloatArray
from detectors.estimates import Estimate, NotEstimated
from detectors.maturity import MINIMUM_MATURED, arrival_probability, delay_distributions
from detectors.weighted import Measure, mean_estimate
from monitor import store
from monitor.quality.examples import Cohort

NAME = "lag_corrected_accuracy"
HOUR_SECONDS = 3600.0


def lag_corrected(
    cohort: Cohort,
    rows: Sequence[store.CohortRow],
    *,
    history: Cohort,
    history_rows: Sequence[store.CohortRow],
    now: datetime,
    horizon_hours: float,
    alpha: float,
    scored: bool,
) -> Measure:
    """Return the accuracy of a cohort with each label weighted by the chance that one of its kind had come by now.

    Kinds are right and wrong answers. rows are the whole cohort's, history_rows those of all labels as far back as one
    knows; cohort and history are the same as the task reads them. At a single look.
    """
    if not scored:
        return NotEstimated(NAME, "the task has no right or wrong answer", len(cohort.labelled))
    if not cohort.labelled:
        return NotEstimated(NAME, "no prediction has a label", 0, 1)
    known = {row.event_id: row for row in (*history_rows, *rows)}
    ages, delays = _times(history, known, now=now)
    found_kinds = delay_distributions(delays, ages, _kinds(history), horizon=horizon_hours)
    # a kind that nobody has seen labelled yet may be late, not absent
    unseen = NotEstimated("label_delay", "no label of this kind", 0, MINIMUM_MATURED)
    distributions = {kind: found_kinds.get(kind, unseen) for kind in ("right", "wrong")}
    youngest = min((now - row.timestamp).total_seconds() for row in rows) / HOUR_SECONDS
    arrived = arrival_probability(
        _kinds(cohort), _times(cohort, known, now=now)[0], distributions, cohort_youngest=max(0.0, youngest)
    )
    if isinstance(arrived, NotEstimated):
        return NotEstimated(NAME, arrived.reason, arrived.got, arrived.needed)
    hits = np.array([float(one.prediction == one.truth) for one in cohort.labelled])
    found = mean_estimate(NAME, hits, inclusion_probability=cohort.chances() * arrived, alpha=alpha)
    if isinstance(found, Estimate):
        return Estimate(NAME, found.value, found.low, found.high, found.n, f"{found.method}, lag undone", alpha)
    return found


def _kinds(cohort: Cohort) -> list[str]:
    return ["right" if one.prediction == one.truth else "wrong" for one in cohort.labelled]


def _times(cohort: Cohort, known: dict[str, store.CohortRow], *, now: datetime) -> tuple[FloatArray, FloatArray]:
    """Return ages and delays (n,) of labelled rows, in hours; a label that came before its prediction waited 0."""
    ages, delays = np.zeros(len(cohort.labelled)), np.zeros(len(cohort.labelled))
    for place, one in enumerate(cohort.labelled):
        row = known[one.id]
        ages[place] = max(0.0, (now - row.timestamp).total_seconds() / HOUR_SECONDS)
        waited = ((row.labelled_at or row.timestamp) - row.timestamp).total_seconds() / HOUR_SECONDS
        delays[place] = min(max(0.0, waited), ages[place])
    return ages, delays
