"""Sets of labels and classes at every look: scikit-learn's values, hand-computed ones, and what intervals promise."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score
from sklearn.preprocessing import MultiLabelBinarizer

from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated
from detectors.label_sets import class_sequences, set_quality
from detectors.quality import classification_quality

CLASSES = ("a", "b", "c", "d")


def drawn(seed: int, n: int = 300) -> tuple[list[list[str]], list[list[str]]]:
    rng = np.random.default_rng(seed)
    true = rng.random((n, 4)) < [0.5, 0.3, 0.2, 0.1]
    predicted = np.where(rng.random((n, 4)) < 0.85, true, ~true)
    return tuple([[CLASSES[c] for c in np.flatnonzero(row)] for row in side] for side in (predicted, true))  # type: ignore[return-value]


def values(measures: object) -> dict[str, float]:
    return {one.name: one.value for one in measures if isinstance(one, Estimate)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_scikit_learns(weighted: bool) -> None:
    predicted, true = drawn(1)
    chances = np.random.default_rng(2).uniform(0.1, 1.0, len(true)) if weighted else None
    weights = None if chances is None else 1 / chances
    found = values(set_quality(predicted, true, inclusion_probability=chances))
    binary = MultiLabelBinarizer(classes=CLASSES)
    y, z = binary.fit_transform(true), binary.fit_transform(predicted)
    assert found["micro_f1"] == pytest.approx(f1_score(y, z, average="micro", sample_weight=weights), abs=1e-12)
    assert found["macro_f1"] == pytest.approx(f1_score(y, z, average="macro", sample_weight=weights), abs=1e-12)
    assert found["exact_match"] == pytest.approx(np.average((y == z).all(axis=1), weights=weights), abs=1e-12)
    for kind, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = score(y, z, average=None, sample_weight=weights)
        assert [found[f"{kind}[{name}]"] for name in CLASSES] == pytest.approx(list(expected), abs=1e-12)


def test_every_interval_holds_its_value_and_says_its_n() -> None:
    predicted, true = drawn(3)
    for one in (*set_quality(predicted, true), *class_sequences(predicted, true)):
        assert isinstance(one, Estimate)
        assert 0 <= one.low <= one.value <= one.high <= 1
        assert 0 < one.n <= 300
        assert one.high - one.low < 0.5


def test_a_class_never_predicted_has_no_precision_and_says_why() -> None:
    (missing,) = [
        one for one in set_quality([["a"]] * 5, [["a"], ["b"], ["a"], ["a"], []]) if one.name == "precision[b]"
    ]
    assert missing == NotEstimated("precision[b]", "no row to judge", 0, 1)


def test_single_labels_as_sets_are_the_classification() -> None:
    rng = np.random.default_rng(4)
    true = rng.choice(list("abc"), 200)
    predicted = np.where(rng.random(200) < 0.8, true, "a")
    as_sets = {one.name: one for one in set_quality([[p] for p in predicted], [[t] for t in true])}
    for one in classification_quality(predicted, true)[1:]:
        assert isinstance(one, Estimate)
        twin = as_sets[one.name]
        assert isinstance(twin, Estimate)
        assert (twin.value, twin.low, twin.high) == pytest.approx((one.value, one.low, one.high), abs=1e-9)


def test_all_right_still_leaves_room_below() -> None:
    macro = next(one for one in set_quality([["a"], ["b"]] * 20, [["a"], ["b"]] * 20) if one.name == "macro_f1")
    assert isinstance(macro, Estimate)
    assert macro.high == 1.0
    assert 0.8 < macro.low < 0.95


@pytest.mark.statistical
def test_macro_f1_holds_at_every_look_together() -> None:
    rng, missed = np.random.default_rng(5), 0
    for _ in range(60):
        true = rng.choice(list("ab"), 150, p=[0.7, 0.3])
        predicted = np.where(rng.random(150) < 0.8, true, np.where(true == "a", "b", "a"))
        truth = np.mean([2 * 0.56 / (0.7 + 0.62), 2 * 0.24 / (0.3 + 0.38)])  # P(a predicted) = 0.56 + 0.06
        looks = [class_sequences([[p] for p in predicted[:n]], [[t] for t in true[:n]])[0] for n in (20, 60, 100, 150)]
        missed += any(not one.low <= truth <= one.high for one in looks if isinstance(one, Estimate))
    assert missed <= 6  # 60 · 0.05 = 3; P(more than 6) < 0.03


def test_lengths_must_agree() -> None:
    with pytest.raises(DetectorInputError, match="equal in length, got 1 and 2"):
        set_quality([["a"]], [["a"], ["b"]])
