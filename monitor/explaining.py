"""What a drift means: whether it costs accuracy, and which segments drifted. Asked only once a window has drifted."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from sqlalchemy.orm import Session

from detectors.sketch import Sketch
from monitor import store
from monitor.clock import Window
from monitor.jobs.drift import Judgement
from monitor.jobs.harm import KnownOutcomes, grade_harm, losses_of
from monitor.jobs.segments import attribute_columns, drifted_segments
from monitor.policy import DriftPolicy
from monitor.results import Loaded


def explain(
    session: Session,
    judgement: Judgement,
    *,
    loaded: Loaded,
    current: Sketch,
    held: Mapping[int, store.StoredPrediction],
    window: Window,
    policy: DriftPolicy,
    rng: np.random.Generator,
) -> Judgement:
    """Return the judgement with the grade of its drift and the drifted segments; one without drift as it is.

    held : the predictions behind the current sketch's rows, by id, as far as retention has left them.
    """
    if judgement.verdict is None or not judgement.verdict.drift:
        return judgement
    labelled = store.labelled_answers(
        session, model=loaded.stored.model, version=loaded.stored.version, start=window.start, end=window.end
    )
    harm = grade_harm(
        KnownOutcomes.from_summary(loaded.stored.summary),
        losses=losses_of(labelled),
        confidences=current.row_confidences,
        tolerance=policy.harm_tolerance,
    )
    rows = [held[int(i)].attributes if int(i) in held else None for i in current.row_ids]
    segments = drifted_segments(
        loaded.reference,
        current,
        reference_attributes=loaded.stored.summary.get("attributes", {}),
        current_attributes=attribute_columns(rows),
        rng=rng,
    )
    return replace(judgement, harm=harm, segments=segments)
