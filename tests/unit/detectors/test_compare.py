import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, ks_2samp

from detectors.attribution import cell_keywords, drift_scores
from detectors.compare import EFFECTS, NOVELTY_SHARE, _shares_of_alpha, compare_sketches
from detectors.errors import DetectorInputError
from detectors.kl import gaussian_kl, js_divergence, kl_divergence
from detectors.results import Comparison, TooLittleData
from detectors.sketch import Basis, Sketch, fit_basis, fold, merge, without

WIDTH = 48


def texts_like(rng: np.random.Generator, n: int, shift: float = 0.0) -> np.ndarray:
    """Anisotropic vectors: a common direction, a power-law spectrum, four clusters."""
    spectrum = np.arange(1, WIDTH + 1) ** -0.7
    centres = np.random.default_rng(0).normal(size=(4, WIDTH)) * spectrum * 2
    rows = rng.normal(size=(n, WIDTH)) * spectrum + centres[rng.integers(0, 4, n)]
    rows[:, 0] += 20
    rows[:, 3] += shift
    return rows


def ids(n: int, first: int = 0) -> np.ndarray:
    return np.arange(first, first + n, dtype=np.int64)


@pytest.fixture(scope="module")
def basis() -> Basis:
    return fit_basis(texts_like(np.random.default_rng(1), 600), rng=np.random.default_rng(2), classes=("a", "b"))


probabilities = st.lists(st.floats(0.01, 1), min_size=2, max_size=8)


@given(probabilities, st.data())
@settings(derandomize=True, max_examples=60)
def test_divergences_agree_with_scipy(raw: list[float], draw: st.DataObject) -> None:
    other = draw.draw(st.lists(st.floats(0.01, 1), min_size=len(raw), max_size=len(raw)))
    p, q = np.array(raw) / sum(raw), np.array(other) / sum(other)
    assert kl_divergence(p, q) == pytest.approx(entropy(p, q), abs=1e-12)
    assert js_divergence(p, q) == pytest.approx(jensenshannon(p, q) ** 2, abs=1e-12)


def test_gaussian_kl_is_the_hand_computed_value() -> None:
    # 1-D: log(s_q/s_p) + (s_p^2 + gap^2) / (2 s_q^2) - 1/2 = log 2 + (1 + 9)/8 - 1/2
    value = gaussian_kl(np.array([0.0]), np.eye(1), np.array([3.0]), 4 * np.eye(1))
    assert float(value) == pytest.approx(np.log(2) + 10 / 8 - 0.5)


def test_a_shift_is_found_and_its_cells_are_named(basis: Basis) -> None:
    reference = fold(basis, texts_like(np.random.default_rng(7), 600), row_ids=ids(600))
    mixed = np.concatenate([texts_like(np.random.default_rng(8), 400), texts_like(np.random.default_rng(9), 100, 6.0)])
    current = fold(basis, mixed, row_ids=ids(500))
    found = compare_sketches(reference, current, alpha=0.05, rng=np.random.default_rng(1), permutations=999)
    assert isinstance(found, Comparison)
    assert found.verdict.drift
    assert 0 < found.verdict.p_value <= 0.05
    grown = found.cells[0]
    assert grown.current_share > grown.reference_share
    assert all((result.statistic >= result.threshold) == result.drift for result in found.detectors)
    scores = drift_scores(reference, current, rng=np.random.default_rng(0))
    top = current.row_ids[np.argsort(-scores)[:50]]
    assert np.mean(top >= 400) >= 0.8


def test_changed_predictions_are_found_although_texts_are_alike(basis: Basis) -> None:
    rows = [texts_like(np.random.default_rng(s), 400) for s in (11, 2)]
    reference = fold(basis, rows[0], row_ids=ids(400), classes=np.repeat([0, 1], 200))
    current = fold(basis, rows[1], row_ids=ids(400), classes=np.repeat([0, 1], [330, 70]))
    found = compare_sketches(reference, current, alpha=0.01, rng=np.random.default_rng(1))
    assert isinstance(found, Comparison)
    assert {result.name for result in found.detectors if result.drift} == {"js_classes"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros(5), "2-D, got shape"),
        (np.full((60, 3), np.nan), r"\[0, 0\] is nan"),
        (np.ones((60, 3)), "all the same"),
        (np.ones((6, 3)), "at least 25"),
        (np.array([["a"] * 3] * 60), "numeric"),
    ],
)
def test_arrays_that_cannot_be_a_basis_are_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(DetectorInputError, match=message):
        fit_basis(rows, rng=np.random.default_rng(0))


def test_half_precision_constant_columns_and_duplicates_are_taken() -> None:
    rows = texts_like(np.random.default_rng(0), 300).astype(np.float16)
    rows[:, 5] = 1.0
    rows[:10] = rows[0]
    basis = fit_basis(rows, rng=np.random.default_rng(0))
    sides = [fold(basis, texts_like(np.random.default_rng(s), 100), row_ids=ids(100)) for s in (1, 2)]
    found = compare_sketches(*sides, alpha=0.05, rng=np.random.default_rng(3))
    assert isinstance(found, Comparison)
    assert all(np.isfinite([r.statistic, r.p_value, r.threshold]).all() for r in found.detectors)


