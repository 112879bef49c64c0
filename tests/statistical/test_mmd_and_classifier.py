from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from detectors.classifier import ClassifierResult, classifier
from detectors.mmd import MmdResult, mmd

pytestmark = pytest.mark.statistical

ALPHA, B, RARE = 0.05, 99, 1e-4
Drawn = Callable[[np.random.Generator, int], Any]
SPECTRUM = np.arange(1, 33) ** -0.7


def anisotropic(rng: np.random.Generator, n: int) -> Any:
    """Rows as text embeddings are: a strong common direction, a power-law spectrum, heavy tails."""
    return (rng.standard_t(6, size=(n, 32)) * SPECTRUM + 5).astype(np.float32)


def discrete(rng: np.random.Generator, n: int) -> Any:
    """Rows of five texts over and over: statistics tie."""
    texts = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)
    return texts[rng.choice(5, size=n, p=[0.6, 0.2, 0.1, 0.07, 0.03])]


def p_values(
    test: Callable[..., Any], draw: Drawn, now: Drawn, *, runs: int, sizes: tuple[int, int], **options: Any
) -> Any:
    found = []
    for run in range(runs):
        rng = np.random.default_rng([3, run])
        result = test(draw(rng, sizes[0]), now(rng, sizes[1]), rng=rng, permutations=B, minimum=20, **options)
        assert isinstance(result, MmdResult | ClassifierResult)
        found.append(result.p_value)
    return np.array(found)


@pytest.mark.parametrize("test", [mmd, classifier])
@pytest.mark.parametrize("draw", [anisotropic, discrete])
def test_without_drift_alarms_stay_within_the_binomial_bound(test: Callable[..., Any], draw: Drawn) -> None:
    runs = 300
    found = p_values(test, draw, draw, runs=runs, sizes=(40, 30))
    for alpha in (ALPHA, 0.2):
        assert np.count_nonzero(found <= alpha) <= binom.isf(RARE, runs, alpha), alpha
    if draw is anisotropic:  # a continuous statistic uses all of its alpha
        assert np.count_nonzero(found <= 0.2) >= binom.ppf(RARE, runs, 0.2)


def test_permuting_in_bins_keeps_alpha_too() -> None:
    found = p_values(mmd, anisotropic, anisotropic, runs=200, sizes=(66, 47), bin_width=4)
    assert np.count_nonzero(found <= ALPHA) <= binom.isf(RARE, 200, ALPHA)


@pytest.mark.parametrize("test", [mmd, classifier])
def test_a_clear_shift_is_found_nearly_always(test: Callable[..., Any]) -> None:
    found = p_values(test, anisotropic, lambda rng, n: anisotropic(rng, n) + 0.5 * SPECTRUM, runs=25, sizes=(150, 150))
    assert np.count_nonzero(found <= ALPHA) >= 24


def test_bins_cost_little_power() -> None:
    def shifted(rng: np.random.Generator, n: int) -> Any:
        return anisotropic(rng, n) + 0.09 * SPECTRUM

    single, binned = (
        p_values(mmd, anisotropic, shifted, runs=60, sizes=(256, 256), bin_width=width) for width in (1, 4)
    )
    assert 10 < np.count_nonzero(single <= ALPHA) < 60
    assert np.count_nonzero(binned <= ALPHA) >= np.count_nonzero(single <= ALPHA) - 6
