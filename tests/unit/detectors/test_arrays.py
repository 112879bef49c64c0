"""Sketches of torch tensors: the linear algebra runs where they lie, and the answers are numpy's."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from detectors.arrays import STRIP_ROWS, summed, widest
from detectors.compare import compare_sketches
from detectors.errors import DetectorInputError
from detectors.novelty import nearest_distances
from detectors.results import Comparison
from detectors.sketch import ROW_SAMPLE, Basis, Sketch, fit_basis, fold

torch = pytest.importorskip("torch", reason="needs the models extra")

WIDTH = 96
SUMS = {"total", "outer", "feature_total", "rows", "row_novelties"}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def texts_like(rng: np.random.Generator, n: int, *, shift: float = 0.0) -> np.ndarray:
    return (rng.normal(size=(n, WIDTH)) * np.arange(1, WIDTH + 1) ** -0.7 + 5 + shift).astype(np.float32)


@pytest.fixture(scope="module")
def basis() -> Basis:
    fitted = fit_basis(texts_like(np.random.default_rng(1), 2600), rng=np.random.default_rng(2), classes=("a",))
    return Basis.from_bytes(fitted.to_bytes())  # its arrays are read-only, as those of a stored baseline


def on(device: str, rows: np.ndarray) -> Any:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.from_numpy(rows).to(device)


def assert_same_sketch(found: Sketch, wanted: Sketch, *, bound: float) -> None:
    assert (found.n, found.basis_digest) == (wanted.n, wanted.basis_digest)
    for name in Sketch.__dataclass_fields__.keys() - {"n", "basis_digest"}:
        have, want = getattr(found, name), getattr(wanted, name)
        assert type(have) is np.ndarray
        assert have.dtype == want.dtype, name
        if name in SUMS:
            np.testing.assert_allclose(have, want, rtol=0, atol=bound * np.abs(want).max(initial=0), err_msg=name)
        else:
            np.testing.assert_array_equal(have, want, err_msg=name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tensors_sketch_is_numpys(basis: Basis, device: str, dtype: type) -> None:
    rng = np.random.default_rng(3)
    rows = texts_like(rng, ROW_SAMPLE + 1500).astype(dtype)
    given = {"row_ids": rng.permutation(len(rows)), "confidences": rng.uniform(size=len(rows))}
    found, wanted = (fold(basis, one, **given) for one in (on(device, rows), rows))
    # rows and novelties are kept as float32: an ulp apart at most
    assert_same_sketch(found, wanted, bound=2e-7)
    for name in ("total", "outer", "feature_total"):
        assert np.abs(getattr(found, name) - getattr(wanted, name)).max() <= 1e-10 * np.abs(getattr(wanted, name)).max()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.3])
def test_a_window_of_tensors_gets_numpys_verdict(basis: Basis, device: str, shift: float) -> None:
    rng = np.random.default_rng(4)
    reference, current = texts_like(rng, 700), texts_like(rng, 500, shift=shift)
    before = fold(basis, reference, row_ids=np.arange(700))
    judged = []
    for rows in (current, on(device, current)):
        now = fold(basis, rows, row_ids=np.arange(1000, 1500))
        found = compare_sketches(before, now, alpha=0.05, rng=np.random.default_rng(5), permutations=199)
        assert isinstance(found, Comparison)
        judged.append(found)
    plain, there = judged
    assert there.verdict == plain.verdict
    for one, other in zip(there.detectors, plain.detectors, strict=True):
        assert (one.name, one.p_value, one.drift) == (other.name, other.p_value, other.drift)
        assert one.statistic == pytest.approx(other.statistic, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_few_or_no_rows_are_a_sketch(basis: Basis, rows: int) -> None:
    few = texts_like(np.random.default_rng(6), rows)
    assert_same_sketch(
        fold(basis, torch.from_numpy(few), row_ids=np.arange(rows)),
        fold(basis, few, row_ids=np.arange(rows)),
        bound=2e-7,
    )


def test_half_precision_and_whole_numbers_are_widened(basis: Basis) -> None:
    rows = texts_like(np.random.default_rng(7), 40)
    for tensor in (torch.from_numpy(rows).half(), torch.from_numpy(rows).bfloat16(), torch.from_numpy(rows).int()):
        wanted = fold(basis, tensor.double().numpy(), row_ids=np.arange(40))
        assert_same_sketch(fold(basis, tensor, row_ids=np.arange(40)), wanted, bound=2e-7)


def test_a_basis_without_a_sample_knows_no_novelty() -> None:
    rows = torch.ones((3, 4), dtype=torch.float64)
    assert torch.isnan(nearest_distances(torch.zeros((0, 4), dtype=torch.float64), rows)).all()


def with_entry(value: float) -> np.ndarray:
    rows = np.zeros((3, WIDTH))
    rows[1, 2] = value
    return rows


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "rows",
    [with_entry(np.nan), with_entry(-np.inf), with_entry(1e39), np.zeros((3, 5)), np.zeros(WIDTH), np.zeros((2, 0))],
    ids=["nan", "inf", "too large", "width", "rank", "no columns"],
)
def test_what_numpy_refuses_a_tensor_is_refused_with_the_same_words(
    basis: Basis, device: str, rows: np.ndarray
) -> None:
    said = []
    for given in (rows, on(device, rows)):
        with pytest.raises(DetectorInputError) as caught:
            fold(basis, given, row_ids=np.arange(len(rows)))
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: torch.ones((3, WIDTH), requires_grad=True), "tracks gradients: pass it detached"),
        (lambda: torch.ones((3, WIDTH), dtype=torch.bool), "must be numeric, got dtype torch.bool"),
        (lambda: torch.ones((3, WIDTH), dtype=torch.complex64), "must be numeric, got dtype torch.complex64"),
    ],
)
def test_tensors_that_are_no_embeddings_are_refused(basis: Basis, made: Any, words: str) -> None:
    with pytest.raises(DetectorInputError, match=words):
        fold(basis, made(), row_ids=np.arange(3))


def test_float32_sums_of_a_device_without_float64_stay_near() -> None:
    rows = np.random.default_rng(8).normal(3, 1, size=(40 * STRIP_ROWS + 3, 4)).astype(np.float32)
    wanted = rows.astype(np.float64)
    total = summed(lambda strip: strip.sum(axis=0), torch.from_numpy(rows))
    outer = summed(lambda strip: strip.T @ strip, torch.from_numpy(rows))
    np.testing.assert_allclose(total, wanted.sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(outer, wanted.T @ wanted, rtol=1e-6)


def test_rows_a_device_can_only_hold_in_float32_are_measured_in_float32(basis: Basis) -> None:
    rows = basis.project(texts_like(np.random.default_rng(9), 500))
    single = torch.from_numpy(rows).float()
    for measure in (basis.novelty_of, basis.feature_map):
        found = measure(single)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), measure(rows), rtol=1e-4, atol=1e-5)
    assert np.count_nonzero(basis.cell_of(single).numpy() != basis.cell_of(rows)) <= 1


def test_float64_is_computed_in_where_the_device_has_it() -> None:
    assert widest(torch.ones(1, dtype=torch.float16)) == torch.float64
    assert widest(np.ones(1, dtype=np.float32)) == np.float64


def test_folding_numpy_rows_loads_no_torch() -> None:
    program = (
        "import sys, numpy as np; from detectors.sketch import fit_basis, fold; rng = np.random.default_rng(0);"
        "rows = rng.normal(size=(60, 5)); fold(fit_basis(rows, rng=rng), rows, row_ids=np.arange(60));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
