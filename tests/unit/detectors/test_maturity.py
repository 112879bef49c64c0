import numpy as np
import pytest

from detectors.errors import DetectorInputError
from detectors.estimates import NotEstimated
from detectors.maturity import (
    DelayDistribution,
    arrival_probability,
    delay_distribution,
    delay_distributions,
    label_maturity,
)


def test_maturity_is_the_share_of_those_asked() -> None:
    found = label_maturity(labelled=3, asked=12)
    assert (found.value, found.low, found.high, found.method) == (0.25, 0.25, 0.25, "count")
    assert isinstance(label_maturity(labelled=0, asked=0), NotEstimated)
    with pytest.raises(DetectorInputError, match="got 5 of 4"):
        label_maturity(labelled=5, asked=4)


def product_limit(delays: np.ndarray, ages: np.ndarray, at: float) -> float:
    """Return P(delay <= at) as the definition says, delay by delay."""
    chance = 1.0
    for s in np.unique(delays[delays > at]):
        chance *= 1 - np.count_nonzero(delays == s) / np.count_nonzero((delays <= s) & (s <= ages))
    return chance if (delays <= at).any() else 0.0


def labelled(seed: int, n: int = 3000, mean: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ages, delays = rng.uniform(0, 300, size=n), np.round(rng.exponential(mean, size=n), 1)
    here = delays <= ages
    return delays[here], ages[here]


def test_a_distribution_is_the_product_limit_of_its_definition() -> None:
    delays, ages = labelled(1, n=600)
    found = delay_distribution(delays, ages, horizon=200.0)
    assert isinstance(found, DelayDistribution)
    within = delays <= 200
    for at in (-1.0, 0.5, 10.0, 45.3, 120.0, 199.0, 500.0):
        assert found.at([at])[0] == pytest.approx(product_limit(delays[within], ages[within], at))


def test_delays_of_young_rows_do_not_make_labels_look_prompt() -> None:
    delays, ages = labelled(2, n=20_000)
    found = delay_distribution(delays, ages, horizon=250.0)
    assert isinstance(found, DelayDistribution)
    assert found.at([40.0])[0] == pytest.approx(1 - np.exp(-1), abs=0.02)
    assert np.mean(delays <= 40) > 1 - np.exp(-1) + 0.04


def test_strata_without_matured_history_are_not_corrected() -> None:
    distributions = delay_distributions(
        [1.0] * 60 + [1.0] * 10, [99.0] * 60 + [99.0] * 10, ["right"] * 60 + ["wrong"] * 10, horizon=9.0
    )
    assert isinstance(distributions["right"], DelayDistribution)
    found = arrival_probability(["right", "wrong"], [5.0, 5.0], distributions, cohort_youngest=5.0)
    assert found == NotEstimated("label_delay", "stratum 'wrong': too few labels of matured rows", 10, 50)
    unseen = arrival_probability(["other"], [5.0], {"right": distributions["right"]}, cohort_youngest=5.0)
    assert isinstance(unseen, NotEstimated)
    assert "'other' has no matured history" in unseen.reason


def test_a_cohort_too_young_for_one_stratum_is_not_corrected() -> None:
    delays = np.repeat([1.0, 50.0], [60, 60])
    distributions = delay_distributions(delays, np.full(120, 99.0), np.repeat(["right", "wrong"], 60), horizon=60.0)
    found = arrival_probability(["right"], [20.0], distributions, cohort_youngest=20.0)
    assert isinstance(found, NotEstimated)
    assert "'wrong': 0% of labels come by the cohort's least age, 20" in found.reason
    fine = arrival_probability(["right", "wrong"], [55.0, 55.0], distributions, cohort_youngest=55.0)
    assert np.asarray(fine).tolist() == [1.0, 1.0]


def test_delays_that_cannot_be_are_named() -> None:
    with pytest.raises(DetectorInputError, match=r"got 5.0 > 4.0 at 1"):
        delay_distribution([1.0, 5.0], [2.0, 4.0], horizon=9.0)
    with pytest.raises(DetectorInputError, match="horizon is more than 0"):
        delay_distribution([1.0], [2.0], horizon=0.0)
    with pytest.raises(DetectorInputError, match="one per delay, got 2 for 1"):
        delay_distribution([1.0], [2.0, 3.0], horizon=1.0)
    with pytest.raises(DetectorInputError, match="equal in length"):
        delay_distributions([1.0], [2.0], ["a", "b"], horizon=1.0)
    with pytest.raises(DetectorInputError, match="one per age"):
        arrival_probability(["a"], [1.0, 2.0], {}, cohort_youngest=1.0)
