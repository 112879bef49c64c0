"""Ranked lists: reciprocal rank and NDCG (the only `import ir_measures`)."""

import math
from typing import Any

import ir_measures
import numpy as np
from ir_measures import RR, nDCG

from detectors.weighted import Measure
from monitor.quality.examples import Asked, Cohort, Task, Unreadable, from_json, no_warnings
from monitor.quality.looks import mean_measure

CUTOFF = 10


def read_ranking(value: Any) -> tuple[str, ...]:
    """Return what was ranked, the best first: a list, or {"document": score}; equal scores go by name."""
    given = from_json(value)
    if isinstance(given, dict):
        if not all(_number(score) for score in given.values()):
            raise Unreadable(f"must give every document a finite score, got {value!r:.80}")
        return tuple(sorted(map(str, given), key=lambda one: (-float(given[one]), one)))
    if not isinstance(given, list | tuple) or not all(isinstance(one, str | int) for one in given):
        raise Unreadable(f"must be a list of documents, or an object of scores, got {value!r:.80}")
    listed = tuple(map(str, given))
    if len(set(listed)) < len(listed):
        raise Unreadable(f"must rank every document once, got {value!r:.80}")
    return listed


def read_gains(value: Any) -> dict[str, int]:
    """Return the gain of every relevant document: {"document": whole number >= 0}, a list of them, or one alone."""
    given = from_json(value)
    if isinstance(given, str | int) and not isinstance(given, bool):
        return {str(given): 1}
    if isinstance(given, list | tuple) and all(isinstance(one, str | int) for one in given):
        return {str(one): 1 for one in given}
    if isinstance(given, dict) and all(isinstance(one, int) and one >= 0 for one in given.values()):
        return {str(name): int(gain) for name, gain in given.items()}
    raise Unreadable(f"must be relevant documents, or their gains as whole numbers from 0, got {value!r:.80}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def measure_rankings(cohort: Cohort, asked: Asked) -> list[Measure]:
    """Return the mean reciprocal rank and NDCG@10 over queries; one without a relevant document counts 0."""
    cut = nDCG @ CUTOFF
    found = {RR: np.zeros(len(cohort.labelled)), cut: np.zeros(len(cohort.labelled))}
    truths = {str(i): one.truth for i, one in enumerate(cohort.labelled)}
    run = {
        str(i): {name: float(len(one.prediction) - rank) for rank, name in enumerate(one.prediction)}
        for i, one in enumerate(cohort.labelled)
        if one.prediction
    }
    for one in ir_measures.iter_calc(list(found), truths, run):
        if one.query_id in run:
            found[one.measure][int(one.query_id)] = min(1.0, max(0.0, one.value))
    return [
        mean_measure("mrr", found[RR], cohort.chances(), asked),
        mean_measure(f"ndcg_at_{CUTOFF}", found[cut], cohort.chances(), asked),
    ]


RANKING = Task("ranking", read_ranking, read_gains, measure_rankings, no_warnings)
