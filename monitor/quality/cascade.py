"""A cascade of models: which stage answered how much, and how often each is right."""

from dataclasses import replace

import numpy as np

from detectors.weighted import Measure
from monitor.quality.classification import measure_classes, read_class, warn_classes
from monitor.quality.examples import Asked, Cohort, Task
from monitor.quality.looks import mean_measure

UNKNOWN = "unknown"


def measure_cascade(cohort: Cohort, asked: Asked) -> list[Measure]:
    """Return the accuracy of all, then per stage the share of all predictions it answered, and its accuracy.

    Predictions that name no stage are of the stage "unknown".
    """
    every = [*cohort.labelled, *cohort.unlabelled]
    chances = np.array([one.inclusion_probability for one in every])
    stages = np.array([one.stage or UNKNOWN for one in every])
    found = measure_classes(cohort, asked)
    hits = np.array([float(one.prediction == one.truth) for one in cohort.labelled])
    of_labelled, labelled_chances = stages[: hits.size], cohort.chances()
    for stage in sorted(set(stages.tolist())):
        mine = of_labelled == stage
        # of all rows, whose order is not that of any look: a single look's interval
        mine_of_all = (stages == stage).astype(np.float64)
        found.append(mean_measure(f"share[{stage}]", mine_of_all, chances, replace(asked, looks="single")))
        found.append(mean_measure(f"accuracy[{stage}]", hits[mine], labelled_chances[mine], asked))
    return found


CASCADE = Task("cascade", read_class, read_class, measure_cascade, warn_classes, scored=True)
