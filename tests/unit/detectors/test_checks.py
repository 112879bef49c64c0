"""Arrays at the edge of the detectors: what cannot be sketched is refused by position and value."""

import numpy as np
import pytest

from detectors.checks import matrix, outcomes
from detectors.errors import DetectorInputError
from detectors.sketch import fit_basis, fold


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones((100, 0)), r"at least one column, got shape \(100, 0\)"),
        (np.array([[1.0, 1e40]]), r"rows\[0, 1\] is 1e\+40, beyond the range of float32"),
        (np.array([[1.0], [np.inf]]), r"rows\[1, 0\] is inf$"),
        (np.array([[{}]], dtype=object), "numeric, got dtype object"),
        (np.zeros((2, 2), dtype=[("a", "f4")]), "numeric, got dtype"),
    ],
)
def test_a_matrix_that_cannot_be_sketched_is_refused(values: np.ndarray, said: str) -> None:
    with pytest.raises(DetectorInputError, match=said):
        matrix("rows", values)


def test_no_rows_are_a_matrix() -> None:
    assert matrix("rows", np.ones((0, 3))).shape == (0, 3)


def test_rows_too_far_from_the_reference_for_a_sketch_are_refused() -> None:
    rng = np.random.default_rng(0)
    basis = fit_basis(rng.normal(size=(100, 4)) * 1e-6, rng=rng)
    rows = np.zeros((3, 4))
    rows[2] = 1e37
    with pytest.raises(DetectorInputError, match=r"projected embeddings\[2, \d\] is .*beyond the range of float32"):
        fold(basis, rows, row_ids=np.arange(3))


def test_outcomes_are_zero_or_one() -> None:
    assert outcomes("right", [True, False]).tolist() == [1.0, 0.0]
    with pytest.raises(DetectorInputError, match=r"right must be 0 or 1, got 0\.5 at 1"):
        outcomes("right", [1, 0.5])
