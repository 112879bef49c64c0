import json
from pathlib import Path

import numpy as np
import pytest

from detectors.errors import DetectorInputError
from detectors.sequences import Side, beta_binomial_sequence, empirical_bernstein_sequence

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "confseq.json").read_text())


def stream(share: float, n: int = 1000) -> np.ndarray:
    """Return ones spread evenly: the golden values were made by `confseq` from the same."""
    index = np.arange(1, n + 1)
    return np.floor(index * share) - np.floor((index - 1) * share)


STREAMS = {
    "share .9": stream(0.9),
    "share .03": stream(0.03),
    "fractions squared": ((np.arange(1, 1001) * 0.6180339887498949) % 1.0) ** 2,
}


@pytest.mark.parametrize("name", STREAMS)
def test_empirical_bernstein_bounds_are_those_of_confseq(name: str) -> None:
    rows = [row for row in GOLDEN["bernstein"] if row[0] == name]
    assert rows
    for _, alpha, look, lower, upper in rows:
        found = empirical_bernstein_sequence(STREAMS[name], alpha=alpha)
        assert (found.lower[look - 1], found.upper[look - 1]) == pytest.approx((lower, upper), abs=1e-7)


def test_two_sided_beta_binomial_bounds_are_those_of_confseq() -> None:
    for share, alpha, optimal_n, look, lower, upper in GOLDEN["both"]:
        found = beta_binomial_sequence(stream(share), alpha=alpha, optimal_n=optimal_n)
        assert (found.lower[look - 1], found.upper[look - 1]) == pytest.approx((lower, upper), abs=1e-7)


def test_one_sided_beta_binomial_bounds_meet_the_bound_of_confseq() -> None:
    for share, alpha, optimal_n, look, lower, upper in GOLDEN["one"]:
        below, above = (
            beta_binomial_sequence(stream(share), alpha=alpha, optimal_n=optimal_n, side=side)
            for side in (Side.LOWER, Side.UPPER)
        )
        assert (below.lower[look - 1], above.upper[look - 1]) == pytest.approx((lower, upper), abs=1e-7)
        assert (below.upper == 1).all()
        assert (above.lower == 0).all()


def test_a_look_ahead_changes_no_earlier_bound_and_bounds_only_tighten() -> None:
    values = (np.random.default_rng(2).random(800) < 0.7).astype(float)
    for make in (empirical_bernstein_sequence, lambda x: beta_binomial_sequence(x, optimal_n=300)):
        whole, part = make(values), make(values[:300])
        assert whole.lower[:300] == pytest.approx(part.lower, abs=1e-12)
        assert whole.upper[:300] == pytest.approx(part.upper, abs=1e-12)
        assert (np.diff(whole.lower) >= 0).all()
        assert (np.diff(whole.upper) <= 0).all()


def test_what_cannot_be_bounded_in_one_pass_is_named() -> None:
    with pytest.raises(DetectorInputError, match="needs a value, got 0"):
        empirical_bernstein_sequence([])
    with pytest.raises(DetectorInputError, match="0 and 1 alone"):
        beta_binomial_sequence([0.5], optimal_n=10)
    with pytest.raises(DetectorInputError, match=r"at least 1, got 0\.5"):
        beta_binomial_sequence([1.0], optimal_n=0.5)
    with pytest.raises(DetectorInputError, match="alpha lies in"):
        beta_binomial_sequence([1.0], optimal_n=10, alpha=1.0)
