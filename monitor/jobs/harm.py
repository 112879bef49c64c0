"""Grade what a drift costs: by the window's labels, else by its scores, else unknown with the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.harm import Evidence, Grade, Harm, grade_by_labels, grade_by_scores

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KnownOutcomes:
    """How often the reference's answers were wrong, and of its held-out rows the confidences with 1 (right) or 0.

    scores : (m, 2), m at most the sketch's sample of rows.
    """

    errors: int
    labelled: int
    scores: FloatArray

    def as_summary(self) -> dict[str, Any]:
        """Return what a baseline's summary keeps."""
        return {"errors": self.errors, "labelled": self.labelled, "scores": self.scores.round(6).tolist()}

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any]) -> "KnownOutcomes":
        """Read a baseline's summary; one without labels, or older than these, knows nothing."""
        scores = np.array(summary.get("scores", []), dtype=np.float64).reshape(-1, 2)
        return cls(int(summary.get("errors", 0)), int(summary.get("labelled", 0)), scores)


def correctness(answers: Sequence[str | None] | None, truths: Sequence[str | None] | None) -> FloatArray | None:
    """Return 1 where the answer is the truth, 0 where not, NaN where either is unknown, (n,).

    None without answers or truths.

    >>> correctness(["pay", "pay", None], ["pay", "login", "pay"]).tolist()
    [1.0, 0.0, nan]
    """
    if answers is None or truths is None:
        return None
    pairs = zip(answers, truths, strict=True)
    return np.array([np.nan if None in pair else float(pair[0] == pair[1]) for pair in pairs], dtype=np.float64)


def known_outcomes(
    correct: FloatArray | None, confidences: FloatArray | None, *, held: npt.NDArray[np.int64]
) -> KnownOutcomes:
    """Count a reference's errors; scores are of the `held` positions alone, which fixed no cell.

    Where not one answer is right, labels and answers name classes differently, and nothing is known.
    correct, confidences : (n,), NaN where unknown, or None.
    """
    if correct is None or not (correct == 1).any():
        return KnownOutcomes(0, 0, np.zeros((0, 2)))
    known = correct[~np.isnan(correct)]
    pairs = np.zeros((0, 2)) if confidences is None else np.column_stack([confidences[held], correct[held]])
    return KnownOutcomes(int((known == 0).sum()), known.size, pairs[~np.isnan(pairs).any(axis=1)])


def losses_of(labelled: Sequence[tuple[str, str]]) -> list[float]:
    """Return 0 for each (answer, truth) that agree, 1 for each that do not, in their order.

    >>> losses_of([("pay", "pay"), ("pay", "login")])
    [0.0, 1.0]
    """
    return [float(answer != truth) for answer, truth in labelled]


def grade_harm(
    reference: KnownOutcomes, *, losses: Sequence[float], confidences: npt.NDArray[np.floating], tolerance: float
) -> Harm:
    """Grade a drift of a window with these losses, in the order they became known, and confidences (n,), NaN unknown.

    One label is enough to grade by labels: scores alone never see a change of what is right.
    """
    scores = confidences[~np.isnan(confidences)].astype(np.float64)
    if losses:
        if not reference.labelled:
            return _unknown(Evidence.LABELS, "the reference has no labels", n=len(losses), tolerance=tolerance)
        return grade_by_labels(
            losses, baseline_errors=reference.errors, baseline_n=reference.labelled, tolerance=tolerance
        )
    if not scores.size:
        return _unknown(Evidence.SCORES, "the window has neither labels nor scores", n=0, tolerance=tolerance)
    if not reference.scores.size:
        reason = "the reference has no labels" if not reference.labelled else "the reference has no scores"
        return _unknown(Evidence.SCORES, reason, n=scores.size, tolerance=tolerance)
    return grade_by_scores(reference.scores[:, 0], reference.scores[:, 1], scores, tolerance=tolerance)


def _unknown(evidence: Evidence, reason: str, *, n: int, tolerance: float) -> Harm:
    return Harm(Grade.UNKNOWN, evidence, 0.0, -1.0, 1.0, tolerance, n, reason)
