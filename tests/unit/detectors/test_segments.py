import numpy as np
import pytest
from scipy.stats import binom

from detectors.errors import DetectorInputError
from detectors.results import TooLittleData
from detectors.segments import SegmentSearch, _tested, search_segments

VALUES = {"language": ("de", "en", "fr"), "channel": ("chat", "mail")}


def _attributes(rng: np.random.Generator, n: int) -> dict[str, list[str | None]]:
    return {name: [str(v) for v in rng.choice(values, size=n)] for name, values in VALUES.items()}


def _search(rng: np.random.Generator, *, shift: float, n: int = 600, **options: object) -> SegmentSearch:
    before, now = rng.normal(size=(n, 4)), rng.normal(size=(n, 4))
    sides = _attributes(rng, n), _attributes(rng, n)
    drifted = [
        i
        for i, (a, b) in enumerate(zip(sides[1]["language"], sides[1]["channel"], strict=True))
        if (a, b) == ("de", "chat")
    ]
    now[drifted, 0] += shift
    found = search_segments(
        before, now, reference_attributes=sides[0], current_attributes=sides[1], alpha=0.05, rng=rng, **options
    )
    assert isinstance(found, SegmentSearch)
    return found


def test_the_drifted_pair_comes_first_and_untouched_segments_stay_silent() -> None:
    found = _search(np.random.default_rng(0), shift=1.5, permutations=1999)
    assert len(found.tested) == 3 + 2 + 6
    assert found.drifted[0].segment == (("channel", "chat"), ("language", "de"))
    assert found.drifted[0].effect == pytest.approx(1.5, abs=0.3)
    untouched = {(("language", "en"),), (("language", "fr"),), (("channel", "mail"),)}
    assert not untouched & {one.segment for one in found.drifted}
    effects = [one.effect for one in found.drifted]
    assert effects == sorted(effects, reverse=True)


def test_pairs_can_be_left_out() -> None:
    found = _search(np.random.default_rng(1), shift=0.0, pairs=False, permutations=99)
    assert {len(one.segment) for one in found.tested} == {1}


def test_small_segments_and_missing_values_are_not_tested() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(100, 2))
    attributes = {"tier": ["gold"] * 5 + [None] * 40 + ["free"] * 55, "only_here": ["x"] * 100}
    found = search_segments(
        rows,
        rows,
        reference_attributes=attributes,
        current_attributes={"tier": attributes["tier"]},
        alpha=0.05,
        rng=rng,
    )
    assert isinstance(found, SegmentSearch)
    assert [one.segment for one in found.tested] == [(("tier", "free"),)]
    assert found.too_small == 1
    assert found.tested[0].p_value == 1.0
    few = search_segments(
        rows, rows, reference_attributes=attributes, current_attributes=attributes, alpha=0.05, rng=rng, minimum=500
    )
    assert few == TooLittleData("rows a side in the largest segment", got=100, needed=500)
    none = search_segments(rows, rows, reference_attributes={}, current_attributes={}, alpha=0.05, rng=rng)
    assert none == TooLittleData("rows a side in the largest segment", got=0, needed=30)


def test_the_effect_is_the_distance_of_means_less_chance() -> None:
    before, now = np.array([[0.0], [2.0]] * 40), np.array([[3.0], [5.0]] * 40)
    effect, p = _tested(before, now, permutations=199, rng=np.random.default_rng(0))
    pooled = np.concatenate([before, now])
    chance = float(pooled.var(ddof=1)) * (1 / 80 + 1 / 80)
    assert effect == pytest.approx(np.sqrt(9 - chance))
    assert p == 1 / 200


def test_what_does_not_fit_is_named() -> None:
    rows, rng = np.zeros((40, 2)), np.random.default_rng(0)
    with pytest.raises(DetectorInputError, match="current attribute a must be one per row, got 3 for 40"):
        search_segments(
            rows, rows, reference_attributes={"a": ["x"] * 40}, current_attributes={"a": ["x"] * 3}, alpha=0.05, rng=rng
        )
    with pytest.raises(DetectorInputError, match="minimum >= 2"):
        search_segments(rows, rows, reference_attributes={}, current_attributes={}, alpha=0.05, rng=rng, minimum=1)


@pytest.mark.statistical
def test_without_drift_any_segment_is_named_no_more_often_than_alpha() -> None:
    runs = 100
    named = sum(bool(_search(np.random.default_rng([11, run]), shift=0.0, n=300).drifted) for run in range(runs))
    assert named <= binom.isf(1e-4, runs, 0.05)


@pytest.mark.statistical
def test_the_early_stopping_p_value_is_valid() -> None:
    runs, reached = 800, 0
    for run in range(runs):
        rng = np.random.default_rng([12, run])
        _, p = _tested(rng.exponential(size=(30, 2)), rng.exponential(size=(40, 2)), permutations=399, rng=rng)
        reached += p <= 0.05
    assert binom.ppf(1e-4, runs, 0.05) <= reached <= binom.isf(1e-4, runs, 0.05)
