from pathlib import Path

import numpy as np
import pytest

from detectors.compare import compare_sketches
from detectors.errors import DetectorInputError
from detectors.results import Comparison
from detectors.sketch import QUANTITIES, Basis, Sketch, empty_sketch, fit_basis, fold, merge, without

GOLDEN = Path(__file__).parents[2] / "golden"
WIDTH = 80


def texts_like(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=(n, WIDTH)) * np.arange(1, WIDTH + 1) ** -0.7 + 5


@pytest.fixture(scope="module")
def basis() -> Basis:
    rows = texts_like(np.random.default_rng(1), 2600)
    return fit_basis(rows, rng=np.random.default_rng(2), classes=("a", "b"))


def known(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {
        "classes": rng.integers(-1, 3, n),
        "confidences": np.where(rng.uniform(size=n) < 0.1, np.nan, rng.uniform(size=n)),
        "entropies": rng.gamma(2, 0.4, n),
        "token_lengths": rng.integers(1, 600, n),
        "unknown_shares": rng.choice([0.0, 0.0, 0.03, 1.0], n),
        "truncated": rng.integers(0, 2, n).astype(bool),
    }


def test_merging_64_shards_equals_one_pass(basis: Basis) -> None:
    rng = np.random.default_rng(3)
    rows, given = texts_like(rng, 6400), known(rng, 6400)
    ids = np.arange(6400)
    whole = fold(basis, rows, row_ids=ids, **given)
    shards = [
        fold(basis, rows[part], row_ids=part, **{name: values[part] for name, values in given.items()})
        for part in np.array_split(rng.permutation(6400), 64)
    ]
    merged = merge(shards)
    projected = np.abs(basis.project(rows))
    for name, size in (("total", projected.sum(axis=0)), ("outer", projected.T @ projected), ("feature_total", 6400.0)):
        assert np.max(np.abs(getattr(merged, name) - getattr(whole, name)) / size) < 1e-10
    exact = ("cell_counts", "class_counts", "row_ids", "row_cells", "row_classes", "row_bins")
    for name in (*exact, *(f"{quantity}_counts" for quantity in QUANTITIES)):
        np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    np.testing.assert_allclose(merged.row_novelties, whole.row_novelties, rtol=1e-5)
    assert merged.n == whole.n == 6400


def test_a_sketch_of_an_hour_weighs_less_than_a_mebibyte() -> None:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(5000, 768))
    basis = fit_basis(rows[:2000], rng=rng, classes=[str(i) for i in range(150)])
    sketch = fold(basis, rows[2000:], row_ids=np.arange(3000), **known(rng, 3000))
    assert sketch.rows.shape == (2048, 64)
    assert len(sketch.to_bytes()) < 1 << 20


def test_histograms_hold_every_known_value_and_no_unknown_one(basis: Basis) -> None:
    rng = np.random.default_rng(5)
    given = known(rng, 500)
    sketch = fold(basis, texts_like(rng, 500), row_ids=np.arange(500), **given)
    assert sketch.confidence_counts.sum() == np.count_nonzero(~np.isnan(given["confidences"]))
    assert sketch.truncated_counts.tolist() == np.bincount(given["truncated"]).tolist()
    assert sketch.unknown_share_counts[0] == np.count_nonzero(given["unknown_shares"] == 0)
    for quantity in QUANTITIES:
        held = sketch.bins_of(quantity)
        counted = np.bincount(held[held != 255], minlength=sketch.counts_of(quantity).size)
        np.testing.assert_array_equal(counted, sketch.counts_of(quantity))


def test_the_empty_sketch_is_neutral(basis: Basis) -> None:
    sketch = fold(basis, texts_like(np.random.default_rng(3), 80), row_ids=np.arange(80))
    assert merge([empty_sketch(basis), sketch]).to_bytes() == sketch.to_bytes()


