"""Audits again and again, and gaps that were planted."""

import numpy as np
import pytest

from detectors.bias import BiasVerdict, audit_groups, group_counts, look_alpha

pytestmark = pytest.mark.statistical


def test_a_year_of_daily_audits_keeps_the_level_and_finds_a_gap_at_the_rows_it_asks_for() -> None:
    rng = np.random.default_rng(3)
    false = 0
    for _ in range(10):
        for day in range(1, 366):
            p = np.full(7, 0.3)
            hits = rng.binomial(200, p)
            codes = np.repeat(np.arange(7), 200)
            selected = np.concatenate([np.arange(200) < k for k in hits])
            audit = audit_groups(
                group_counts([str(g) for g in range(7)], codes, selected), reference="0", alpha=look_alpha(0.05, day)
            )
            if audit.verdict is BiasVerdict.DISPARITY:
                false += 1
                break
    assert false <= 3  # of 10: above it with chance 0.001 where the level is 0.05
    few = audit_groups(group_counts(["0", "1"], [0] * 5000 + [1] * 30, [1, 0] * 2515), reference="0", alpha=1e-4)
    needed = few.comparisons[0].needed
    assert few.verdict is BiasVerdict.INSUFFICIENT
    assert needed is not None
    found = 0
    for _ in range(200):
        selected = np.concatenate([np.arange(5000) < 2500, rng.random(needed) < 0.6])
        counts = group_counts(["0", "1"], [0] * 5000 + [1] * needed, selected)
        found += audit_groups(counts, reference="0", alpha=1e-4).verdict is BiasVerdict.DISPARITY
    assert found >= 170  # of 200: below it with chance 0.02 where nine in ten are found
