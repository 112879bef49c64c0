"""Judge one window: embeddings, predictions and tokenizer against the version's baseline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.stats import binom

from detectors.attribution import cell_keywords, drift_scores
from detectors.basis import Basis
from detectors.compare import SHARE_EFFECTS, compare_sketches
from detectors.cosine import raw_cosine
from detectors.harm import Grade, Harm
from detectors.results import CellShift, DetectorResult, TooLittleData, Verdict
from detectors.sketch import Sketch
from detectors.variation import Practical
from monitor.jobs.calibration import Alarm
from monitor.jobs.opinions import SecondOpinion, second_opinions
from monitor.jobs.variation import UsualVariation
from monitor.policy import OpinionName

TOKENIZER = "tokenizer"
TOP_TEXTS = 50
EXAMPLES_PER_CELL = 5
MOVED_CELLS = 5

Status = Literal["ok", "too_little_data"]


@dataclass(frozen=True, slots=True)
class TokenCheck:
    """How many sampled texts were tokenised again, and how many counts or digests differed from the server's."""

    checked: int
    mismatched: int
    tolerance: float


@dataclass(frozen=True, slots=True)
class DriftInputs:
    """What a window is judged on; texts by row id, empty where retention has taken them.

    basis is the baseline's own, by which the raw mean embeddings are told; without it they are not.
    """

    reference: Sketch
    current: Sketch
    reference_texts: Mapping[int, str]
    current_texts: Mapping[int, str]
    tokens: TokenCheck | None = None
    basis: Basis | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A window's verdict; `detail` explains "too little data", or what a run length was calibrated on.

    comparison_p_value is that of the texts alone, without the tokenizer check: what a stream of windows is judged by;
    effect is the largest share of texts that an alarming detector says has changed, None where none says; importance
    holds it against the policy's floor; alarm says by which promise the verdict's drift is one; harm grades what a
    drift costs, None without drift; segments are those found to have drifted;
    raw_cosine is that of the two mean embeddings within the basis's components: shown, and never decides;
    usual_variation tells how usual the window is for its hours of the week, None where that is not known or not asked;
    second_opinions are other tests' answers, which decide nothing.
    """

    status: Status
    reference_n: int
    current_n: int
    detectors: tuple[DetectorResult, ...]
    verdict: Verdict | None
    cells: tuple[dict[str, Any], ...]
    examples: tuple[dict[str, Any], ...]
    detail: str = ""
    comparison_p_value: float | None = None
    alarm: Alarm | None = None
    effect: float | None = None
    importance: Practical | None = None
    harm: Harm | None = None
    segments: tuple[dict[str, Any], ...] = ()
    usual_variation: UsualVariation | None = None
    raw_cosine: float | None = None
    second_opinions: tuple[SecondOpinion, ...] = ()

    @property
    def actionable(self) -> bool:
        """Whether the drift is there and worth waking someone; a wrong tokenizer always is.

        What is usual for its hours and still costs accuracy beyond the tolerance is.
        """
        if self.verdict is None or not self.verdict.drift:
            return False
        wrong_tokens = any(result.name == TOKENIZER and result.drift for result in self.detectors)
        grade = None if self.harm is None else self.harm.grade
        usual = self.usual_variation is not None and self.usual_variation.usual and grade is not Grade.HARMFUL
        return wrong_tokens or not (self.importance is Practical.SMALL or grade is Grade.BENIGN or usual)

    def as_json(self) -> dict[str, Any]:
        """Return the shape that `compare --json` prints and result rows keep."""
        return {
            "status": self.status,
            "reference": {"n": self.reference_n},
            "current": {"n": self.current_n},
            "detectors": [asdict(result) for result in self.detectors],
            "verdict": None if self.verdict is None else asdict(self.verdict),
            "comparison_p_value": self.comparison_p_value,
            "effect": self.effect,
            "importance": None if self.importance is None else self.importance.value,
            "harm": None if self.harm is None else asdict(self.harm),
            "actionable": self.actionable,
            "alarm": None if self.alarm is None else asdict(self.alarm),
            "cells": list(self.cells),
            "segments": list(self.segments),
            "usual_variation": None if self.usual_variation is None else asdict(self.usual_variation),
            "second_opinions": [asdict(one) for one in self.second_opinions],
            "examples": list(self.examples),
            "shown": {"raw_cosine": self.raw_cosine},
            "detail": self.detail,
        }


def judge_tokens(check: TokenCheck, *, alpha: float) -> DetectorResult:
    """Test whether token counts disagree more often than the tolerance: exact binomial, one-sided.

    The statistic is the mismatched share; the threshold is the smallest share that is significant at `alpha`.
    """
    p_value = float(max(binom.sf(check.mismatched - 1, check.checked, check.tolerance), np.finfo(float).tiny))
    threshold = (float(binom.isf(alpha, check.checked, check.tolerance)) + 1) / check.checked
    return DetectorResult(
        name=TOKENIZER,
        statistic=check.mismatched / check.checked,
        unit="ratio",
        p_value=min(p_value, 1.0),
        threshold=threshold,
        drift=p_value <= alpha,
    )


def judge(
    inputs: DriftInputs,
    *,
    alpha: float,
    permutations: int,
    rng: np.random.Generator,
    minimum: int = 50,
    baseline_confidence: float | None = None,
    floor: float = 0.0,
    calibrate: Callable[[float, bool], Alarm] | None = None,
) -> Judgement:
    """Compare a window with its baseline and name what moved.

    The tokenizer check and the comparison share `alpha` evenly, so that the whole verdict keeps it under any
    dependence; its p-value is at most `alpha` just where one of them drifts. `calibrate` turns the comparison's
    p-value and answer into the alarm of a stream; a wrong tokenizer alarms whatever it says. A drift that
    changes less than `floor` of the texts is "significant but small".
    """
    checked = inputs.tokens is not None and inputs.tokens.checked > 0
    share = alpha / 2 if checked else alpha
    found: list[DetectorResult] = []
    if inputs.tokens is not None and checked:
        found.append(judge_tokens(inputs.tokens, alpha=share))
    compared = compare_sketches(
        inputs.reference,
        inputs.current,
        alpha=share,
        rng=rng,
        permutations=permutations,
        minimum=minimum,
        baseline_confidence=baseline_confidence,
    )
    if isinstance(compared, TooLittleData):
        return _without_comparison(inputs, found, compared, alpha=alpha)
    levels = [(compared.verdict.p_value, compared.verdict.alpha), *((result.p_value, share) for result in found)]
    p_value = min(1.0, *(p * (alpha / level) for p, level in levels))  # on the scale of alpha, whatever its part of it
    if any(p <= level for p, level in levels):
        p_value = min(p_value, alpha)  # past rounding
    wrong_tokens = any(result.drift for result in found)
    alarm = None if calibrate is None else calibrate(compared.verdict.p_value, compared.verdict.drift)
    drift = wrong_tokens or (compared.verdict.drift if alarm is None else alarm.drift)
    effect = None if wrong_tokens else _share_changed(compared.detectors)
    scores = _scores(inputs, rng=rng) if drift else None  # nothing is new where nothing drifted
    moved = [cell for cell in compared.cells if cell.current_share != cell.reference_share]
    return Judgement(
        status="ok",
        reference_n=compared.reference_n,
        current_n=compared.current_n,
        detectors=(*compared.detectors, *found),
        verdict=Verdict(drift=drift, p_value=p_value, alpha=alpha),
        cells=tuple(_describe(cell, inputs, scores) for cell in moved[:MOVED_CELLS]),
        examples=() if scores is None else _top_texts(inputs, scores),
        comparison_p_value=compared.verdict.p_value,
        alarm=alarm,
        effect=effect,
        importance=_importance(drift, effect, floor=floor),
        raw_cosine=_raw_cosine(inputs),
        detail="" if alarm is None else alarm.note,
    )


def with_second_opinions(
    judgement: Judgement,
    *,
    reference: Sketch,
    current: Sketch,
    names: Sequence[OpinionName],
    asked: bool | None,
    rng: np.random.Generator,
) -> Judgement:
    """Return the judgement with second opinions: of a drift, where `asked` is True of any, where it is False of none.

    A window that was not compared (too few texts, or a wrong tokenizer alone) has none.
    """
    verdict = judgement.verdict
    if verdict is None or judgement.comparison_p_value is None or not (verdict.drift if asked is None else asked):
        return judgement
    return replace(
        judgement, second_opinions=second_opinions(reference, current, names=names, alpha=verdict.alpha, rng=rng)
    )


def _raw_cosine(inputs: DriftInputs) -> float | None:
    if inputs.basis is None:
        return None
    reference, current = (side.total / side.n for side in (inputs.reference, inputs.current))
    return raw_cosine(inputs.basis.embedding_of(reference), inputs.basis.embedding_of(current))


def _share_changed(detectors: Sequence[DetectorResult]) -> float | None:
    """Return the largest share of texts that an alarming detector says has changed; of any where none alarms alone."""
    shares = [one for one in detectors if one.effect is not None and one.name in SHARE_EFFECTS]
    alarming = [one for one in shares if one.drift]
    if any(one.drift for one in detectors) and not alarming:
        return None  # what alarms measures no share: nothing is called small by another's measure
    return max((float(one.effect or 0.0) for one in alarming or shares), default=None)


def _importance(drift: bool, effect: float | None, *, floor: float) -> Practical:
    if not drift:
        return Practical.NOT_SIGNIFICANT
    return Practical.SMALL if effect is not None and effect < floor else Practical.LARGE


def _without_comparison(
    inputs: DriftInputs, found: Sequence[DetectorResult], reason: TooLittleData, *, alpha: float
) -> Judgement:
    # a wrong tokenizer shows on a handful of texts, long before a distribution does
    alarming = [result for result in found if result.drift]
    return Judgement(
        status="ok" if alarming else "too_little_data",
        reference_n=inputs.reference.n,
        current_n=inputs.current.n,
        detectors=tuple(found),
        verdict=Verdict(drift=True, p_value=min(1.0, 2 * alarming[0].p_value), alpha=alpha) if alarming else None,
        cells=(),
        examples=(),
        detail=f"{reason.reason}: {reason.got} of at least {reason.needed}",
        importance=Practical.LARGE if alarming else None,
    )


def _scores(inputs: DriftInputs, *, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    current_texts = [inputs.current_texts.get(int(i), "") for i in inputs.current.row_ids]
    reference_texts = [inputs.reference_texts.get(int(i), "") for i in inputs.reference.row_ids]
    has_texts = any(current_texts) and any(reference_texts)
    return drift_scores(
        inputs.reference,
        inputs.current,
        rng=rng,
        reference_texts=reference_texts if has_texts else None,
        current_texts=current_texts if has_texts else None,
    )


def _describe(
    cell: CellShift, inputs: DriftInputs, scores: np.ndarray[tuple[int], np.dtype[np.float64]] | None
) -> dict[str, Any]:
    rows = np.flatnonzero(inputs.current.row_cells == cell.cell)
    ranked = rows if scores is None else rows[np.argsort(-scores[rows], kind="stable")]
    texts = [text for i in ranked if (text := inputs.current_texts.get(int(inputs.current.row_ids[i]), ""))]
    members = [inputs.current_texts.get(int(i), "") for i in inputs.current.row_ids]
    keywords = (
        cell_keywords(
            members,
            inputs.current.row_cells,
            cell=cell.cell,
            background=[text for text in inputs.reference_texts.values() if text],
        )
        if texts
        else ()
    )
    return {
        **asdict(cell),
        "keywords": list(keywords),
        "examples": list(dict.fromkeys(texts))[:EXAMPLES_PER_CELL],
    }


def _top_texts(inputs: DriftInputs, scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[dict[str, Any], ...]:
    top = np.argsort(-scores, kind="stable")[:TOP_TEXTS]
    return tuple(
        {
            "id": int(inputs.current.row_ids[i]),
            "score": round(float(scores[i]), 6),
            "cell": int(inputs.current.row_cells[i]),
            "text": inputs.current_texts.get(int(inputs.current.row_ids[i]), ""),
        }
        for i in top
    )