def test_bytes_come_back_and_corrupted_ones_are_refused(basis: Basis) -> None:
    payload = fold(basis, texts_like(np.random.default_rng(3), 80), row_ids=np.arange(80)).to_bytes()
    assert Sketch.from_bytes(payload).to_bytes() == payload
    assert Basis.from_bytes(basis.to_bytes()).digest() == basis.digest()
    newer = payload[:4] + (3).to_bytes(2, "little") + payload[6:]
    for wrong in (payload[:-1], b"", basis.to_bytes(), newer):
        with pytest.raises(DetectorInputError):
            Sketch.from_bytes(wrong)
    for position in range(0, len(payload), 997):
        broken = bytearray(payload)
        broken[position] ^= 1
        with pytest.raises(DetectorInputError):
            Sketch.from_bytes(bytes(broken))


@pytest.mark.parametrize("version", [1, 2])
def test_every_version_ever_written_is_read_and_judged(version: int) -> None:
    basis = Basis.from_bytes((GOLDEN / f"basis_v{version}.bin").read_bytes())
    payload = (GOLDEN / f"sketch_v{version}.bin").read_bytes()
    sketch = Sketch.from_bytes(payload)
    assert basis.to_bytes() == (GOLDEN / f"basis_v{version}.bin").read_bytes()
    assert basis.digest() == sketch.basis_digest
    assert (sketch.n, sketch.rows.shape, int(sketch.confidence_counts.sum())) == (40, (40, 4), 40)
    assert sketch.novelty_counts.sum() == sketch.token_length_counts.sum() == (40 if version == 2 else 0)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 6)) * [3, 2, 1, 1, 0.5, 0.1] + 5
    fresh = fold(basis, rows, row_ids=np.arange(100, 160), classes=rng.integers(0, 2, 60), token_lengths=np.ones(60))
    merged = merge([sketch, fresh])
    assert merged.n == 100
    found = compare_sketches(merged, fresh, alpha=0.05, rng=rng, permutations=199, minimum=20)
    assert isinstance(found, Comparison)
    names = {result.name for result in found.detectors}
    assert names >= {"kl_cells", "kl_gaussian", "cosine", "js_classes"}
    assert ("novelty" in names) == (version == 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"confidences": np.full(5, 1.5)}, r"confidence lies in \[0, 1\], got 1.5"),
        ({"entropies": np.full(5, -0.1)}, r"entropy lies in \[0, inf\], got -0.1"),
        ({"token_lengths": np.ones(4)}, r"token_length must be one per row, got \(4,\)"),
        ({"unknown_shares": np.full(5, 2.0)}, "unknown_share lies in"),
        ({"truncated": np.full(5, 2)}, "truncated lies in"),
        ({"classes": np.full(5, 3)}, "classes must be 5 indexes"),
        ({"row_ids": np.arange(4)}, "row_ids must be one per row"),
    ],
)
def test_values_out_of_their_range_are_refused(basis: Basis, given: dict[str, np.ndarray], message: str) -> None:
    rows = texts_like(np.random.default_rng(0), 5)
    with pytest.raises(DetectorInputError, match=message):
        fold(basis, rows, **{"row_ids": np.arange(5), **given})


def test_a_part_taken_out_again_leaves_the_others() -> None:
    rows = np.random.default_rng(3).normal(size=(600, 10))
    basis = fit_basis(np.random.default_rng(4).normal(size=(300, 10)), rng=np.random.default_rng(0))
    parts = [fold(basis, rows[i : i + 200], row_ids=np.arange(i, i + 200)) for i in (0, 200, 400)]
    rest, wanted = without(merge(parts), parts[1]), merge([parts[0], parts[2]])
    assert rest.n == wanted.n == 400
    np.testing.assert_allclose(rest.outer, wanted.outer)
    np.testing.assert_array_equal(rest.cell_counts, wanted.cell_counts)
    np.testing.assert_array_equal(rest.row_ids, wanted.row_ids)
    np.testing.assert_array_equal(rest.rows, wanted.rows)
    with pytest.raises(DetectorInputError, match="no part of 200 rows"):
        without(parts[0], merge(parts))
