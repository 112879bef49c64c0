import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from detectors.attribution import cell_keywords, drift_scores
from detectors.compare import compare_sketches
from detectors.errors import DetectorInputError
from detectors.kl import gaussian_kl, js_divergence, kl_divergence
from detectors.permutation import critical_value, p_value, permute_rows
from detectors.results import Comparison, TooLittleData
from detectors.sketch import Basis, Sketch, empty_sketch, fit_basis, fold, merge

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


def test_a_p_value_counts_ties_and_is_never_zero() -> None:
    assert p_value(9.0, np.zeros(99)) == 0.01
    assert p_value(0.0, np.zeros(99)) == 1.0


def test_the_critical_value_is_where_the_p_value_crosses_alpha() -> None:
    null = np.random.default_rng(0).normal(size=999)
    threshold = critical_value(null, alpha=0.05)
    assert p_value(threshold, null) <= 0.05 < p_value(threshold - 0.05, null)


def test_row_permutation_agrees_with_a_brute_force_twin() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(30, 3))

    def gap(assignment: np.ndarray) -> np.ndarray:
        n = assignment.sum(axis=1, keepdims=True)
        return np.linalg.norm(assignment @ rows / n - (1 - assignment) @ rows / (30 - n), axis=1)

    observed, null = permute_rows(gap, reference_n=20, current_n=10, permutations=4000, rng=rng)
    assert observed == pytest.approx(np.linalg.norm(rows[20:].mean(0) - rows[:20].mean(0)))
    twin = []
    for _ in range(4000):
        order = rng.permutation(30)
        twin.append(np.linalg.norm(rows[order[:10]].mean(0) - rows[order[10:]].mean(0)))
    assert null.mean() == pytest.approx(np.mean(twin), rel=0.03)


def test_merging_64_shards_equals_one_pass(basis: Basis) -> None:
    rows = texts_like(np.random.default_rng(3), 6400)
    classes = np.random.default_rng(4).integers(-1, 3, 6400)
    confidences = np.random.default_rng(4).uniform(size=6400)
    whole = fold(basis, rows, row_ids=ids(6400), classes=classes, confidences=confidences)
    shards = [
        fold(basis, rows[part], row_ids=part, classes=classes[part], confidences=confidences[part])
        for part in np.array_split(np.random.default_rng(6).permutation(6400), 64)
    ]
    merged = merge(shards)
    for name in ("total", "outer", "feature_total"):
        np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-9, atol=1e-7)
    for name in ("cell_counts", "class_counts", "confidence_counts", "row_ids", "row_cells"):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    assert merged.n == whole.n == 6400
    assert len(whole.to_bytes()) < 1 << 20


def test_the_empty_sketch_is_neutral(basis: Basis) -> None:
    sketch = fold(basis, texts_like(np.random.default_rng(3), 80), row_ids=ids(80))
    assert merge([empty_sketch(basis), sketch]).to_bytes() == sketch.to_bytes()


def test_bytes_come_back_and_corrupted_ones_are_refused(basis: Basis) -> None:
    payload = fold(basis, texts_like(np.random.default_rng(3), 80), row_ids=ids(80)).to_bytes()
    assert Sketch.from_bytes(payload).to_bytes() == payload
    assert Basis.from_bytes(basis.to_bytes()).digest() == basis.digest()
    broken = bytearray(payload)
    broken[len(broken) // 2] ^= 1
    for wrong in (bytes(broken), payload[:-1], b"", basis.to_bytes()):
        with pytest.raises(DetectorInputError):
            Sketch.from_bytes(wrong)


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


def test_the_same_seed_gives_the_same_verdict(basis: Basis) -> None:
    sides = [fold(basis, texts_like(np.random.default_rng(s), 200), row_ids=ids(200)) for s in (1, 2)]
    first, second = (compare_sketches(*sides, alpha=0.05, rng=np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_changed_predictions_are_found_although_texts_are_alike(basis: Basis) -> None:
    rows = [texts_like(np.random.default_rng(s), 400) for s in (1, 2)]
    reference = fold(basis, rows[0], row_ids=ids(400), classes=np.repeat([0, 1], 200))
    current = fold(basis, rows[1], row_ids=ids(400), classes=np.repeat([0, 1], [330, 70]))
    found = compare_sketches(reference, current, alpha=0.01, rng=np.random.default_rng(1))
    assert isinstance(found, Comparison)
    assert {result.name for result in found.detectors if result.drift} == {"js_classes"}


def test_few_texts_are_too_little_data_and_not_a_verdict(basis: Basis) -> None:
    reference = fold(basis, texts_like(np.random.default_rng(1), 200), row_ids=ids(200))
    current = fold(basis, texts_like(np.random.default_rng(2), 12), row_ids=ids(12))
    answer = compare_sketches(reference, current, alpha=0.05, rng=np.random.default_rng(0))
    assert answer == TooLittleData("current texts", got=12, needed=50)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros(5), "2-D, got shape"),
        (np.full((60, 3), np.nan), r"\[0, 0\] is nan"),
        (np.ones((60, 3)), "all the same"),
        (np.ones((6, 3)), "at least 50"),
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
