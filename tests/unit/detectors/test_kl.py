import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from detectors.errors import DetectorInputError
from detectors.kl import (
    corrected_cells_kl,
    gaussian_kl,
    js_divergence,
    kl_divergence,
    population_stability_index,
    quantile_counts,
    unbiased_gaussian_kl,
)

SHARES = st.lists(st.floats(0.01, 1), min_size=2, max_size=12).map(lambda w: np.array(w) / sum(w))


@given(SHARES, st.randoms(use_true_random=False))
def test_kl_is_scipys_and_never_negative(p: np.ndarray, random) -> None:
    q = p.copy()
    random.shuffle(q)
    assert kl_divergence(p, q) == pytest.approx(float(entropy(p, q)), abs=1e-9)
    assert kl_divergence(p, q) >= 0
    assert 0 <= js_divergence(p, q) <= np.log(2) + 1e-12


def test_the_corrected_divergence_of_counts_is_unbiased_where_the_smoothed_one_is_not() -> None:
    rng = np.random.default_rng(0)
    p, q = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.25, 0.25, 0.25, 0.25])
    current, reference = rng.multinomial(200, p, size=40_000), rng.multinomial(300, q, size=40_000)
    read = corrected_cells_kl(reference.astype(float), current.astype(float))
    error = read.std() / np.sqrt(read.size)
    assert abs(read.mean() - entropy(p, q)) < 4 * error + 1 / 200**2
    null = corrected_cells_kl(reference.astype(float), rng.multinomial(200, q, size=40_000).astype(float))
    assert abs(null.mean()) < 4 * null.std() / np.sqrt(null.size) + 1 / 200**2


def test_psi_of_a_hand_computed_table() -> None:
    # halves (2, 2) and (1, 3), add-half smoothed to (.5, .5) and (.3, .7): -.2 ln .6 + .2 ln 1.4
    found = population_stability_index([1, 1, 2, 2], [1, 2, 2, 2], bins=2)
    assert found == pytest.approx(-0.2 * np.log(0.6) + 0.2 * np.log(1.4))


def test_ties_fall_into_one_bin_and_a_constant_reference_still_tells_below_from_above() -> None:
    before, now = quantile_counts([0, 0, 0, 0, 0, 0, 0, 0, 1, 2], [0, 0, 1, 3], bins=10)
    assert before.sum() == 10
    assert now.sum() == 4
    assert before.size == 3
    before, now = quantile_counts([5, 5, 5], [4, 5, 6])
    assert before.tolist() == [0, 3, 0]
    assert now.tolist() == [1, 1, 1]


def test_the_unbiased_gaussian_form_is_unbiased_where_the_plain_one_is_not() -> None:
    rng, k, n, m = np.random.default_rng(3), 5, 40, 60
    mean, deviations = np.array([0.5, 0, 0, 0, 0]), np.array([1, 0.7, 1, 1, 1.2])
    true = float(gaussian_kl(mean, np.diag(deviations**2), np.zeros(k), np.eye(k)))
    plain, unbiased = [], []
    for _ in range(3000):
        now, before = rng.normal(size=(n, k)) * deviations + mean, rng.normal(size=(m, k))
        moments = now.mean(axis=0), np.cov(now.T), before.mean(axis=0), np.cov(before.T)
        plain.append(float(gaussian_kl(*moments)))
        unbiased.append(unbiased_gaussian_kl(*moments, n_p=n, n_q=m))
    error = np.std(unbiased) / np.sqrt(3000)
    assert abs(np.mean(unbiased) - true) < 4 * error
    assert np.mean(plain) - true > 0.2


def test_too_few_rows_for_the_unbiased_form_are_named() -> None:
    with pytest.raises(DetectorInputError, match="n_q > 4, got 9 and 4"):
        unbiased_gaussian_kl(np.zeros(2), np.eye(2), np.zeros(2), np.eye(2), n_p=9, n_q=4)
