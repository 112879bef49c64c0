"""Judge a window's sketch against the reference sketch: several detectors, one verdict that keeps alpha."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.checks import FloatArray, IntArray
from detectors.embedding_tests import embedding_tests
from detectors.errors import DetectorInputError
from detectors.kl import cells_kl, counts_js, smoothed
from detectors.novelty import novelty_shift
from detectors.permutation import RowTest, Tested, alpha_given_baseline, count_test, enough_permutations, joint_test
from detectors.results import CellShift, Comparison, DetectorResult, TooLittleData, Verdict
from detectors.sketch import Sketch
from detectors.univariate import anderson_darling, ks_distance, total_variation, upper_excess

MINIMUM = 50
NOVELTY_SHARE = 0.6  # of alpha; the others share the rest evenly. Why: docs/math/verdict.md
SAMPLE_SUFFICES = 0.8  # a histogram is judged on the sampled rows where they hold this share of all texts' information
EFFECTS = {
    "kl_cells": "share of texts that moved between the baseline's cells, 0 to 1",
    "kl_gaussian": "how many times as widely the current embeddings spread as the reference's, 1 is alike",
    "cosine": "how far the mean embedding moved, in standard deviations of the baseline, beyond chance",
    "cosine_spread": "share of texts, at least, that came nearer to the baseline's centre or went farther off, 0 to 1",
    "mmd_features": "distance between the two clouds of embeddings, 0 alike to 1 with nothing in common",
    "novelty": "share of the window's texts, at least, that are less like the baseline than its own texts, 0 to 1",
    "js_classes": "share of texts that changed predicted class, 0 to 1",
    "js_confidence": "share of texts that changed bin of confidence, 0 to 1",
    "ad_entropy": "largest gap between the cumulative shares of prediction entropy, 0 to 1",
    "ad_token_length": "largest gap between the cumulative shares of token counts, 0 to 1",
    "ad_unknown_share": "largest gap between the cumulative shares of unknown tokens per text, 0 to 1",
    "ad_truncated": "change of the share of truncated texts, 0 to 1",
}

SHARE_EFFECTS = frozenset(EFFECTS) - {"kl_gaussian", "cosine", "mmd_features"}  # the others: shares of texts

CountStatistic = Callable[[FloatArray, FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class _Histogram:
    """Counts (b,) of all texts of both sides, the pooled sampled rows' bins, and what is measured on them."""

    name: str
    unit: str
    statistic: CountStatistic
    effect: CountStatistic
    before: IntArray
    now: IntArray
    bins: npt.NDArray[np.integer]

    def in_sample(self, sizes: tuple[int, int]) -> bool:
        """Whether the sampled rows all know their bin and lose little against all texts."""
        if not self.bins.size or int(self.bins.max()) >= self.before.size or int(self.bins.min()) < 0:
            return False
        return _information(*sizes) >= SAMPLE_SUFFICES * _information(int(self.before.sum()), int(self.now.sum()))

    def as_row_test(self) -> RowTest:
        """Return the same statistic as one of the joint permutation."""
        return RowTest(np.eye(self.before.size)[self.bins], self.statistic)

    def size_of_effect(self) -> float:
        """Return the effect on all texts."""
        return float(self.effect(self.before.astype(np.float64), self.now.astype(np.float64)))


def compare_sketches(
    reference: Sketch,
    current: Sketch,
    *,
    alpha: float,
    rng: np.random.Generator,
    permutations: int = 999,
    minimum: int = MINIMUM,
    baseline_confidence: float | None = None,
) -> Comparison | TooLittleData:
    """Compare two sketches of one basis.

    Every null is a permutation null: exact for exchangeable texts. All statistics that the sampled rows carry are
    permuted together and combined by the smallest weighted p-value (`permutation.joint_test`), which keeps alpha under
    any dependence and loses nothing to it; three fifths of alpha are novelty's. Where a window has so many more texts
    than its sample that the counts of all of them tell more, those histograms are tested on all texts by themselves,
    each at its own share of alpha, and the joint family keeps the rest. Cost does not grow with the number of texts.
    More than `permutations` are drawn where a share of alpha is too small for so few.

    `baseline_confidence` lowers alpha so that this share of baselines alarms at most alpha of its windows, however
    many it judges (`permutation.alpha_given_baseline`); without it alpha holds on the average over baselines.
    Raises DetectorInputError for sketches of unlike bases, or alpha or confidence outside (0, 1).
    """
    _check(reference, current, alpha=alpha, baseline_confidence=baseline_confidence)
    for side, sketch in (("reference", reference), ("current", current)):
        if sketch.n < minimum:
            return TooLittleData(f"{side} texts", got=sketch.n, needed=minimum)
        if sketch.rows.shape[0] < min(minimum, MINIMUM):  # `without` leaves few where the part was nearly the whole
            return TooLittleData(f"sampled {side} texts", got=sketch.rows.shape[0], needed=min(minimum, MINIMUM))
    level = alpha
    if baseline_confidence is not None:
        level = alpha_given_baseline(
            alpha, reference_n=reference.n, current_n=current.n, confidence=baseline_confidence
        )
    results, combined = _judged(reference, current, alpha=level, permutations=permutations, rng=rng)
    verdict = Verdict(any(result.drift for result in results), combined, level)
    return Comparison(reference.n, current.n, results, verdict, cell_shifts(reference, current))


