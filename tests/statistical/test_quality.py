"""A slice of bench/quality_intervals.py, each count of misses held to its binomial bound."""

import numpy as np
import pytest
from scipy.stats import binom

from detectors.confidence import confidence_sequence
from detectors.degradation import DegradationRule, start_degradation, update_degradation
from detectors.estimates import Estimate
from detectors.maturity import arrival_probability, delay_distributions
from detectors.quality import classification_quality
from detectors.sequences import empirical_bernstein_sequence
from detectors.weighted import mean_estimate

pytestmark = pytest.mark.statistical
ALPHA = 0.05


@pytest.mark.parametrize("mean", [0.9, 0.05])
def test_sequences_hold_the_mean_at_all_of_1e5_looks(mean: float) -> None:
    runs, missed = 40, np.zeros(3, dtype=int)
    for run in range(runs):
        rng = np.random.default_rng([11, run])
        values = (rng.random(100_000) < mean).astype(float)
        chances = np.where(values, 0.1, 0.4)
        drawn = rng.random(values.size) < chances
        weighed = confidence_sequence(
            values[drawn], grid=20, inclusion_probability=chances[drawn], least_inclusion_probability=0.1
        )
        found = (confidence_sequence(values, grid=20), empirical_bernstein_sequence(values), weighed)
        missed += [one.last.lower >= mean - 1e-9 or one.last.upper <= mean + 1e-9 for one in found]
        assert found[0].last.upper - found[0].last.lower <= 0.1 + 1e-9
    assert (missed <= binom.isf(1e-3, runs, ALPHA)).all()


def test_intervals_cover_where_uncertain_rows_are_drawn_and_the_plain_estimate_is_off() -> None:
    runs, size, held, plain = 400, 3000, np.zeros(3, dtype=int), []
    true = 5 / 6.2
    for run in range(runs):
        rng = np.random.default_rng([12, run])
        confidence = rng.beta(5, 1.2, size=size)
        truth = rng.integers(0, 4, size)
        answer = np.where(rng.random(size) < confidence, truth, (truth + rng.integers(1, 4, size)) % 4)
        chance = 0.02 + 0.3 * (1 - confidence)
        drawn = rng.random(size) < chance
        accuracy, macro, precision = classification_quality(
            answer[drawn], truth[drawn], inclusion_probability=chance[drawn]
        )[:3]
        held += [isinstance(m, Estimate) and m.low <= true <= m.high for m in (accuracy, macro, precision)]
        plain.append(np.mean(answer[drawn] == truth[drawn]))
    assert np.mean(plain) < true - 0.05
    assert (held >= binom.ppf(1e-3, runs, 0.94)).all()
    assert (held <= binom.isf(1e-3, runs, 0.97)).all()


@pytest.mark.parametrize(("of_right", "of_wrong"), [(24, 72), (72, 24)])
def test_late_labels_of_wrong_or_right_answers_bias_the_plain_estimate_alone(of_right: int, of_wrong: int) -> None:
    runs, true, plain, value, held = 100, 0.85, [], [], 0
    for run in range(runs):
        rng = np.random.default_rng([13, run])
        age = np.concatenate([rng.uniform(84, 1000, size=4000), rng.uniform(12, 84, size=2000)])
        right = rng.random(age.size) < true
        delay = rng.exponential(np.where(right, of_right, of_wrong))
        here, kind = (delay <= age) & (delay <= 400), np.where(right, "right", "wrong")
        delays = delay_distributions(delay[here], age[here], kind[here], horizon=400)
        cohort = here & (np.arange(age.size) >= 4000)
        chance = arrival_probability(kind[cohort], age[cohort], delays, cohort_youngest=age[4000:].min())
        assert isinstance(chance, np.ndarray)
        found = mean_estimate("accuracy", right[cohort], inclusion_probability=chance)
        assert isinstance(found, Estimate)
        plain.append(right[cohort].mean())
        value.append(found.value)
        held += found.low <= true <= found.high
    assert abs(np.mean(plain) - true) > 0.03
    assert abs(np.mean(value) - true) < 0.01
    assert held >= binom.ppf(1e-3, runs, 0.93)


def test_no_incident_opens_while_the_error_ratio_is_at_the_limit() -> None:
    runs, rule = 200, DegradationRule(limit=0.1, alpha=ALPHA)
    opened = sum(
        update_degradation(start_degradation(), np.random.default_rng([14, run]).random(20_000) < 0.1, rule=rule)[
            0
        ].incidents
        > 0
        for run in range(runs)
    )
    assert opened <= binom.isf(1e-3, runs, ALPHA)
