import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, combine_pvalues, false_discovery_control, norm

from detectors.combination import (
    benjamini_hochberg,
    benjamini_yekutieli,
    cauchy_p_value,
    combined_p_value,
    harmonic_mean_p_value,
    holm,
)
from detectors.errors import DetectorInputError

P_VALUES = st.lists(st.floats(1e-12, 1), min_size=1, max_size=20)
COMBINERS = (combined_p_value, harmonic_mean_p_value, cauchy_p_value)
ADJUSTERS = (holm, benjamini_hochberg, benjamini_yekutieli)


@given(P_VALUES)
def test_false_discovery_adjustments_are_scipys(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p, method="bh"))
    assert benjamini_yekutieli(p) == pytest.approx(false_discovery_control(p, method="by"))


@given(P_VALUES)
def test_every_result_is_a_p_value_and_the_combined_one_decides_as_holm_does(p: list[float]) -> None:
    for combiner in COMBINERS:
        assert 0 < combiner(p) <= 1
    for adjuster in ADJUSTERS:
        adjusted = adjuster(p)
        assert ((adjusted >= np.array(p) - 1e-15) & (adjusted <= 1)).all()
    assert combined_p_value(p) == pytest.approx(holm(p).min())


@given(P_VALUES, st.floats(0.1, 1))
def test_smaller_p_values_never_combine_to_a_larger_one(p: list[float], factor: float) -> None:
    smaller = [value * factor for value in p]
    for combiner in COMBINERS:
        assert combiner(smaller) <= combiner(p) * (1 + 1e-9)


def test_one_p_value_combines_to_itself() -> None:
    for combiner in COMBINERS:
        assert combiner([0.03]) == pytest.approx(0.03)


def test_holm_of_a_hand_computed_table() -> None:
    # sorted .005, .01, .04, .2 times 4, 3, 2, 1: .02, .03, .08, .2
    assert holm([0.2, 0.01, 0.04, 0.005]).tolist() == pytest.approx([0.2, 0.03, 0.08, 0.02])


def test_the_harmonic_factor_of_two_and_the_growth_with_m() -> None:
    assert harmonic_mean_p_value([0.01, 0.02]) == pytest.approx(2 * 2 / (1 / 0.01 + 1 / 0.02))
    factors = [harmonic_mean_p_value([1e-6] * m) / 1e-6 for m in (2, 3, 5, 10, 100)]
    assert factors == pytest.approx([2, 2.7456, 3.5645, 4.5598, 7.4587], rel=1e-3)


def test_what_is_no_p_value_is_named() -> None:
    for judged in (*COMBINERS, *ADJUSTERS):
        for wrong in ([], [0.0], [0.5, np.nan], [1.5], [[0.5]]):
            with pytest.raises(DetectorInputError):
                judged(wrong)


@pytest.mark.statistical
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.99])
def test_under_dependence_the_combined_p_value_and_the_harmonic_mean_keep_alpha(correlation: float) -> None:
    rng, runs, m = np.random.default_rng(3), 4000, 6
    common = rng.normal(size=(runs, 1))
    scores = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(size=(runs, m))
    p = norm.sf(scores)
    bound = binom.isf(1e-4, runs, 0.05)
    for combiner in (combined_p_value, harmonic_mean_p_value):
        assert sum(combiner(row) <= 0.05 for row in p) <= bound


def test_combined_is_scipys_tippett_made_safe() -> None:
    p = [0.01, 0.2, 0.3]
    tippett = combine_pvalues(p, method="tippett").pvalue
    assert tippett <= combined_p_value(p) <= 1.05 * tippett
