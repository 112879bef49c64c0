"""Flips and moves by hand."""

import numpy as np
import pytest

from detectors.counterfactual import case_shares, swap_effect, templates_to_tell
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated


def test_flips_and_moves_are_counted_by_identity_and_by_template() -> None:
    flips = np.zeros((40, 2))
    flips[:20, 0] = 1
    moves = np.zeros((40, 2))
    moves[:, 1] = np.tile([0.2, -0.2], 20)
    found = swap_effect(["a", "b"], flips, moves, tolerance=0.15)
    first, second = found.identities
    assert isinstance(first.flip_rate, Estimate)
    assert (first.flip_rate.value, first.verdict) == (0.5, "flips")
    assert isinstance(second.score_move, Estimate)
    assert second.score_move.value == pytest.approx(0.2)
    assert second.signed_move == pytest.approx(0)
    assert second.verdict == "no flips beyond the tolerance"
    assert isinstance(found.flip_rate, Estimate)
    assert found.flip_rate.value == 0.25  # half of the templates flip for one of two identities
    assert found.flip_rate.n == 40


def test_too_few_templates_say_how_many_would_tell() -> None:
    found = swap_effect(["a"], np.zeros((30, 1)), None, tolerance=0.05).identities[0]
    assert (found.verdict, found.needed) == ("insufficient evidence", templates_to_tell(0.05, alpha=0.05))
    enough = swap_effect(["a"], np.zeros((found.needed or 0, 1)), None, tolerance=0.05).identities[0]
    assert enough.verdict == "no flips beyond the tolerance"
    assert isinstance(swap_effect(["a"], np.zeros((2, 1)), None).identities[0].flip_rate, NotEstimated)


def test_a_model_at_the_tolerance_is_said_to_flip_in_at_most_one_suite_of_twenty() -> None:
    rng = np.random.default_rng(1)
    false = 0
    for _ in range(1000):
        found = swap_effect(list("abcde"), rng.random((60, 5)) < 0.1, None, tolerance=0.1)
        false += any(one.verdict == "flips" for one in found.identities)
    assert false <= 68  # of 1,000: above it with chance 0.005 where the level is 0.05


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(DetectorInputError, match=r"templates × identities, got \(3, 2\) for 1"):
        swap_effect(["a"], np.zeros((3, 2)), None)
    with pytest.raises(DetectorInputError, match="need one length, got 1, 2 and 2"):
        case_shares(["a"], [[1], [2]], [[3], [4]], least=0.5)


def test_cases_of_one_template_are_one_observation() -> None:
    apart = case_shares(["a"], [[1.0] * 90 + [0.0] * 50], [[1.0] * 140], least=0.5)[0]
    together = case_shares(["a"], [[7.0] * 13 + [0.0] * 7], [[7.0] * 20], least=0.5)[0]
    assert together.share.value == pytest.approx(0.65)
    assert (together.share.n, together.cases) == (20, 140)
    assert together.share.high - together.share.low > 2 * (apart.share.high - apart.share.low)
    assert (apart.verdict, together.verdict) == ("met", "insufficient evidence")
    assert case_shares(["a"], [[0.0] * 20], [[7.0] * 20], least=0.5)[0].verdict == "below"
