"""Permutation: counts of any number of observations, rows in blocks, families, and when sampling may stop."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare, hypergeom, multivariate_hypergeom

from detectors.checks import FloatArray
from detectors.compare import compare_sketches
from detectors.errors import DetectorInputError
from detectors.permutation import (
    Family,
    RowTest,
    alpha_given_baseline,
    count_test,
    critical_value,
    dealt_in_blocks,
    family_test,
    joint_test,
    p_value,
    permuted_counts,
    sequential_p_value,
    thinned_counts,
)
from detectors.results import Comparison
from detectors.sketch import Sketch, fit_basis, fold, merge
from detectors.univariate import chi_square


def test_thinned_counts_have_the_exact_probabilities() -> None:
    # every outcome of dealing 4 of (3, 4, 2) observations, against its enumerated probability
    pooled, drawn, size = np.array([3, 4, 2]), 4, 50_000
    found = Counter(map(tuple, thinned_counts(pooled, drawn, permutations=size, rng=np.random.default_rng(1)).tolist()))
    outcomes = [one for one in np.ndindex(4, 5, 3) if sum(one) == drawn]
    assert set(found) <= set(outcomes)
    expected = [size * multivariate_hypergeom.pmf(one, pooled, drawn) for one in outcomes]
    assert chisquare([found[one] for one in outcomes], expected).pvalue > 1e-3


@pytest.mark.parametrize("total", [10**9, 2 * 10**9, 4 * 10**18])
def test_counts_beyond_the_limit_of_numpy_keep_their_margins_mean_and_variance(total: int) -> None:
    shares = np.array([0.5, 0.3, 0.1, 0.0999999, 1e-7])
    reference, current = (shares * total * 0.6).astype(np.int64), (shares * total * 0.4).astype(np.int64)
    size = 4000
    drawn = permuted_counts(reference, current, permutations=size, rng=np.random.default_rng(2))
    pooled, n = reference + current, int(current.sum())
    assert (drawn.sum(axis=1) == n).all()
    assert ((drawn >= 0) & (drawn <= pooled)).all()
    whole = int(pooled.sum())
    share = pooled / whole
    mean, variance = n * share, n * share * (1 - share) * (whole - n) / (whole - 1)
    # both bounds are 5 standard errors: sqrt(var / size), and var · sqrt(2 / size)
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * np.sqrt(variance / size) + 1e-15 * total).all()
    assert (np.abs(drawn.var(axis=0, ddof=1) / variance - 1) < 5 * np.sqrt(2 / size)).all()


def test_a_rare_cell_among_two_billion_is_hypergeometric() -> None:
    reference, current, size = np.array([10**9 - 5, 5]), np.array([10**9 - 3, 3]), 20_000
    rare = permuted_counts(reference, current, permutations=size, rng=np.random.default_rng(3))[:, 1]
    expected = size * hypergeom.pmf(np.arange(9), 2 * 10**9, 8, 10**9)
    assert chisquare(np.bincount(rare, minlength=9), expected * size / expected.sum()).pvalue > 1e-3


def test_a_window_of_two_billion_texts_is_judged() -> None:
    rng = np.random.default_rng(4)
    basis = fit_basis(rng.normal(size=(200, 16)), rng=rng)
    parts = [
        fold(basis, rng.normal(size=(400, 16)), row_ids=np.arange(400) + first, classes=None) for first in (0, 400)
    ]

    def doubled(sketch: Sketch, times: int) -> Sketch:
        for _ in range(times):
            sketch = merge([sketch, sketch])
        return sketch

    sides = [doubled(part, 22) for part in parts]
    assert sides[1].n == 400 * 2**22 > 10**9
    found = compare_sketches(*sides, alpha=0.05, rng=rng, permutations=199)
    assert isinstance(found, Comparison)
    assert all(np.isfinite([one.statistic, one.p_value, one.threshold]).all() for one in found.detectors)


def test_a_p_value_counts_ties_and_is_never_zero() -> None:
    assert p_value(9.0, np.zeros(99)) == 0.01
    assert p_value(0.0, np.zeros(99)) == 1.0


def test_the_critical_value_is_where_the_p_value_crosses_alpha() -> None:
    null = np.random.default_rng(0).normal(size=999)
    threshold = critical_value(null, alpha=0.05)
    assert p_value(threshold, null) <= 0.05 < p_value(threshold - 0.05, null)


def test_a_statistic_that_is_not_finite_has_no_p_value() -> None:
    with pytest.raises(DetectorInputError, match="must be finite to have a p-value, got nan"):
        p_value(float("nan"), np.zeros(9))
    with pytest.raises(DetectorInputError, match="got inf"):
        family_test(np.array([0.0, np.inf]), lambda n: np.zeros((n, 2)), weights=np.ones(2), alpha=0.05, permutations=9)


def test_a_sequential_p_value_is_told_at_the_exceedance_that_suffices_and_else_counts_all() -> None:
    values = iter(np.tile([3.0, 1.0, 1.0, 1.0], 100))

    def draw(count: int) -> FloatArray:
        return np.array([[next(values)] for _ in range(count)])

    assert sequential_p_value(2.0, draw, permutations=400, enough=10) == pytest.approx(10 / 37)
    values = iter(np.tile([3.0, 1.0, 1.0, 1.0], 100))
    assert sequential_p_value(2.0, draw, permutations=36, enough=10) == pytest.approx(10 / 37)


def test_blocks_hold_every_permutation_and_keep_the_marks() -> None:
    blocks = list(dealt_in_blocks(np.array([0, 0, 1]), permutations=7, block=3, rng=np.random.default_rng(0)))
    assert [block.shape for block in blocks] == [(3, 3), (3, 3), (1, 3)]
    assert all((block.sum(axis=1) == 1).all() for block in blocks)


def mean_gap(rows: FloatArray, reference_n: int) -> RowTest:
    current_n = rows.shape[0] - reference_n
    return RowTest(rows, lambda before, now: np.linalg.norm(now / current_n - before / reference_n, axis=1))


def joint(
    *tests: RowTest, sizes: tuple[int, int], alpha: float = 0.05, permutations: int = 1999, seed: int = 0
) -> Family:
    return joint_test(
        tests,
        reference_n=sizes[0],
        current_n=sizes[1],
        weights=np.full(len(tests), 1 / len(tests)),
        alpha=alpha,
        permutations=permutations,
        rng=np.random.default_rng(seed),
    )


def test_a_joint_p_value_is_that_of_all_relabellings_counted_one_by_one() -> None:
    rows = np.random.default_rng(3).normal(size=(12, 1)) + np.repeat([0.0, 1.0], [6, 6])[:, None]
    gaps = []
    for chosen in combinations(range(12), 6):
        inside = np.isin(np.arange(12), chosen)
        gaps.append(abs(rows[inside].mean() - rows[~inside].mean()))
    exact = np.mean(np.array(gaps) >= abs(rows[6:].mean() - rows[:6].mean()) - 1e-12)
    found = joint(mean_gap(rows, 6), sizes=(6, 6), alpha=0.5, permutations=20_000)
    assert found.tests[0].p_value == pytest.approx(exact, rel=0.1)
    assert found.p_value == pytest.approx(exact, rel=0.1)


def test_blocks_of_rows_give_the_null_of_single_rows() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(3000, 2))
    rows[2000:] += 0.06
    blocks = joint(mean_gap(rows, 2000), sizes=(2000, 1000), alpha=0.2, permutations=4999)
    order = [rng.permutation(3000) for _ in range(2000)]
    null = np.array([np.linalg.norm(rows[o[2000:]].mean(0) - rows[o[:2000]].mean(0)) for o in order])
    assert blocks.tests[0].observed == pytest.approx(np.linalg.norm(rows[2000:].mean(0) - rows[:2000].mean(0)))
    assert blocks.tests[0].p_value == pytest.approx(p_value(blocks.tests[0].observed, null), abs=0.04)


def test_copies_of_one_statistic_cost_nothing() -> None:
    rows = np.random.default_rng(6).normal(size=(200, 1)) + np.repeat([0.0, 0.4], 100)[:, None]
    one = joint(mean_gap(rows, 100), sizes=(100, 100))
    five = joint(*[mean_gap(rows, 100)] * 5, sizes=(100, 100))
    assert five.p_value == pytest.approx(one.p_value, rel=0.05)
    assert all(test.p_value == five.tests[0].p_value for test in five.tests)


def gaps_of_permutations(rows: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    half = rows.shape[0] // 2
    dealt = rng.permuted(np.broadcast_to(np.repeat([0.0, 1.0], half), (count, 2 * half)), axis=1)
    return np.abs(dealt @ rows / half - (rows.sum() - dealt @ rows) / half)[:, 0]


def test_stopping_early_decides_as_all_permutations_do() -> None:
    agreed = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(120, 1)) + np.repeat([0.0, 0.35], 60)[:, None]
        test = mean_gap(rows, 60)
        stopped = joint(test, sizes=(60, 60), permutations=999, seed=seed)
        # 999 permutations of the same stream, none left out: no statistic ever reaches 10,000 exceedances
        observed = np.array([stopped.tests[0].observed])
        stream = np.random.default_rng(seed)
        drawn = [gaps_of_permutations(rows, count, stream) for count in (200, 100, 200, 400, 299)]
        null = np.concatenate(drawn[1:])
        full = p_value(float(observed[0]), null) <= 0.05
        assert stopped.tests[0].drift == full == (stopped.p_value <= 0.05)
        agreed.add(full)
    assert agreed == {True, False}


def test_stopping_early_decides_as_all_do_where_alpha_allows_no_whole_number_of_exceedances() -> None:
    # alpha (B + 1) = 50.5: exceedances 50 and 51 come at 1,005 and 1,009 of 1,009, so p of all is 52/1010 > .05
    null = np.zeros(1009)
    null[[*range(49), 1004, 1008]] = 9.0
    values = iter([*np.random.default_rng(0).normal(size=200), *null])

    def draw(count: int) -> FloatArray:
        return np.array([[next(values)] for _ in range(count)])

    found = family_test(np.array([5.0]), draw, weights=np.ones(1), alpha=0.05, permutations=1009)
    assert found.p_value == found.tests[0].p_value == pytest.approx(51 / 1009)
    assert not found.tests[0].drift


def test_threshold_and_decision_agree_in_a_family() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(300, 4)) + np.repeat([0.0, 0.12], 150)[:, None]
        found = joint(mean_gap(rows, 150), mean_gap(rows**2, 150), sizes=(150, 150), seed=seed, permutations=499)
        assert all((test.observed >= test.threshold) == test.drift for test in found.tests)
        assert any(test.drift for test in found.tests) == (found.p_value <= 0.05)


def test_a_weighty_statistic_alarms_earlier_than_a_light_one() -> None:
    rng = np.random.default_rng(1)
    null = rng.normal(size=(6000, 2))
    used = iter(np.split(null, 60))

    def draw(count: int) -> FloatArray:
        return np.concatenate([next(used) for _ in range(count // 100)])

    found = family_test(np.zeros(2), draw, weights=np.array([0.9, 0.1]), alpha=0.05, permutations=2000)
    heavy, light = (test.threshold for test in found.tests)
    assert heavy < light
    assert found.p_value > 0.2


def test_statistics_that_cannot_vary_never_alarm() -> None:
    found = joint(mean_gap(np.ones((80, 2)), 40), sizes=(40, 40))
    assert found.p_value == 1.0
    assert not found.tests[0].drift
    assert found.tests[0].threshold > found.tests[0].observed
    counted = count_test(
        chi_square,
        np.array([9, 0]),
        np.array([7, 0]),
        alpha=0.05,
        permutations=99,
        rng=np.random.default_rng(0),
    )
    assert counted.p_value == 1.0
    assert not counted.drift


def test_a_statistic_of_nothing_but_rounding_never_alarms() -> None:
    rng = np.random.default_rng(8)

    def draw(count: int) -> FloatArray:
        return np.column_stack([1e-12 * rng.random(count), rng.normal(size=count)])

    found = family_test(np.array([5e-10, 0.1]), draw, weights=np.array([0.5, 0.5]), alpha=0.05, permutations=999)
    assert found.p_value > 0.2
    assert [test.drift for test in found.tests] == [False, False]


def test_a_baseline_that_must_last_asks_for_more() -> None:
    levels = [
        alpha_given_baseline(0.05, reference_n=300, current_n=n, confidence=0.95) for n in (3, 30, 300, 3000, 300_000)
    ]
    assert levels[0] == pytest.approx(0.05, abs=0.02)
    assert all(0 < level <= 0.05 for level in levels)
    assert min(levels) == levels[2]
