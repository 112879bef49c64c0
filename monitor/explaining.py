"""What a drift means: whether it costs accuracy. Asked only once a window has drifted."""

from dataclasses import replace

from sqlalchemy.orm import Session

from detectors.sketch import Sketch
from monitor import store
from monitor.clock import Window
from monitor.jobs.drift import Judgement
from monitor.jobs.harm import KnownOutcomes, grade_harm, losses_of
from monitor.policy import DriftPolicy
from monitor.results import Loaded


def explain(
    session: Session, judgement: Judgement, *, loaded: Loaded, current: Sketch, window: Window, policy: DriftPolicy
) -> Judgement:
    """Return the judgement with the grade of its drift; one without drift as it is."""
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
    return replace(judgement, harm=harm)
