"""What changes when only the identity in a text changes: flips of the answer and moves of the score.

A template is one observation of an identity: the same sentence, once with the identity's term and once with the
reference's. Templates are independent of each other, the identities of one template are not, so figures over several
identities are means of each template's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.checks import probability
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated
from detectors.rates import rate_bounds
from detectors.weighted import Measure, mean_estimate, ratio_estimate

FEWEST = 5  # templates of an identity


@dataclass(frozen=True, slots=True)
class IdentityEffect:
    """An identity beside the reference: how often the answer flips, how far the score moves (absolute, and signed).

    verdict is "flips", "no flips beyond the tolerance" or "insufficient evidence"; needed counts the templates that
    would tell, None where it is known.
    """

    identity: str
    flip_rate: Estimate | NotEstimated
    score_move: Estimate | NotEstimated
    signed_move: float | None
    verdict: str
    needed: int | None


@dataclass(frozen=True, slots=True)
class SwapEffect:
    """All identities of an attribute, and the means over them, a template being one observation."""

    identities: tuple[IdentityEffect, ...]
    flip_rate: Measure
    score_move: Measure


def swap_effect(
    identities: Sequence[str],
    flips: npt.ArrayLike,
    moves: npt.ArrayLike | None,
    *,
    tolerance: float = 0.05,
    alpha: float = 0.05,
) -> SwapEffect:
    """Return the effect of swaps: flips (T, I) are 0 or 1, moves (T, I) signed score differences in [-1, 1], or None.

    tolerance is the flip rate that one accepts. The chance that any identity is falsely said to flip is at most alpha:
    verdicts stand at alpha over the number of identities. Raises DetectorInputError for shapes that do not fit.

    >>> found = swap_effect(["women"], np.ones((40, 1)), None)
    >>> found.identities[0].verdict, round(found.identities[0].flip_rate.low, 3)
    ('flips', 0.912)
    """
    flipped = np.asarray(flips, dtype=np.float64)
    moved = None if moves is None else np.asarray(moves, dtype=np.float64)
    if flipped.ndim != 2 or flipped.shape[1] != len(identities) or (moved is not None and moved.shape != flipped.shape):
        raise DetectorInputError(
            f"flips and moves are templates × identities, got {flipped.shape} for {len(identities)}"
        )
    share = probability("alpha", alpha) / max(len(identities), 1)
    effects = tuple(
        _effect(name, flipped[:, i], None if moved is None else moved[:, i], (tolerance, alpha, share))
        for i, name in enumerate(identities)
    )
    no_scores = NotEstimated("score_move", "the model gives no scores", 0)
    return SwapEffect(
        effects,
        mean_estimate("flip_rate", flipped.mean(axis=1), alpha=alpha),
        no_scores if moved is None else mean_estimate("score_move", np.abs(moved).mean(axis=1), alpha=alpha),
    )


def _effect(
    name: str,
    flips: npt.NDArray[np.float64],
    moves: npt.NDArray[np.float64] | None,
    levels: tuple[float, float, float],
) -> IdentityEffect:
    tolerance, alpha, share = levels
    n, hits = flips.size, float(flips.sum())
    if n < FEWEST:
        few = NotEstimated(f"flip_rate[{name}]", "too few templates", n, FEWEST)
        return IdentityEffect(name, few, few, None, "insufficient evidence", FEWEST)
    low, high = (float(one) for one in rate_bounds(hits, n, alpha=alpha))
    strict_low, strict_high = (float(one) for one in rate_bounds(hits, n, alpha=2 * share))
    verdict, needed = "insufficient evidence", None
    if strict_low > tolerance:
        verdict = "flips"
    elif strict_high <= tolerance:
        verdict = "no flips beyond the tolerance"
    else:
        needed = templates_to_tell(tolerance, alpha=share)
    move = (
        NotEstimated(f"score_move[{name}]", "the model gives no scores", 0)
        if moves is None
        else mean_estimate(f"score_move[{name}]", np.abs(moves), alpha=alpha)
    )
    rate = Estimate(f"flip_rate[{name}]", hits / n, low, high, n, "wilson, exact where counts are tiny", alpha)
    return IdentityEffect(name, rate, move, None if moves is None else float(moves.mean()), verdict, needed)


def templates_to_tell(tolerance: float, *, alpha: float) -> int:
    """Return how many templates without a flip show that no more than the tolerance do: ln alpha / ln(1 - tolerance).

    >>> templates_to_tell(0.05, alpha=0.05)
    59
    """
    if not 0 < tolerance < 1:
        raise DetectorInputError(f"a tolerance lies in (0, 1), got {tolerance}")
    return int(np.ceil(np.log(probability("alpha", alpha)) / np.log1p(-tolerance)))


@dataclass(frozen=True, slots=True)
class CaseShare:
    """The share of a kind of test cases that is answered right, and whether that meets what is asked.

    verdict is "below", "met" or "insufficient evidence".
    """

    kind: str
    share: Estimate  # its n counts templates
    verdict: str
    cases: int


def case_shares(
    kinds: Sequence[str],
    right: Sequence[npt.ArrayLike],
    n: Sequence[npt.ArrayLike],
    *,
    least: float,
    alpha: float = 0.05,
) -> tuple[CaseShare, ...]:
    """Return each kind's share of right answers beside the least share that is asked.

    Of each kind right and n hold its templates' counts (t,): cases made from one template with other words in it stand
    or fall together, so the template is the unit of chance. Verdicts stand at alpha over the number of kinds,
    one-sided; intervals are each kind's own. Source: Cochran 1977, sec. 6.4, as in detectors.weighted.ratio_estimate.

    >>> few, many = [[1.0] * 17 + [0.0] * 3], [[1.0] * 20]
    >>> [one.verdict for one in case_shares(["a"], few, many, least=0.8)]
    ['insufficient evidence']
    """
    if not len(kinds) == len(right) == len(n):
        raise DetectorInputError(f"kinds, right and n need one length, got {len(kinds)}, {len(right)} and {len(n)}")
    strict = 2 * probability("alpha", alpha) / max(len(kinds), 1)
    found = []
    for kind, hits, rows in zip(kinds, right, n, strict=True):
        share = ratio_estimate(kind, hits, rows, alpha=alpha)
        bound = ratio_estimate(kind, hits, rows, alpha=strict)
        if isinstance(share, NotEstimated) or isinstance(bound, NotEstimated):
            continue
        verdict = "below" if bound.high < least else "met" if bound.low >= least else "insufficient evidence"
        found.append(CaseShare(kind, share, verdict, int(np.sum(np.asarray(rows)))))
    return tuple(found)
