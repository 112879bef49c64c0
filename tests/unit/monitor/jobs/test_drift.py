"""One verdict of the tokenizer check and the comparison, on one scale."""

import numpy as np
import pytest

from detectors.sketch import fit_basis, fold
from monitor.jobs.drift import DriftInputs, TokenCheck, judge

ALPHA = 0.05


@pytest.mark.parametrize("checked", [0, 60])
@pytest.mark.parametrize("confidence", [None, 0.9])
def test_the_p_value_is_at_most_alpha_just_where_the_verdict_drifts(checked: int, confidence: float | None) -> None:
    rng = np.random.default_rng(5)
    basis = fit_basis(rng.normal(size=(200, 12)), rng=rng)
    reference = fold(basis, rng.normal(size=(200, 12)), row_ids=np.arange(200))
    tokens = TokenCheck(checked=checked, mismatched=0, tolerance=0.001) if checked else None
    seen = set()
    for seed in range(60):
        shift = 0.25 * (seed % 3) * np.eye(12)[0]
        current = fold(basis, rng.normal(size=(200, 12)) + shift, row_ids=np.arange(200))
        judged = judge(
            DriftInputs(reference=reference, current=current, reference_texts={}, current_texts={}, tokens=tokens),
            alpha=ALPHA,
            permutations=499,
            rng=np.random.default_rng(seed),
            baseline_confidence=confidence,
        )
        assert judged.verdict is not None
        assert judged.verdict.drift is (judged.verdict.p_value <= ALPHA), judged.verdict
        seen.add((judged.verdict.drift, judged.comparison_p_value is not None and judged.comparison_p_value <= ALPHA))
    assert {drift for drift, _ in seen} == {True, False}
    if checked or confidence:
        assert (False, True) in seen  # a comparison that would do at alpha, and does not at its part of it
