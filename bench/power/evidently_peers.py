"""evidently's four embedding methods and its text-content method, at their documented defaults."""

import os
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

os.environ.setdefault("DO_NOT_TRACK", "1")  # read by evidently while it is imported

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside evidently's own dependencies
    import pandas as pd
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType
    from evidently.legacy.metrics.data_drift import embedding_drift_methods
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import distance, mmd, model, ratio
    from evidently.legacy.utils import data_drift_utils

from bench.power.outcome import Contender, Outcome
from bench.power.scenarios import Draw
from monitor.jobs.baseline import Observations

BOOTSTRAP_BELOW = 1000  # as EmbeddingsDriftMetric chooses for its default, the model method


def contenders() -> list[Contender]:
    """Return the five methods."""
    _remember_random_classifiers()
    methods: dict[str, Callable[[int], Any]] = {
        "model": lambda n: model(bootstrap=n < BOOTSTRAP_BELOW),
        "mmd": lambda n: mmd(),  # noqa: ARG005 only the model's default depends on n
        "ratio": lambda n: ratio(),  # noqa: ARG005 likewise
        "distance": lambda n: distance(),  # noqa: ARG005 likewise
    }
    found = [Contender(f"evidently_{name}", _version(), _embedding(make)) for name, make in methods.items()]
    return [*found, Contender("evidently_text", _version(), _text, lambda cell: cell.traffic != "synthetic")]


def _version() -> str:
    return version("evidently")


def _remember_random_classifiers() -> None:
    """Keep what evidently draws anew each time: it fixes the seeds, so the AUC of guessing depends on the labels only.

    The same values for a tenth of the time: for n = 500 its text method spends 98 % of a run on them.
    """
    embedding_drift_methods.calc_roc_auc_random = _remembered(embedding_drift_methods.calc_roc_auc_random)
    data_drift_utils.roc_auc_random_classifier_percentile = _remembered(
        data_drift_utils.roc_auc_random_classifier_percentile
    )


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[tuple[Any, ...], Any] = {}

    def remembering(labels: Any, *rest: Any, **named: Any) -> Any:
        key = (np.asarray(labels).tobytes(), *rest, *sorted(named.items()))
        if key not in known:
            known[key] = function(labels, *rest, **named)
        return known[key]

    return remembering


def _embedding(make: Callable[[int], Any]) -> Callable[[Draw, int], Outcome]:
    def judge(draw: Draw, seed: int) -> Outcome:  # noqa: ARG001 evidently fixes its own seeds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            score, drift, _ = make(len(draw.reference))(_frame(draw.current), _frame(draw.reference))
        return Outcome(bool(drift), (float(score),))

    return judge


def _frame(observed: Observations) -> Any:
    return pd.DataFrame(observed.vectors, columns=[f"e{i}" for i in range(observed.vectors.shape[1])])


def _text(draw: Draw, seed: int) -> Outcome:  # noqa: ARG001 evidently fixes its own seeds
    reference, current = (pd.Series(list(side.texts)) for side in (draw.reference, draw.current))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = get_stattest(reference, current, ColumnType.Text, None)
        found = test(reference, current, ColumnType.Text, None)
    return Outcome(bool(found.drifted), (float(found.drift_score),))
