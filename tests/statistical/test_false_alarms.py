import numpy as np
import pytest
from scipy.stats import binom

from detectors.compare import compare_sketches
from detectors.results import Comparison
from detectors.sketch import fit_basis, fold

pytestmark = pytest.mark.statistical

RUNS, ALPHA = 300, 0.05


def test_without_drift_the_verdict_alarms_no_more_often_than_alpha() -> None:
    spectrum = np.arange(1, 65) ** -0.7
    alarms: dict[str, int] = {"verdict": 0}
    for run in range(RUNS):
        rng = np.random.default_rng([1, run])
        rows = rng.standard_t(6, size=(500, 64)) * spectrum + 5
        classes, confidences = rng.integers(0, 3, 500), rng.beta(8, 2, 500)
        basis = fit_basis(rows[:150], rng=rng, classes=("a", "b", "c"), dimension=16, cells=12)
        sides = [
            fold(
                basis,
                rows[part],
                row_ids=np.arange(500)[part],
                classes=classes[part],
                confidences=confidences[part],
            )
            for part in (slice(150, 300), slice(300, 500))
        ]
        found = compare_sketches(*sides, alpha=ALPHA, rng=rng, permutations=199)
        assert isinstance(found, Comparison)
        alarms["verdict"] += found.verdict.drift
        for result in found.detectors:
            alarms[result.name] = alarms.get(result.name, 0) + (result.p_value <= ALPHA)
    bound = binom.isf(1e-4, RUNS, ALPHA)
    assert all(count <= bound for count in alarms.values()), alarms
    assert all(count >= 3 for name, count in alarms.items() if name != "verdict"), alarms
