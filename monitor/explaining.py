"""What a drift means: what it costs, which segments drifted, how usual it is. Asked only of windows that drifted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from sqlalchemy.orm import Session

from detectors.sketch import Sketch
from monitor import store
from monitor.clock import Window, hour_of
from monitor.jobs.drift import Judgement
from monitor.jobs.harm import KnownOutcomes, grade_harm, losses_of
from monitor.jobs.segments import attribute_columns, drifted_segments
from monitor.jobs.variation import cells_moved, hourly_counts, usual_variation
from monitor.policy import DriftPolicy
from monitor.results import Loaded


def explain(
    session: Session,
    judgement: Judgement,
    *,
    loaded: Loaded,
    current: Sketch,
    parts: Sequence[store.StoredSketch],
    held: Mapping[int, store.StoredPrediction],
    window: Window,
    policy: DriftPolicy,
    rng: np.random.Generator,
) -> Judgement:
    """Return the judgement with what its drift costs, where it is and how usual; one without drift as it is.

    parts : the hourly sketches that `current` merges. held : the predictions behind the current sketch's rows, by id,
    as far as retention has left them.
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
    usual = None
    if cells_moved(judgement.detectors):
        counts = np.array([Sketch.from_bytes(part.payload).cell_counts for part in parts])
        hourly = hourly_counts([hour_of(part.hour) for part in parts], counts)
        usual = usual_variation(loaded.stored.summary.get("hourly"), hourly, rng=rng)
    return replace(judgement, harm=harm, segments=segments, usual_variation=usual)
