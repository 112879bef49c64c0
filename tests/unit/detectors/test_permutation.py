"""Permuted counts: the multivariate hypergeometric distribution, for any number of observations."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare, hypergeom, multivariate_hypergeom

from detectors.compare import compare_sketches
from detectors.permutation import permuted_counts, thinned_counts
from detectors.results import Comparison
from detectors.sketch import Sketch, fit_basis, fold, merge


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
