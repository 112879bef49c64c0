"""Coverage of accuracies from few labels, and from none: a seeded slice of the committed tables."""

import numpy as np
import pytest
from scipy.stats import binom

from bench.prediction_powered import CLINC, Population, asked_where_unsure, clinc, coverage, synthetic
from detectors.estimated_accuracy import estimated_accuracy
from detectors.estimates import Estimate

pytestmark = pytest.mark.statistical

REPEATS = 150
LEAST = float(binom.ppf(1e-3, REPEATS, 0.95)) / REPEATS  # coverage of 95 % falls below once in a thousand


@pytest.fixture(scope="module")
def asked() -> Population:
    if not CLINC.is_dir():
        pytest.skip("CLINC150 is not at ../shared/data/clinc150")
    return clinc(5)


@pytest.mark.parametrize(("accuracy", "spread", "n"), [(0.8, 0.3, 30), (0.9, 2.0, 100), (0.98, 0.3, 100)])
def test_prediction_powered_intervals_hold(accuracy: float, spread: float, n: int) -> None:
    population = synthetic(accuracy, spread, rng=np.random.default_rng(1), size=50_000)
    assert coverage(population, n, repeats=REPEATS, seed=11)["coverage"] >= LEAST


def test_on_clinc_they_hold_and_are_a_third_narrower_than_labels_only(asked: Population) -> None:
    found = coverage(asked, 200, repeats=REPEATS, seed=12)
    assert found["coverage"] >= LEAST
    assert found["narrower_ratio"] >= 0.3


def test_they_hold_where_doubtful_texts_are_preferred_and_the_naive_share_is_far_off(asked: Population) -> None:
    found = asked_where_unsure(asked, 300, repeats=REPEATS, seed=13)
    assert found["coverage"] >= LEAST
    assert found["naive_bias"] < -0.05
    assert abs(found["bias"]) < 0.01


@pytest.mark.parametrize(("m", "n", "later"), [(500, 500, 0.9), (2000, 2000, 0.8)])
def test_accuracy_before_labels_holds_what_labels_show_while_scores_mean_the_same(m: int, n: int, later: float) -> None:
    rng, held = np.random.default_rng([m, n]), 0
    for _ in range(400):
        before, now = (rng.beta(3 * share, 3 * (1 - share), size) for share, size in ((0.9, m), (later, n)))
        found = estimated_accuracy(before, rng.random(m) < before, now).estimate
        assert isinstance(found, Estimate)
        held += found.low <= (rng.random(n) < now).mean() <= found.high
    assert held >= binom.ppf(1e-3, 400, 0.95)


def test_texts_of_no_known_class_break_the_assumption_and_doubt_says_so(asked: Population) -> None:
    scores, right = asked
    rng = np.random.default_rng(14)
    known = rng.permutation(np.flatnonzero(right == 1))
    wrong = rng.permutation(np.flatnonzero(right == 0))
    before = np.concatenate([known[:1500], wrong[:150]])
    now = np.concatenate([known[1500:2000], wrong[200:1200]])
    found = estimated_accuracy(scores[before], right[before], scores[now])
    assert isinstance(found.estimate, Estimate)
    assert found.estimate.low > right[now].mean()  # a promise that is not kept
    assert not found.reliable
