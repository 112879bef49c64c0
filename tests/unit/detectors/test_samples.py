from typing import Any

import numpy as np
import pytest

from detectors.errors import DetectorInputError
from detectors.results import TooLittleData
from detectors.samples import Samples, pooled_samples, sampled_distances, whitened

torch = pytest.importorskip("torch")

PLAIN = np.random.default_rng(0).normal(size=(6, 3))


def spoiled(value: float) -> Any:
    rows = PLAIN.copy()
    rows[4, 1] = value
    return rows


@pytest.mark.parametrize(
    ("current", "words"),
    [
        (spoiled(np.nan), r"current\[4, 1\] is nan"),
        (spoiled(-np.inf), r"current\[4, 1\] is -inf"),
        (torch.tensor(spoiled(np.inf)), "one array library|is inf"),
        (PLAIN[:, :2], "share a positive width, got 3 and 2"),
        (PLAIN[0], r"2-D, got shape \(3,\)"),
        (PLAIN.astype(np.float16), "reference is float64 and current float16: half precision on one side"),
        (PLAIN.astype(str), "numeric, got dtype"),
        (PLAIN.astype(object), "numeric, got dtype object"),
        (PLAIN > 0, "numeric, got dtype bool"),
        (torch.tensor(PLAIN), "one array library"),
        (torch.tensor(PLAIN, dtype=torch.bfloat16), "float16, float32 or float64, got torch.bfloat16"),
        (torch.tensor(PLAIN, requires_grad=True), "tracks gradients"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_name(current: Any, words: str) -> None:
    with pytest.raises(DetectorInputError, match=words):
        pooled_samples(PLAIN, current, minimum=2)


def test_a_minimum_that_leaves_no_pair_is_refused() -> None:
    with pytest.raises(DetectorInputError, match="at least 2 rows a side, got 1"):
        pooled_samples(PLAIN, PLAIN, minimum=1)


@pytest.mark.parametrize("wrap", [np.asarray, torch.tensor])
def test_too_few_or_all_identical_rows_are_too_little_data(wrap: Any) -> None:
    assert pooled_samples(wrap(PLAIN), wrap(PLAIN[:4]), minimum=5) == TooLittleData("current rows", got=4, needed=5)
    assert pooled_samples(wrap(PLAIN[:0]), wrap(PLAIN), minimum=5) == TooLittleData("reference rows", got=0, needed=5)
    same = wrap(np.ones((9, 3)))
    assert pooled_samples(same, same, minimum=5) == TooLittleData("distinct rows", got=1, needed=2)


@pytest.mark.parametrize("wrap", [np.asarray, torch.tensor])
def test_samples_are_centred_scaled_and_leave_the_callers_arrays_alone(wrap: Any) -> None:
    reference, current = wrap(PLAIN + 100), wrap(PLAIN[:4] + 101)
    samples = pooled_samples(reference, current, minimum=2)
    assert isinstance(samples, Samples)
    assert np.array_equal(np.asarray(reference), PLAIN + 100)
    pooled = np.concatenate([PLAIN + 100, PLAIN[:4] + 101])
    assert samples.scale == np.abs(pooled).max()
    np.testing.assert_allclose(
        np.asarray(samples.rows) * samples.scale, pooled - pooled.mean(axis=0), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("magnitude", [1e-30, 1e30])
def test_float32_of_any_magnitude_stays_finite(magnitude: float) -> None:
    rows = (PLAIN * magnitude).astype(np.float32)
    samples = pooled_samples(rows, rows[::-1], minimum=2)
    assert isinstance(samples, Samples)
    assert 0.5 < np.abs(samples.rows).max() < 2


def test_integers_and_nested_lists_become_float64() -> None:
    samples = pooled_samples([[1, 2], [3, 4]], np.array([[5, 6], [7, 8]], dtype=np.int32), minimum=2)
    assert isinstance(samples, Samples)
    assert samples.rows.dtype == np.float64


@pytest.mark.parametrize("wrap", [np.asarray, torch.tensor])
def test_half_precision_on_both_sides_is_computed_in_single(wrap: Any) -> None:
    half, single = (pooled_samples(*[wrap(PLAIN.astype(np.float16).astype(kind))] * 2, minimum=2) for kind in "ef")
    assert isinstance(half, Samples)
    assert isinstance(single, Samples)
    assert half.rows.dtype == single.rows.dtype
    np.testing.assert_array_equal(np.asarray(half.rows), np.asarray(single.rows))


@pytest.mark.parametrize("wrap", [np.asarray, torch.tensor])
def test_whitening_gives_every_direction_that_stands_out_the_same_weight(wrap: Any) -> None:
    rng = np.random.default_rng(1)
    spread = np.array([100.0, 10.0, 1.0])
    rows = rng.normal(size=(4000, 3)) * spread @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    samples = pooled_samples(wrap(rows[:2500]), wrap(rows[2500:]), minimum=2)
    assert isinstance(samples, Samples)
    placed = whitened(samples, rng=rng)
    covariance = np.cov(np.asarray(placed.rows).T)
    # the ridge is 0.1 · 3/4000 of the mean variance, 0.25 beside variances of 10,000, 100 and 1
    expected = spread**2 / (spread**2 + 0.1 * 3 / 4000 * (spread**2).mean())
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(covariance)), np.sort(expected), rtol=0.1)
    assert (placed.scale, placed.reference_n, placed.current_n) == (1.0, 2500, 1500)


def test_whitening_fewer_rows_than_columns_stays_finite() -> None:
    rng = np.random.default_rng(2)
    samples = pooled_samples(*(rng.normal(size=(5, 64)).astype(np.float32) for _ in range(2)), minimum=2)
    assert isinstance(samples, Samples)
    assert np.isfinite(whitened(samples, rng=rng).rows).all()


def test_distances_between_duplicates_are_left_out() -> None:
    rng = np.random.default_rng(3)
    samples = pooled_samples(np.zeros((50, 2)), np.repeat([[0.0, 0.0], [3.0, 4.0]], [49, 1], axis=0), minimum=2)
    assert isinstance(samples, Samples)
    np.testing.assert_allclose(sampled_distances(samples, rng=rng) * samples.scale, 5, rtol=1e-12)
