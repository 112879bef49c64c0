import doctest
from itertools import permutations as orders
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

import detectors.mmd
from detectors.errors import DetectorInputError
from detectors.gram import Kernel, assignments, binned, pair_means
from detectors.mmd import MmdResult, feature_mmd, mmd, squared_mmd
from detectors.results import TooLittleData
from detectors.samples import pooled_samples
from detectors.sketch import fit_basis, fold, merge

KERNELS = [Kernel("gaussian", 0.7), Kernel("laplace", 1.9)]


def twin(reference: Any, current: Any, kernel: Kernel) -> float:
    """The U-statistic pair by pair, from its definition."""

    def k(x: Any, y: Any) -> float:
        d = float(np.sqrt(((x - y) ** 2).sum()))
        return float(
            np.exp(-(d**2) / (2 * kernel.bandwidth**2))
            if kernel.family == "gaussian"
            else np.exp(-d / kernel.bandwidth)
        )

    def within(rows: Any) -> float:
        return float(np.mean([k(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]))

    across = np.mean([k(a, b) for a in reference for b in current])
    return within(reference) + within(current) - 2 * float(across)


def judged(reference: Any, current: Any, **options: Any) -> MmdResult:
    found = mmd(reference, current, rng=np.random.default_rng(7), **{"permutations": 199, "minimum": 2, **options})
    assert isinstance(found, MmdResult)
    return found


def test_the_docstrings_numbers_hold() -> None:
    assert doctest.testmod(detectors.mmd).failed == 0


def test_a_hand_computed_value() -> None:
    # reference {0, 1}, current {2, 3}, laplace with bandwidth 1, e = exp(-1):
    # within either side one pair at distance 1, mean e; across distances 2, 3, 1, 2, mean (e + 2e² + e³) / 4;
    # MMD² = 2e - (e + 2e² + e³) / 2
    e = np.exp(-1)
    found = squared_mmd(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]]), kernel=Kernel("laplace", 1.0))
    assert found == pytest.approx(2 * e - (e + 2 * e**2 + e**3) / 2, abs=1e-15)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("tile_rows", [1, 4, 7, 1000])
def test_tiles_of_any_size_agree_with_the_pairwise_twin(kernel: Kernel, tile_rows: int) -> None:
    rng = np.random.default_rng(0)
    reference, current = rng.normal(3, 1, size=(11, 4)), rng.normal(3.3, 1, size=(8, 4))
    found = squared_mmd(reference, current, kernel=kernel, tile_rows=tile_rows)
    assert found == pytest.approx(twin(reference, current, kernel), abs=1e-14)