def test_unlike_bases_are_never_compared(basis: Basis) -> None:
    other = fit_basis(texts_like(np.random.default_rng(9), 100), rng=np.random.default_rng(2))
    one, two = (fold(b, texts_like(np.random.default_rng(1), 60), row_ids=ids(60)) for b in (basis, other))
    with pytest.raises(DetectorInputError, match="unlike bases"):
        compare_sketches(one, two, alpha=0.05, rng=np.random.default_rng(0))
    with pytest.raises(DetectorInputError, match="unlike bases"):
        merge([one, two])


def test_keywords_are_the_words_that_set_a_cell_apart() -> None:
    texts = ["crypto wallet stolen", "my crypto wallet is empty", "where is my parcel", "parcel not here"]
    assert set(cell_keywords(texts, np.array([0, 0, 1, 1]), cell=0, background=texts[2:])) >= {"crypto", "wallet"}


def test_the_rows_a_comparison_permutes_do_not_grow_with_the_texts(basis: Basis) -> None:
    sketch = fold(basis, texts_like(np.random.default_rng(2), 10_000), row_ids=ids(10_000))
    assert sketch.n == 10_000
    assert sketch.rows.shape[0] == sketch.row_ids.size == sketch.row_cells.size == 2048


def everything_known(basis: Basis, seed: int, n: int, *, first: int = 0, length: float = 12.0) -> Sketch:
    rng = np.random.default_rng(seed)
    return fold(
        basis,
        texts_like(rng, n),
        row_ids=ids(n, first),
        classes=rng.integers(0, 2, n),
        confidences=rng.beta(8, 2, n),
        entropies=rng.gamma(2, 0.3, n),
        token_lengths=rng.poisson(length, n),
        unknown_shares=rng.choice([0.0, 0.0, 0.1], n),
        truncated=rng.integers(0, 2, n),
    )


def test_every_detector_tells_its_effect_in_words(basis: Basis) -> None:
    found = compare_sketches(
        everything_known(basis, 11, 300), everything_known(basis, 12, 300), alpha=0.05, rng=np.random.default_rng(0)
    )
    assert isinstance(found, Comparison)
    assert [result.name for result in found.detectors] == list(EFFECTS)
    assert all(result.effect is not None and np.isfinite(result.effect) for result in found.detectors)


def test_effects_are_the_shares_that_were_injected(basis: Basis) -> None:
    reference = fold(basis, texts_like(np.random.default_rng(21), 2000), row_ids=ids(2000))
    mixed = np.concatenate([texts_like(np.random.default_rng(22), 1600), texts_like(np.random.default_rng(23), 400, 8)])
    current = fold(basis, mixed, row_ids=ids(2000))
    found = compare_sketches(reference, current, alpha=0.05, rng=np.random.default_rng(0))
    assert isinstance(found, Comparison)
    effects = {result.name: result.effect for result in found.detectors}
    assert effects["novelty"] == pytest.approx(0.2, abs=0.04)
    # the mean moves by a fifth of 8 / its whitening deviation
    moved = np.linalg.norm(basis.components.T @ (np.eye(WIDTH)[3] * 8 * 0.2))
    assert effects["cosine"] == pytest.approx(moved, rel=0.15)
    assert effects["kl_gaussian"] is not None
    assert 1.0 < effects["kl_gaussian"] < 1.3  # a mixture is wider in the one direction of the shift


def test_texts_that_narrow_and_widen_at_once_are_seen_by_the_spread_of_cosines(basis: Basis) -> None:
    reference = fold(basis, texts_like(np.random.default_rng(51), 800), row_ids=ids(800))
    rows = texts_like(np.random.default_rng(52), 800)
    # half come nearer and half go farther off: mean and covariance stay, and nothing is farther than the basis knows
    reach = np.where(np.arange(800) % 2 == 0, 0.75, np.sqrt(2 - 0.75**2))
    current = fold(basis, basis.mean + (rows - basis.mean) * reach[:, None], row_ids=ids(800))
    found = compare_sketches(reference, current, alpha=0.05, rng=np.random.default_rng(0))
    assert isinstance(found, Comparison)
    named = {result.name: result for result in found.detectors}
    assert named["cosine_spread"].drift
    assert not named["cosine"].drift
    nearer = [np.linalg.norm(sketch.rows.astype(float), axis=1) for sketch in (reference, current)]
    assert named["cosine_spread"].effect == pytest.approx(float(ks_2samp(*nearer).statistic), abs=1 / 32)
    assert EFFECTS["cosine_spread"].startswith("share of texts, at least")


