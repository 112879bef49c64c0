"""Variants of the verdict: the first is what is shipped, and each other differs from it."""

import numpy as np

from bench import design
from bench.power import ours
from bench.power.scenarios import Draw
from detectors import compare
from monitor.jobs.baseline import Observations


def observed(rng: np.random.Generator, n: int, *, far: int = 0) -> Observations:
    vectors = rng.normal(size=(n, 16))
    vectors[:far] *= 3
    return Observations(vectors, [""] * n, [str(i % 4) for i in range(n)], rng.uniform(size=n))


def test_the_first_variant_is_what_is_shipped_and_every_choice_changes_something() -> None:
    rng = np.random.default_rng(3)
    drawn = Draw(observed(rng, 300), observed(rng, 300, far=15), observed(rng, 300))
    shipped, *others = design.variants()
    before = compare._shares_of_alpha, compare.embedding_tests
    outcome = shipped.judge(drawn, 7)
    assert outcome == ours.contenders()[0].judge(drawn, 7)
    found = {one.name: one.judge(drawn, 7) for one in others}
    assert all(one.score != outcome.score for one in found.values())
    assert "mmd_features" in outcome.parts
    assert "mmd_features" not in found["without MMD"].parts
    assert (compare._shares_of_alpha, compare.embedding_tests) == before
