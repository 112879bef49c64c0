import krippendorff
import numpy as np
import pytest

from detectors.agreement import annotator_agreement
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated


def triples(table: np.ndarray) -> list[tuple[str, str, str]]:
    return [
        (str(unit), str(annotator), str(int(value)))
        for (annotator, unit), value in np.ndenumerate(table)
        if not np.isnan(value)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_alpha_is_that_of_the_krippendorff_package_with_labels_missing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 3, size=(4, 30)).astype(float)
    table[1:, ::2] = table[0, ::2]
    table[rng.random(table.shape) < 0.3] = np.nan
    found = annotator_agreement(triples(table), rng=np.random.default_rng(1))
    assert isinstance(found, Estimate)
    expected = krippendorff.alpha(reliability_data=table, level_of_measurement="nominal")
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low <= found.value <= found.high


def test_too_few_shared_texts_or_one_class_alone_are_not_estimated() -> None:
    rng = np.random.default_rng(1)
    assert annotator_agreement([("1", "a", "x"), ("2", "b", "x")], rng=rng) == NotEstimated(
        "krippendorff_alpha", "too few texts have labels of two annotators", 0, 2
    )
    same = [(unit, who, "x") for unit in "123" for who in "ab"]
    assert isinstance(annotator_agreement(same, rng=rng), NotEstimated)


def test_two_labels_of_one_annotator_and_text_are_refused() -> None:
    with pytest.raises(DetectorInputError, match="at most one label"):
        annotator_agreement([("1", "a", "x"), ("1", "a", "y")], rng=np.random.default_rng(1))
