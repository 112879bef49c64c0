"""Second opinions on two sketches: what each says of a shift, of none, and of too few rows."""

import numpy as np
import pytest

from detectors.sketch import Sketch, fit_basis, fold
from monitor.jobs.opinions import second_opinions
from monitor.policy import DriftPolicy, OpinionName

ALL: tuple[OpinionName, ...] = ("mmd", "classifier", "knn_kl")
BASIS = fit_basis(np.random.default_rng(0).normal(size=(600, 8)), rng=np.random.default_rng(0), dimension=8, cells=8)


def sketch(n: int, *, seed: int, shift: float = 0.0) -> Sketch:
    rows = np.random.default_rng(seed).normal(size=(n, 8))
    rows[:, 0] += shift
    return fold(BASIS, rows, row_ids=np.arange(n))


def test_a_shift_is_found_by_all_three_with_the_size_it_has() -> None:
    """A shift of 2 standard deviations in one direction: KL 2 nats, AUC of the best score Phi(2/sqrt 2) = 0.921."""
    before, now = sketch(1000, seed=1), sketch(1000, seed=2, shift=2.0)
    found = second_opinions(before, now, names=ALL, alpha=0.01, rng=np.random.default_rng(3))
    assert [one.name for one in found] == list(ALL)
    assert all(one.drift and one.p_value == pytest.approx(0.001) for one in found)
    mmd, auc, nats = (one.effect for one in found)
    assert mmd is not None
    assert 0.2 < mmd < 1
    assert auc == pytest.approx(0.921, abs=0.03)
    assert nats == pytest.approx(2.0, abs=0.4)


def test_without_a_shift_none_finds_one_and_only_those_asked_answer() -> None:
    names: tuple[OpinionName, ...] = ("knn_kl", "mmd", "knn_kl")
    before, now = sketch(600, seed=1), sketch(600, seed=2)
    found = second_opinions(before, now, names=names, alpha=0.001, rng=np.random.default_rng(3))
    assert [(one.name, one.drift) for one in found] == [("knn_kl", False), ("mmd", False)]


def test_a_small_alpha_can_be_reached() -> None:
    (found,) = second_opinions(
        sketch(300, seed=1), sketch(300, seed=2, shift=3), names=("mmd",), alpha=0.0005, rng=np.random.default_rng(3)
    )
    assert found.drift
    assert found.p_value < 0.0005


def test_too_few_rows_say_nothing_and_a_divergence_needs_more_than_its_test() -> None:
    def answers(n: int) -> dict[str, float | None]:
        found = second_opinions(
            sketch(n, seed=1), sketch(n, seed=2), names=ALL, alpha=0.05, rng=np.random.default_rng(3)
        )
        return {one.name: one.effect for one in found}

    assert answers(10) == {}
    assert set(answers(30)) == {"knn_kl"}
    assert set(answers(60)) == set(ALL)


def test_a_policy_names_the_opinions_it_wants() -> None:
    assert DriftPolicy().second_opinions == ALL
    assert DriftPolicy(second_opinions=()).second_opinions == ()
    with pytest.raises(ValueError, match="second_opinions"):
        DriftPolicy(second_opinions=("tea_leaves",))  # type: ignore[arg-type]
