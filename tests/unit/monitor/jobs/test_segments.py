"""Drifted segments of two sketches, from the attributes of their rows."""

import numpy as np
import pytest

from detectors.sketch import Sketch, fit_basis, fold
from monitor.jobs.segments import MOST_SEGMENTS, attribute_columns, drifted_segments

LANGUAGES = ("de", "en", "fr")


def side(basis_rows: np.ndarray, *, seed: int, moved: float) -> tuple[Sketch, dict[str, list[str | None]]]:
    rng = np.random.default_rng(seed)
    languages = rng.choice(LANGUAGES, size=900)
    rows = rng.normal(size=(900, 8))
    rows[languages == "de"] += moved
    basis = fit_basis(basis_rows, rng=np.random.default_rng(0), dimension=8, cells=8)
    sketch = fold(basis, rows, row_ids=np.arange(900))
    found = [{"language": str(languages[i]), "channel": "chat"} for i in sketch.row_ids]
    return sketch, attribute_columns(found)


@pytest.fixture(scope="module")
def basis_rows() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(900, 8))


def test_the_segment_that_moved_is_named_and_the_others_are_not(basis_rows: np.ndarray) -> None:
    (before, old), (now, new) = side(basis_rows, seed=2, moved=0.0), side(basis_rows, seed=3, moved=1.0)
    found = drifted_segments(
        before, now, reference_attributes=old, current_attributes=new, rng=np.random.default_rng(4)
    )
    assert found[0]["segment"] in ({"language": "de"}, {"channel": "chat", "language": "de"})
    assert {"language": "en"} not in [one["segment"] for one in found]
    assert set(found[0]) == {"segment", "reference_n", "current_n", "effect", "p_value", "adjusted_p_value"}
    assert found[0]["adjusted_p_value"] <= 0.05
    assert len(found) <= MOST_SEGMENTS


def test_without_shared_attributes_or_enough_rows_nothing_is_searched(basis_rows: np.ndarray) -> None:
    sketch, columns = side(basis_rows, seed=2, moved=0.0)
    lonely = attribute_columns([{"language": str(i)} for i in range(900)])
    for reference in ({}, {"country": columns["language"]}, lonely):
        found = drifted_segments(
            sketch, sketch, reference_attributes=reference, current_attributes=columns, rng=np.random.default_rng(0)
        )
        assert found == ()


def test_rows_without_an_attribute_hold_nothing_in_its_column() -> None:
    assert attribute_columns([{"a": "1"}, None, {"b": "2"}]) == {"a": ["1", None, None], "b": [None, None, "2"]}
    assert attribute_columns([None, None]) == {}