@given(
    n=st.integers(2, 12), m=st.integers(2, 12), d=st.integers(1, 4), seed=st.integers(0, 2**32 - 1),
    kernel=st.sampled_from(KERNELS),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_squared_mmd_does_not_depend_on_order_sides_or_origin(
    n: int, m: int, d: int, seed: int, kernel: Kernel
) -> None:
    rng = np.random.default_rng(seed)
    reference, current = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    found = squared_mmd(reference, current, kernel=kernel)
    assert found == pytest.approx(squared_mmd(current, reference, kernel=kernel), abs=1e-12)
    assert found == pytest.approx(squared_mmd(rng.permutation(reference), current, kernel=kernel), abs=1e-12)
    assert found == pytest.approx(squared_mmd(reference + 40, current + 40, kernel=kernel), abs=1e-9)
    assert -2 / min(n, m) <= found <= 2


def test_every_permutation_is_judged_as_if_its_rows_were_the_sides() -> None:
    rng = np.random.default_rng(1)
    reference, current = rng.normal(size=(9, 3)), rng.normal(size=(7, 3))
    found = judged(reference, current, permutations=4)
    samples = pooled_samples(reference, current, minimum=2)
    assert not isinstance(samples, TooLittleData)
    bins = binned(samples, width=2, rng=rng)  # 9 and 7 rows: each side ends in a bin half empty
    assigned = assignments(bins, permutations=5, rng=rng)
    scaled = [Kernel(k.family, k.bandwidth / samples.scale) for k in KERNELS]
    statistics = pair_means(samples, bins, scaled, assigned, tile_rows=6).squared_mmd()
    pooled = np.concatenate([reference, current])
    for b, sides in enumerate(assigned):
        chosen = bins.positions[sides == 1].ravel()
        others = bins.positions[sides == 0].ravel()
        parts = pooled[others[others >= 0]], pooled[chosen[chosen >= 0]]
        assert [part.shape[0] for part in parts] == [9, 7]
        for k, kernel in enumerate(KERNELS):
            assert statistics[k, b] == pytest.approx(twin(*parts, kernel), abs=1e-13)
    assert found.permutations == 4


def test_the_p_value_is_that_of_all_permutations_when_they_can_be_counted() -> None:
    # 3 + 3 rows far apart: of the 20 ways to deal them, the observed and its mirror are the most extreme, p = 2/20
    reference, current = np.array([[0.0], [0.1], [0.2]]), np.array([[9.0], [9.1], [9.2]])
    assert len({tuple(sorted(order[:3])) for order in orders(range(6))}) == 20
    assert judged(reference, current, permutations=20_000).p_value == pytest.approx(0.1, abs=0.008)


def test_a_shift_is_found_and_the_kernel_that_spoke_explains_it() -> None:
    rng = np.random.default_rng(3)
    reference, current = rng.normal(size=(200, 16)), rng.normal(0.4, 1, size=(150, 16))
    found = judged(reference, current)
    assert found.p_value == 1 / 200
    assert found.statistic == pytest.approx(squared_mmd(reference, current, kernel=found.kernel), rel=1e-9)
    assert 0.1 < found.effect_size < 1
    distances = cdist(reference, current)
    assert distances.min() / 2 < found.kernel.bandwidth < 2 * distances.max()


def test_narrow_and_wide_differences_are_both_found() -> None:
    rng = np.random.default_rng(4)
    reference = rng.normal(size=(300, 1))
    ripple = rng.normal(size=(3000, 1))
    ripple = ripple[rng.random(3000) < 0.5 + 0.5 * np.cos(12 * ripple[:, 0])][:300]  # same moments, a fine comb
    assert judged(reference, ripple).p_value <= 0.02
    assert (
        judged(reference, ripple).kernel.bandwidth
        < judged(reference, rng.normal(0.5, 1, size=(300, 1))).kernel.bandwidth
    )


def test_the_effect_size_follows_the_share_that_changed_and_not_the_number_of_rows() -> None:
    rng = np.random.default_rng(5)

    def effect(n: int, share: float) -> float:
        current = rng.normal(size=(n, 8)) + 4 * (np.arange(n) < share * n)[:, None]
        return judged(rng.normal(size=(n, 8)), current, permutations=19).effect_size

    few, many, half = effect(400, 0.4), effect(1200, 0.4), effect(800, 0.2)
    assert few == pytest.approx(many, rel=0.15)
    assert half == pytest.approx(many / 2, rel=0.25)


@pytest.mark.parametrize("copies", [2, 25])
def test_duplicated_texts_give_a_p_value_that_does_not_overstate(copies: int) -> None:
    rng = np.random.default_rng(6)
    texts = rng.normal(size=(4, 768)).astype(np.float32)
    dealt = rng.permutation(np.repeat(np.arange(4), 2 * copies))
    found = judged(texts[dealt[: 4 * copies]], texts[dealt[4 * copies :]])
    assert found.p_value > 0.05
    assert np.isfinite(found.statistic)
    assert 0 <= found.effect_size <= 1


def test_two_texts_that_trade_places_have_the_greatest_effect() -> None:
    found = judged(np.zeros((50, 3)), np.ones((50, 3)))
    assert found.p_value == 1 / 200
    assert found.effect_size == pytest.approx(1, abs=0.4)
    assert found.effect_size <= 1


def test_constant_columns_change_nothing() -> None:
    rng = np.random.default_rng(8)
    reference, current = rng.normal(size=(60, 5)), rng.normal(0.2, 1, size=(60, 5))
    padded = [np.concatenate([side, np.full((60, 3), 1.5)], axis=1) for side in (reference, current)]
    assert judged(*padded).p_value == judged(reference, current).p_value


def test_options_and_rows_that_give_no_statistic_are_named() -> None:
    rows = np.random.default_rng(9).normal(size=(60, 3))
    rng = np.random.default_rng(0)
    with pytest.raises(DetectorInputError, match="got 0, 800 and 1"):
        mmd(rows, rows, rng=rng, permutations=0)
    with pytest.raises(DetectorInputError, match=r"bin_width in \[1, 60\], got 999, 800 and 61"):
        mmd(rows, rows, rng=rng, bin_width=61)
    with pytest.raises(DetectorInputError, match="positive bandwidth"):
        squared_mmd(rows, rows, kernel=Kernel("gaussian", 0.0))
    with pytest.raises(DetectorInputError, match="at least 2 current rows are needed, got 1"):
        squared_mmd(rows, rows[:1], kernel=KERNELS[0])
    assert squared_mmd(np.ones((3, 2)), np.ones((3, 2)), kernel=KERNELS[0]) == 0


@pytest.mark.parametrize("kernel", [Kernel("gaussian", 30.0), Kernel("laplace", 30.0)])
def test_float32_statistics_stay_within_a_ten_thousandth_of_float64(kernel: Kernel) -> None:
    rng = np.random.default_rng(10)
    common = 50 * rng.normal(size=768)  # text embeddings share a strong direction
    reference, current = (rng.normal(size=(n, 768)) + common + shift for n, shift in ((900, 0), (700, 0.1)))
    reference, current = reference.astype(np.float32), current.astype(np.float32)
    single = squared_mmd(reference, current, kernel=kernel)
    double = squared_mmd(reference.astype(np.float64), current.astype(np.float64), kernel=kernel)
    assert single == pytest.approx(double, rel=1e-4)


def test_binned_permutations_are_as_exact_and_agree_with_single_ones() -> None:
    rng = np.random.default_rng(11)
    reference, current = rng.normal(size=(400, 8)), rng.normal(0.08, 1, size=(300, 8))
    one, five = (judged(reference, current, bin_width=width, permutations=999) for width in (1, 5))
    assert one.p_value == pytest.approx(five.p_value, abs=0.03)
    assert one.kernel.bandwidth == pytest.approx(five.kernel.bandwidth, rel=0.05)


def test_feature_sums_merge_and_match_the_exact_mmd_within_their_monte_carlo_error() -> None:
    rng = np.random.default_rng(12)
    basis = fit_basis(rng.normal(size=(400, 6)), rng=rng, dimension=6, n_features=4096)
    reference, current = rng.normal(size=(300, 6)), rng.normal(0.5, 1, size=(200, 6))
    whole = [fold(basis, side, row_ids=np.arange(len(side))) for side in (reference, current)]
    halves = merge(
        [fold(basis, current[part], row_ids=np.arange(200)[part]) for part in (slice(0, 80), slice(80, 200))]
    )
    found = feature_mmd(whole[0].feature_total, 300, whole[1].feature_total, 200)
    assert found == pytest.approx(feature_mmd(whole[0].feature_total, 300, halves.feature_total, 200), abs=1e-12)
    # features are N(0, 1/b²): the bandwidth stands in their spread; the error of r features is at most 2/sqrt(r)
    bandwidth = float(1 / basis.features.std())
    exact = squared_mmd(basis.project(reference), basis.project(current), kernel=Kernel("gaussian", bandwidth))
    assert found == pytest.approx(exact, abs=0.01)
    assert exact > 0.03


def test_feature_sums_are_unbiased_without_drift() -> None:
    rng = np.random.default_rng(13)
    basis = fit_basis(rng.normal(size=(400, 6)), rng=rng, dimension=6, n_features=512)
    found = []
    for _ in range(60):
        features = basis.feature_map(rng.normal(size=(40, 6)))
        found.append(feature_mmd(features[:25].sum(axis=0), 25, features[25:].sum(axis=0), 15))
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(60)


@pytest.mark.parametrize(
    ("totals", "counts", "words"),
    [
        (([1.0], [1.0, 2.0]), (5, 5), r"one length, got \(1,\) and \(2,\)"),
        (([[1.0]], [[1.0]]), (5, 5), "1-D"),
        (([1.0], [1.0]), (1, 5), "at least 2 rows a side, got 1 and 5"),
        (([1.0], [np.nan]), (5, 5), "current_total holds nan"),
    ],
)
def test_feature_sums_that_cannot_be_judged_are_refused(totals: Any, counts: Any, words: str) -> None:
    with pytest.raises(DetectorInputError, match=words):
        feature_mmd(totals[0], counts[0], totals[1], counts[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_tensors_give_the_same_verdict_as_numpy_arrays(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(14)
    reference, current = (rng.normal(s, 1, size=(n, 32)).astype(dtype) for s, n in ((0, 300), (0.1, 250)))
    plain = judged(reference, current, bin_width=3)
    tensors = judged(torch.from_numpy(reference), torch.from_numpy(current), bin_width=3)
    assert tensors.statistic == pytest.approx(plain.statistic, rel=1e-4)
    assert tensors.kernel.family == plain.kernel.family
    assert abs(tensors.p_value - plain.p_value) <= 1 / 200
    assert all(type(value) is float for value in (tensors.statistic, tensors.p_value, tensors.effect_size))


@pytest.mark.gpu
def test_a_gpu_gives_the_same_verdict_as_the_processor() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    rng = np.random.default_rng(15)
    reference, current = (rng.normal(s, 1, size=(n, 64)).astype(np.float32) for s, n in ((0, 900), (0.1, 700)))
    plain = judged(reference, current)
    there = judged(torch.from_numpy(reference).cuda(), torch.from_numpy(current).cuda())
    assert there.statistic == pytest.approx(plain.statistic, rel=1e-4)
    assert abs(there.p_value - plain.p_value) <= 1 / 200
