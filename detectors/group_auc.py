"""How well scores rank within a group, and between a group and the rest: subgroup, BPSN and BNSP AUC.

BPSN (background positive, subgroup negative) is low where a group's harmless rows score like others' positives; BNSP
where its positives score like others' negatives. Source: Borkan et al. 2019, Nuanced metrics for measuring unintended
bias.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from detectors.checks import FloatArray, vector
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated

KINDS = ("subgroup_auc", "bpsn_auc", "bnsp_auc")
FEWEST = 10  # positives and negatives; below that the variance itself is a guess


@dataclass(frozen=True, slots=True)
class GroupAuc:
    """A group's three areas."""

    group: str
    subgroup: Estimate | NotEstimated
    bpsn: Estimate | NotEstimated
    bnsp: Estimate | NotEstimated


def auc_estimate(
    name: str, positives: npt.ArrayLike, negatives: npt.ArrayLike, *, alpha: float = 0.05
) -> Estimate | NotEstimated:
    """Return the chance that a positive (m,) scores above a negative (n,), ties counting half.

    The interval is DeLong's variance on the logit; where nothing varies, that of one misranked pair. Fewer than 10 of
    either are NotEstimated. Time O((m + n) log(m + n)). Sources: DeLong, DeLong & Clarke-Pearson 1988; Pepe 2003, 5.2.

    >>> found = auc_estimate("auc", np.arange(20) + 5.0, np.arange(20.0))
    >>> round(found.value, 5)
    0.71875
    """
    above, below = vector("positives", positives), vector("negatives", negatives)
    fewest = min(above.size, below.size)
    if fewest < FEWEST:
        return NotEstimated(name, "too few positives or negatives", fewest, FEWEST)
    lower, upper = np.sort(below), np.sort(above)
    wins = (np.searchsorted(lower, above, "left") + np.searchsorted(lower, above, "right")) / (2 * below.size)
    losses = (np.searchsorted(upper, below, "left") + np.searchsorted(upper, below, "right")) / (2 * above.size)
    value = float(wins.mean())
    variance = float(wins.var(ddof=1) / above.size + losses.var(ddof=1) / below.size)
    low, high = _logit_bounds(value, variance, pairs=above.size * below.size, alpha=alpha)
    return Estimate(name, value, min(low, value), max(high, value), above.size + below.size, "delong, logit", alpha)


def _logit_bounds(value: float, variance: float, *, pairs: int, alpha: float) -> tuple[float, float]:
    inside = min(max(value, 0.5 / pairs), 1 - 0.5 / pairs)
    spread = np.sqrt(max(variance, inside * (1 - inside) / pairs)) / (inside * (1 - inside))
    z = float(norm.isf(alpha / 2))
    middle = float(np.log(inside / (1 - inside)))
    low, high = (1 / (1 + np.exp(-(middle + side * z * spread))) for side in (-1, 1))
    return float(low), float(high)


def group_aucs(
    names: list[str], codes: npt.ArrayLike, scores: npt.ArrayLike, truths: npt.ArrayLike, *, alpha: float = 0.05
) -> tuple[GroupAuc, ...]:
    """Return each group's areas from rows (n,): codes index names, scores are of the positive class, truths 0 or 1."""
    code, score = np.asarray(codes, dtype=np.int64), vector("scores", scores)
    true = np.asarray(truths, dtype=bool)
    if not code.shape == score.shape == true.shape:
        raise DetectorInputError(f"codes, scores and truths need one length, got {code.shape}, {score.shape}")
    return tuple(_of_group(name, code == g, score, true, alpha=alpha) for g, name in enumerate(names))


def _of_group(
    name: str, inside: npt.NDArray[np.bool_], score: FloatArray, true: npt.NDArray[np.bool_], *, alpha: float
) -> GroupAuc:
    mine, others = score[inside], score[~inside]
    my_truth, their_truth = true[inside], true[~inside]
    pairs = (
        (mine[my_truth], mine[~my_truth]),
        (others[their_truth], mine[~my_truth]),
        (mine[my_truth], others[~their_truth]),
    )
    subgroup, bpsn, bnsp = (
        auc_estimate(f"{kind}[{name}]", above, below, alpha=alpha)
        for kind, (above, below) in zip(KINDS, pairs, strict=True)
    )
    return GroupAuc(name, subgroup, bpsn, bnsp)
