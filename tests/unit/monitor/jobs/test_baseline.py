"""The reference a baseline fixes."""

import numpy as np

from detectors.compare import compare_sketches
from detectors.results import Comparison
from monitor.jobs.baseline import Observations, build_reference, fold_observations

INTENTS, TEXTS, RUNS = 120, 120, 40


def observed(rng: np.random.Generator) -> Observations:
    labels = [f"intent {i}" for i in rng.integers(0, INTENTS, TEXTS)]
    return Observations(rng.normal(size=(TEXTS, 12)), texts=(), labels=labels)


def test_many_rare_classes_are_no_drift() -> None:
    alarms = 0
    for run in range(RUNS):
        rng = np.random.default_rng([3, run])
        reference, window = build_reference(observed(rng), rng=rng), observed(rng)
        rows = np.arange(TEXTS, dtype=np.int64)
        current = fold_observations(reference.basis, window, row_ids=rows, chosen=rows)
        found = compare_sketches(reference.sketch, current, alpha=0.05, rng=rng, permutations=399)
        assert isinstance(found, Comparison)
        alarms += next(one.p_value for one in found.detectors if one.name == "js_classes") <= 0.05
    assert alarms <= 7  # binomial(40, 0.05) lies above with probability 0.001


def test_a_class_of_the_held_half_alone_counts_as_other() -> None:
    labels = ["often"] * 199 + ["once"]
    shares = set()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        reference = build_reference(Observations(rng.normal(size=(200, 4)), texts=(), labels=labels), rng=rng)
        shares.add((reference.basis.classes, int(reference.sketch.class_counts[-1])))
    assert shares == {(("often",), 1), (("often", "once"), 0)}