@pytest.mark.parametrize("far", [1e3, 1e5, 1e8, 1e37])
def test_texts_that_are_all_alike_and_far_from_the_baseline_are_judged(basis: Basis, far: float) -> None:
    rng = np.random.default_rng(55)
    usual = texts_like(rng, 200)
    alike = np.repeat(usual[:1] + far * rng.normal(size=(1, WIDTH)), 150, axis=0)
    for before, now in ((usual, alike), (np.repeat(usual[:1], 101, axis=0), alike)):
        sides = fold(basis, before, row_ids=ids(len(before))), fold(basis, now, row_ids=ids(150, first=1000))
        found = compare_sketches(*sides, alpha=0.05, rng=rng, permutations=199)
        assert isinstance(found, Comparison)
        gaussian = next(one for one in found.detectors if one.name == "kl_gaussian")
        assert gaussian.p_value <= 0.01
        assert gaussian.drift


def test_one_text_immensely_far_out_is_no_drift_and_no_error(basis: Basis) -> None:
    sides = [fold(basis, texts_like(np.random.default_rng(s), 200), row_ids=ids(200)) for s in (11, 12)]
    one = fold(basis, np.full((1, WIDTH), 1e15), row_ids=ids(1, first=1000))
    found = compare_sketches(sides[0], merge([sides[1], one]), alpha=0.05, rng=np.random.default_rng(0))
    assert isinstance(found, Comparison)
    assert not found.verdict.drift


def test_a_reference_whose_sample_a_huge_window_has_displaced_is_too_little(basis: Basis) -> None:
    few = fold(basis, texts_like(np.random.default_rng(56), 60), row_ids=ids(60))
    huge = fold(basis, np.repeat(texts_like(np.random.default_rng(57), 1000), 100, axis=0), row_ids=ids(100_000, 60))
    found = compare_sketches(without(merge([few, huge]), huge), huge, alpha=0.05, rng=np.random.default_rng(0))
    assert isinstance(found, TooLittleData)
    assert (found.reason, found.needed) == ("sampled reference texts", 50)


def test_copies_of_a_text_that_differ_by_rounding_are_no_drift(basis: Basis) -> None:
    rng = np.random.default_rng(53)
    sides = []
    for noise in (0.0, 1e-6):
        rows = texts_like(rng, 400)
        rows[:160] = texts_like(np.random.default_rng(54), 1) + noise
        sides.append(fold(basis, rows, row_ids=ids(400)))
    found = compare_sketches(*sides, alpha=0.05, rng=np.random.default_rng(0))
    assert isinstance(found, Comparison)
    assert next(one for one in found.detectors if one.name == "cosine_spread").p_value > 0.05


def test_novelty_keeps_three_fifths_of_alpha_and_all_others_share_the_rest_evenly() -> None:
    shares = _shares_of_alpha(tuple(EFFECTS))
    assert shares.pop("novelty") == NOVELTY_SHARE == 0.6
    assert list(shares.values()) == pytest.approx([0.4 / (len(EFFECTS) - 1)] * (len(EFFECTS) - 1))
    assert "cosine_spread" in shares


def test_a_window_larger_than_its_sample_is_judged_on_all_its_counts(basis: Basis) -> None:
    sides = []
    for seed, length in ((31, 12.0), (32, 12.4)):
        parts = [everything_known(basis, seed * 100 + i, 4000, first=4000 * i, length=length) for i in range(5)]
        sides.append(merge(parts))
    found = compare_sketches(*sides, alpha=0.01, rng=np.random.default_rng(0))
    assert isinstance(found, Comparison)
    # 20,000 a side: the shift of 0.4 tokens is clear on all texts and lost on 2,048
    assert {result.name for result in found.detectors if result.drift} == {"ad_token_length"}
    assert found.verdict.drift
    assert found.verdict.p_value <= 0.01


def test_rows_without_a_prediction_are_judged_on_those_that_have_one(basis: Basis) -> None:
    half = np.where(np.arange(400) % 2 == 0, -1, np.arange(400) // 2 % 2)
    reference = fold(basis, texts_like(np.random.default_rng(41), 400), row_ids=ids(400), classes=half)
    rows = texts_like(np.random.default_rng(42), 400)
    current = fold(basis, rows, row_ids=ids(400), classes=np.where(half < 0, -1, 0))
    found = compare_sketches(reference, current, alpha=0.01, rng=np.random.default_rng(0))
    assert isinstance(found, Comparison)
    assert {result.name for result in found.detectors if result.drift} == {"js_classes"}


def test_a_careful_baseline_lowers_alpha_and_says_so(basis: Basis) -> None:
    sides = [fold(basis, texts_like(np.random.default_rng(s), 200), row_ids=ids(200)) for s in (1, 2)]
    found = compare_sketches(*sides, alpha=0.05, rng=np.random.default_rng(3), baseline_confidence=0.9)
    assert isinstance(found, Comparison)
    assert found.verdict.alpha == pytest.approx(0.0193, abs=1e-4)
    with pytest.raises(DetectorInputError, match="baseline_confidence lies in"):
        compare_sketches(*sides, alpha=0.05, rng=np.random.default_rng(3), baseline_confidence=1.0)
