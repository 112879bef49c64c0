"""What every two-sample detector keeps: valid p-values of finite statistics; bad rows are refused in a line."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom

from detectors.classifier import ClassifierResult, classifier
from detectors.compare import EFFECTS, compare_sketches
from detectors.errors import DetectorInputError
from detectors.mmd import MmdResult, mmd
from detectors.neighbours import knn_kl_test
from detectors.permutation import count_test
from detectors.results import Comparison, DetectorResult, TooLittleData
from detectors.segments import SegmentSearch, search_segments
from detectors.sketch import Sketch, fit_basis, fold
from detectors.univariate import anderson_darling, chi_square, ks_distance, pooled_bins

ALPHA, RARE = 0.05, 1e-4
WIDTH, ROWS, CALM_DRAWS = 4, 100, 200
BASIS = fit_basis(
    np.random.default_rng(0).normal(size=(300, WIDTH)), rng=np.random.default_rng(1), cells=8, classes=("low", "high")
)
KINDS = {"anderson_darling": anderson_darling, "kolmogorov_smirnov": ks_distance, "chi_square": chi_square}


@dataclass(frozen=True, slots=True)
class Outcome:
    statistic: float
    p_value: float
    drift: bool


Found = dict[str, Outcome] | TooLittleData
Run = Callable[[np.ndarray, np.ndarray, np.random.Generator], Found]


def as_sketch(rows: np.ndarray) -> Sketch:
    """Every quantity of a sketch follows from a column, so that a change of rows changes them all."""
    first, second = (rows[:, column].astype(np.float64) for column in (0, 1))
    return fold(
        BASIS,
        rows,
        row_ids=np.arange(rows.shape[0]),
        classes=(second > 0).astype(np.int64),
        confidences=expit(first),
        entropies=np.abs(second),
        token_lengths=np.clip(10 + 4 * first, 0, None),
        unknown_shares=np.where(second > 1, 0.1, 0.0),
        truncated=(first > 1).astype(np.float64),
    )


def sketches(reference: np.ndarray, current: np.ndarray, rng: np.random.Generator) -> Found:
    sides = as_sketch(reference), as_sketch(current)
    found = compare_sketches(*sides, alpha=ALPHA, rng=rng, permutations=199)
    if isinstance(found, TooLittleData):
        return found
    assert isinstance(found, Comparison)
    own = {one.name: Outcome(one.statistic, one.p_value, one.drift) for one in found.detectors}
    verdict = found.verdict
    return own | {"verdict": Outcome(sum(one.drift for one in found.detectors), verdict.p_value, verdict.drift)}


def neighbours(reference: np.ndarray, current: np.ndarray, rng: np.random.Generator) -> Found:
    found = knn_kl_test(reference, current, alpha=ALPHA, rng=rng, neighbours=8, permutations=99)
    if isinstance(found, TooLittleData):
        return found
    assert isinstance(found, DetectorResult)
    return {found.name: Outcome(found.statistic, found.p_value, found.drift)}


def kernels(reference: np.ndarray, current: np.ndarray, rng: np.random.Generator) -> Found:
    return told(mmd(reference, current, rng=rng, permutations=39))


def learned(reference: np.ndarray, current: np.ndarray, rng: np.random.Generator) -> Found:
    return told(classifier(reference, current, rng=rng, permutations=39))


def told(found: MmdResult | ClassifierResult | TooLittleData) -> Found:
    if isinstance(found, TooLittleData):
        return found
    return {found.name: Outcome(found.statistic, found.p_value, found.p_value <= ALPHA)}


def univariate(reference: np.ndarray, current: np.ndarray, rng: np.random.Generator) -> Found:
    bins = pooled_bins(np.concatenate([reference[:, 0], current[:, 0]]))
    counts = [np.bincount(side, minlength=bins.max() + 1) for side in np.split(bins, [reference.shape[0]])]
    found = {name: count_test(kind, *counts, alpha=ALPHA, permutations=99, rng=rng) for name, kind in KINDS.items()}
    return {name: Outcome(one.observed, one.p_value, one.drift) for name, one in found.items()}


def segments(reference: np.ndarray, current: np.ndarray, rng: np.random.Generator) -> Found:
    signs = [{"sign": ["high" if value > 0 else "low" for value in side[:, 1]]} for side in (reference, current)]
    found = search_segments(
        reference,
        current,
        reference_attributes=signs[0],
        current_attributes=signs[1],
        alpha=ALPHA,
        rng=rng,
        permutations=199,
    )
    if isinstance(found, TooLittleData):
        return found
    assert isinstance(found, SegmentSearch)
    first = min(found.tested, key=lambda one: one.adjusted_p_value)
    return {"segments": Outcome(first.effect, first.adjusted_p_value, first.drift)}


@dataclass(frozen=True, slots=True)
class Adapter:
    """names: what one run judges; minimum rows a side, 0 where any will do; tolerance of the statistic under another
    order of the rows, by which its permutations, folds or unit go (their docstrings say so)."""

    run: Run
    names: tuple[str, ...]
    minimum: int
    tolerance: float = 1e-9


ADAPTERS = {
    "sketches": Adapter(sketches, (*EFFECTS, "verdict"), 50),
    "neighbours": Adapter(neighbours, ("kl_knn",), 9, tolerance=0.35),
    "mmd": Adapter(kernels, ("mmd",), 50, tolerance=0.5),
    "classifier": Adapter(learned, ("classifier",), 50, tolerance=0.1),
    "univariate": Adapter(univariate, tuple(KINDS), 0),
    "segments": Adapter(segments, ("segments",), 30),
}
MULTIVARIATE = [name for name in ADAPTERS if name != "univariate"]
DETECTORS = [(family, name) for family, adapter in ADAPTERS.items() for name in adapter.names]

every_family = pytest.mark.parametrize("family", ADAPTERS)
every_detector = pytest.mark.parametrize(("family", "name"), DETECTORS, ids=[name for _, name in DETECTORS])


def rows(seed: int, n: int = ROWS) -> np.ndarray:
    return np.random.default_rng([20, seed]).normal(size=(n, WIDTH))


CALM = rows(1), rows(2)
SHIFTED = CALM[0], 2.5 * rows(2) + 2.5


def judged(family: str, reference: np.ndarray, current: np.ndarray, *, seed: int = 7) -> dict[str, Outcome]:
    found = ADAPTERS[family].run(reference, current, np.random.default_rng(seed))
    assert not isinstance(found, TooLittleData), found
    assert set(found) == set(ADAPTERS[family].names)
    for name, one in found.items():
        assert np.isfinite(one.statistic), name
        assert 0 < one.p_value <= 1, name
    return found


def calm(found: dict[str, Outcome]) -> bool:
    return all(not one.drift and one.p_value > ALPHA / 5 for one in found.values())


@every_family
def test_the_same_seed_gives_the_same_result(family: str) -> None:
    assert judged(family, *CALM) == judged(family, *CALM)
    assert judged(family, *SHIFTED) == judged(family, *SHIFTED)


@every_detector
def test_an_obvious_shift_is_drift(family: str, name: str) -> None:
    found = judged(family, *SHIFTED)[name]
    assert found.p_value <= ALPHA
    assert found.drift


@every_family
def test_rows_of_one_distribution_are_no_drift(family: str) -> None:
    assert calm(judged(family, *CALM)), judged(family, *CALM)


@lru_cache
def p_values_without_drift(family: str) -> dict[str, np.ndarray]:
    small = ROWS if family == "segments" else 60  # about half of the rows in either segment
    runs = []
    for draw in range(CALM_DRAWS):
        sides = np.split(np.random.default_rng([21, draw]).normal(size=(2 * small, WIDTH)), 2)
        runs.append({name: one.p_value for name, one in judged(family, *sides, seed=draw).items()})
    return {name: np.array([run[name] for run in runs]) for name in ADAPTERS[family].names}


@every_detector
def test_without_drift_alarms_are_no_more_frequent_than_alpha(family: str, name: str) -> None:
    alarms = int(np.count_nonzero(p_values_without_drift(family)[name] <= ALPHA))
    assert alarms <= binom.isf(RARE, CALM_DRAWS, ALPHA)


@every_family
@pytest.mark.parametrize("sides", [CALM, SHIFTED], ids=["calm", "shifted"])
def test_the_order_of_the_rows_within_a_side_does_not_decide(family: str, sides: tuple[np.ndarray, np.ndarray]) -> None:
    rng = np.random.default_rng(3)
    there, shuffled = judged(family, *sides), judged(family, *(rng.permutation(side) for side in sides))
    for name, one in there.items():
        assert shuffled[name].drift == one.drift, name
        tolerance = ADAPTERS[family].tolerance
        assert shuffled[name].statistic == pytest.approx(one.statistic, rel=tolerance, abs=tolerance), name


@every_family
@pytest.mark.parametrize("sides", [CALM, SHIFTED], ids=["calm", "shifted"])
def test_half_precision_gives_the_verdict_of_single(family: str, sides: tuple[np.ndarray, np.ndarray]) -> None:
    halves = [side.astype(np.float16) for side in sides]
    found = judged(family, *halves)
    singles = judged(family, *(half.astype(np.float32) for half in halves))
    assert {name: one.drift for name, one in found.items()} == {name: one.drift for name, one in singles.items()}
    for name, one in singles.items():
        assert found[name].statistic == pytest.approx(one.statistic, rel=1e-6, abs=1e-9), name
    unrounded = judged(family, *(side.astype(np.float32) for side in sides))
    assert {name: one.drift for name, one in found.items()} == {name: one.drift for name, one in unrounded.items()}


@every_family
def test_constant_columns_neither_alarm_nor_hide_a_shift(family: str) -> None:
    before, now = (np.column_stack([side[:, :2], np.ones((ROWS, 2))]) for side in CALM)
    assert calm(judged(family, before, now))
    found = judged(family, before, np.column_stack([2.5 * now[:, :2] + 2.5, now[:, 2:]]))
    assert all(one.drift for one in found.values()), found


@every_family
def test_rows_all_alike_on_both_sides_are_never_drift(family: str) -> None:
    same = np.repeat(rows(4, 1), ROWS, axis=0)
    found = ADAPTERS[family].run(same, same, np.random.default_rng(0))
    if isinstance(found, TooLittleData):
        assert found.reason.startswith("distinct rows")
        assert (found.got, found.needed > 1) == (1, True)
    else:
        assert all(one.p_value == pytest.approx(1.0) and not one.drift for one in found.values()), found


@every_family
def test_ten_copies_of_one_text_on_either_side_are_no_drift(family: str) -> None:
    sides = [side.copy() for side in CALM]
    for side in sides:
        side[:10] = sides[0][0]
    assert calm(judged(family, *sides)), judged(family, *sides)


@every_family
def test_a_window_of_ten_copies_of_one_text_gives_a_typed_answer(family: str) -> None:
    found = ADAPTERS[family].run(CALM[0], np.repeat(rows(4, 1), 10, axis=0), np.random.default_rng(0))
    if ADAPTERS[family].minimum > 10:
        assert isinstance(found, TooLittleData)
    else:
        judged(family, CALM[0], np.repeat(rows(4, 1), 10, axis=0))


@every_family
def test_a_class_that_is_empty_on_both_sides_is_no_drift_and_on_one_side_is_finite(family: str) -> None:
    high = [np.column_stack([side[:, 0], np.abs(side[:, 1]), side[:, 2:]]) for side in CALM]
    assert calm(judged(family, *high)), judged(family, *high)
    judged(family, CALM[0], high[1])
    judged(family, high[0], CALM[1])


@pytest.mark.parametrize("family", MULTIVARIATE)
@pytest.mark.parametrize("empty", [True, False], ids=["none", "one short"])
@pytest.mark.parametrize("side", [0, 1])
def test_too_few_rows_on_a_side_are_typed(family: str, empty: bool, side: int) -> None:
    few = 0 if empty else ADAPTERS[family].minimum - 1
    sides = list(CALM)
    sides[side] = sides[side][:few]
    found = ADAPTERS[family].run(*sides, np.random.default_rng(0))
    assert isinstance(found, TooLittleData)
    assert found.got <= few < found.needed == ADAPTERS[family].minimum


@pytest.mark.parametrize("sides", [(CALM[0][:0], CALM[1]), (CALM[0], CALM[1][:0])], ids=["reference", "current"])
def test_counts_take_any_number_but_none(sides: tuple[np.ndarray, np.ndarray]) -> None:
    judged("univariate", CALM[0][:1], CALM[1][:1])
    with pytest.raises(DetectorInputError, match="both sides must count something"):
        univariate(*sides, np.random.default_rng(0))


@pytest.mark.parametrize("family", MULTIVARIATE)
def test_unlike_widths_are_refused_in_a_line_that_names_both(family: str) -> None:
    with pytest.raises(DetectorInputError, match=f"{WIDTH}.*3") as refused:
        ADAPTERS[family].run(CALM[0], CALM[1][:, :3], np.random.default_rng(0))
    assert "\n" not in str(refused.value)


@every_family
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_a_value_that_is_not_finite_is_refused_in_a_line_that_names_it(family: str, value: float, side: int) -> None:
    sides = [each.copy() for each in CALM]
    sides[side][17, 0] = value
    with pytest.raises(DetectorInputError, match=str(value)) as refused:
        ADAPTERS[family].run(*sides, np.random.default_rng(0))
    assert "\n" not in str(refused.value)
