"""Run a suite through a model, and say what came out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from detectors.counterfactual import CaseShare, IdentityEffect, SwapEffect, case_shares, swap_effect
from detectors.estimates import Estimate, NotEstimated
from monitor.errors import InputError
from monitor.suites.reading import Case, Swaps, expand

EXAMPLES = 5
BATCH = 512
FLIPS, BELOW, INSUFFICIENT, FINE = "flips", "below", "insufficient evidence", "nothing found"
Advance = Callable[[int, int], None]


class Classifier(Protocol):
    """What a suite asks of a model; see monitor.embed.Encoder."""

    labels: tuple[str, ...]
    has_head: bool

    def predict(self, texts: Sequence[str]) -> tuple[list[str], npt.NDArray[np.float64]]:
        """Return labels and probabilities (n, C)."""
        ...


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What a suite came to, as plain values; verdict is one of flips, below, insufficient evidence, nothing found."""

    verdict: str
    told: dict[str, Any]


def predict(
    classifier: Classifier, texts: Sequence[str], advance: Advance
) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Answer texts in batches. Raises InputError for a model without a classification head."""
    if not classifier.has_head:
        raise InputError("the model has no classification head: a text suite asks for its answers")
    labels: list[str] = []
    parts = []
    for start in range(0, len(texts), BATCH):
        answered, scores = classifier.predict(texts[start : start + BATCH])
        labels += answered
        parts.append(scores)
        advance(len(labels), len(texts))
    return labels, np.concatenate(parts)


def run_swaps(swaps: Swaps, classifier: Classifier, *, tolerance: float, alpha: float, advance: Advance) -> SuiteResult:
    """Swap identities in every template and see what flips: the answer, and the score of the reference's answer."""
    labels, scores = predict(classifier, expand(swaps), advance)
    place = {label: i for i, label in enumerate(classifier.labels)}
    width = sum(len(terms) for terms in swaps.attributes.values())
    answers = np.array([place[label] for label in labels]).reshape(len(swaps.templates), width)
    held = scores.reshape(len(swaps.templates), width, -1)
    attributes, column = [], 0
    for name, terms in swaps.attributes.items():
        part = slice(column + 1, column + len(terms))
        base = answers[:, column]
        of_base = np.take_along_axis(held, base[:, None, None], axis=2)[:, :, 0]
        flips = answers[:, part] != base[:, None]
        moves = of_base[:, part] - of_base[:, [column]]
        effect = swap_effect(terms[1:], flips, moves, tolerance=tolerance, alpha=alpha / len(swaps.attributes))
        attributes.append(_attribute(name, terms, effect, swaps, flips, moves, answers[:, column:], classifier.labels))
        column += len(terms)
    verdicts = [identity["verdict"] for one in attributes for identity in one["identities"]]
    verdict = FLIPS if FLIPS in verdicts else INSUFFICIENT if INSUFFICIENT in verdicts else FINE
    told = {"kind": "swaps", "templates": len(swaps.templates), "tolerance": tolerance, "alpha": alpha}
    return SuiteResult(verdict, {**told, "verdict": verdict, "attributes": attributes})


def _attribute(
    name: str,
    terms: Sequence[str],
    effect: SwapEffect,
    swaps: Swaps,
    flips: npt.NDArray[np.bool_],
    moves: npt.NDArray[np.float64],
    answers: npt.NDArray[np.int64],
    labels: Sequence[str],
) -> dict[str, Any]:
    worst = np.argsort(-np.add(flips, np.abs(moves)), axis=None, kind="stable")[:EXAMPLES]
    examples = [
        {
            "template": swaps.templates[row],
            "identity": terms[column + 1],
            "answer": labels[answers[row, column + 1]],
            "reference_answer": labels[answers[row, 0]],
            "score_move": float(moves[row, column]),
        }
        for row, column in zip(*np.unravel_index(worst, flips.shape), strict=True)
    ]
    return {
        "attribute": name,
        "reference": terms[0],
        "flip_rate": measure(effect.flip_rate),
        "score_move": measure(effect.score_move),
        "identities": [_identity(one) for one in effect.identities],
        "examples": examples,
    }


def _identity(one: IdentityEffect) -> dict[str, Any]:
    return {
        "identity": one.identity,
        "flip_rate": measure(one.flip_rate),
        "score_move": measure(one.score_move),
        "signed_move": one.signed_move,
        "verdict": one.verdict,
        "needed": one.needed,
    }


def measure(one: Estimate | NotEstimated) -> dict[str, Any]:
    """Return a measure as plain values."""
    if isinstance(one, NotEstimated):
        return {"value": None, "low": None, "high": None, "n": one.got, "reason": one.reason}
    return {"value": one.value, "low": one.low, "high": one.high, "n": one.n}


def run_cases(
    cases: Sequence[Case], classifier: Classifier, *, positive: str, least: float, alpha: float, advance: Advance
) -> SuiteResult:
    """Answer every case; `positive` is the model's label that means hateful. Raises InputError for an unknown label."""
    if positive not in classifier.labels:
        raise InputError(
            f"--positive {positive!r} is no label of the model; it has {', '.join(classifier.labels[:20])}"
        )
    answers, _ = predict(classifier, [case.text for case in cases], advance)
    right = [(answer == positive) == case.hateful for answer, case in zip(answers, cases, strict=True)]
    of_kind = _shares([case.functionality for case in cases], cases, right, least=least, alpha=alpha / 2)
    named = [(case, hit) for case, hit in zip(cases, right, strict=True) if case.identity is not None]
    of_whom = _shares(
        [str(case.identity) for case, _ in named],
        [case for case, _ in named],
        [hit for _, hit in named],
        least=least,
        alpha=alpha / 2,
    )
    verdicts = [one.verdict for one in (*of_kind, *of_whom)]
    verdict = BELOW if BELOW in verdicts else INSUFFICIENT if INSUFFICIENT in verdicts else FINE
    return SuiteResult(
        verdict,
        {
            "kind": "cases",
            "cases": len(cases),
            "least": least,
            "alpha": alpha,
            "positive": positive,
            "verdict": verdict,
            "right": sum(right),
            "functionalities": [_share(one) for one in of_kind],
            "identities": [_share(one) for one in of_whom],
        },
    )


def _shares(
    kinds: Sequence[str], cases: Sequence[Case], right: Sequence[bool], *, least: float, alpha: float
) -> tuple[CaseShare, ...]:
    counted: dict[str, dict[str, list[int]]] = {}
    for kind, case, hit in zip(kinds, cases, right, strict=True):
        held = counted.setdefault(kind, {}).setdefault(case.template, [0, 0])
        held[0] += hit
        held[1] += 1
    names = sorted(counted)
    hits, rows = ([[held[place] for held in counted[name].values()] for name in names] for place in (0, 1))
    return case_shares(names, hits, rows, least=least, alpha=alpha)


def _share(one: CaseShare) -> dict[str, Any]:
    return {"name": one.kind, **measure(one.share), "n": one.cases, "templates": one.share.n, "verdict": one.verdict}