def _check(reference: Sketch, current: Sketch, *, alpha: float, baseline_confidence: float | None) -> None:
    for name, value in (("alpha", alpha), ("baseline_confidence", baseline_confidence)):
        if value is not None and not 0 < value < 1:
            raise DetectorInputError(f"{name} lies in (0, 1), got {value}")
    if reference.basis_digest != current.basis_digest:
        raise DetectorInputError(
            f"sketches of unlike bases are never compared: {reference.basis_digest}, {current.basis_digest}"
        )


def _judged(
    reference: Sketch, current: Sketch, *, alpha: float, permutations: int, rng: np.random.Generator
) -> tuple[tuple[DetectorResult, ...], float]:
    """Return the detectors' results and the combined p-value."""
    histograms = {one.name: one for one in _histograms(reference, current)}
    sizes = (reference.rows.shape[0], current.rows.shape[0])
    measured = embedding_tests(reference, current, rng=rng)
    joint = {name: one.test for name, one in measured.items()}
    joint |= {name: one.as_row_test() for name, one in histograms.items() if one.in_sample(sizes)}
    shares = _shares_of_alpha((*joint, *(name for name in histograms if name not in joint)))
    weight = sum(shares[name] for name in joint)
    family = joint_test(
        tuple(joint.values()),
        reference_n=sizes[0],
        current_n=sizes[1],
        weights=np.array([shares[name] for name in joint]) / weight,
        alpha=alpha * weight,
        permutations=enough_permutations(permutations, alpha=alpha * weight),
        rng=rng,
    )
    tested = dict(zip(joint, family.tests, strict=True))
    p_values = [family.p_value / weight]
    for name, one in histograms.items():
        if name not in joint:
            share = alpha * shares[name]
            drawn = enough_permutations(permutations, alpha=share)
            tested[name] = count_test(one.statistic, one.before, one.now, alpha=share, permutations=drawn, rng=rng)
            p_values.append(tested[name].p_value / shares[name])
    units = {name: one.unit for name, one in (measured | histograms).items()}
    effects = {name: one.effect for name, one in measured.items()}
    effects |= {name: one.size_of_effect() for name, one in histograms.items()}
    results = tuple(_result(name, tested[name], units[name], effects[name]) for name in EFFECTS if name in tested)
    return results, min(1.0, *p_values)


def _histograms(reference: Sketch, current: Sketch) -> list[_Histogram]:
    cells = np.concatenate([reference.row_cells, current.row_cells])
    classes = np.concatenate([reference.row_classes, current.row_classes])
    found = [
        _Histogram("kl_cells", "nats", cells_kl, total_variation, reference.cell_counts, current.cell_counts, cells),
    ]
    if reference.class_counts.size > 1:
        counts = reference.class_counts, current.class_counts
        found.append(_Histogram("js_classes", "nats", counts_js, total_variation, *counts, classes))
    measured: tuple[tuple[str, str, str, CountStatistic, CountStatistic], ...] = (
        ("novelty", "novelty", "score", novelty_shift, upper_excess),
        ("js_confidence", "confidence", "nats", counts_js, total_variation),
        ("ad_entropy", "entropy", "A²", anderson_darling, ks_distance),
        ("ad_token_length", "token_length", "A²", anderson_darling, ks_distance),
        ("ad_unknown_share", "unknown_share", "A²", anderson_darling, ks_distance),
        ("ad_truncated", "truncated", "A²", anderson_darling, ks_distance),
    )
    for name, quantity, unit, statistic, effect in measured:
        bins = np.concatenate([reference.bins_of(quantity), current.bins_of(quantity)])
        counts = reference.counts_of(quantity), current.counts_of(quantity)
        found.append(_Histogram(name, unit, statistic, effect, *counts, bins))
    return [one for one in found if one.before.sum() and one.now.sum()]


def _information(before: int, now: int) -> float:
    return before * now / (before + now)


def _shares_of_alpha(names: tuple[str, ...]) -> dict[str, float]:
    if "novelty" not in names:
        return dict.fromkeys(names, 1 / len(names))
    others = dict.fromkeys(names, (1 - NOVELTY_SHARE) / (len(names) - 1))
    return others | {"novelty": NOVELTY_SHARE}


def _result(name: str, tested: Tested, unit: str, effect: float) -> DetectorResult:
    return DetectorResult(
        name=name,
        statistic=tested.observed,
        unit=unit,
        p_value=tested.p_value,
        threshold=tested.threshold,
        drift=tested.drift,
        effect=effect,
    )


def cell_shifts(reference: Sketch, current: Sketch) -> tuple[CellShift, ...]:
    """Return every cell's shift, those that grew most (in nats of the divergence) first."""
    before = reference.cell_counts / reference.n
    now = current.cell_counts / current.n
    p, q = smoothed(current.cell_counts.astype(np.float64)), smoothed(reference.cell_counts.astype(np.float64))
    contributions = p * np.log(p / q)
    order = np.argsort(-contributions, kind="stable")
    return tuple(CellShift(int(i), float(before[i]), float(now[i]), float(contributions[i])) for i in order)
