import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from detectors.confidence import wilson_interval
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated
from detectors.quality import classification_quality


@given(st.integers(1, 80), st.integers(1, 6), st.integers(0, 10_000))
def test_values_are_those_of_scikit_learn(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    answers, truths = rng.integers(0, k, size=n), rng.integers(0, k, size=n)
    chances = rng.uniform(0.05, 1, size=n)
    found = {m.name: m for m in classification_quality(answers, truths, inclusion_probability=chances)}
    labels = np.unique(np.concatenate([answers, truths]))
    weights = 1 / chances
    assert found["accuracy"].value == pytest.approx(accuracy_score(truths, answers, sample_weight=weights))
    expected = f1_score(truths, answers, average="macro", sample_weight=weights, zero_division=0)
    assert found["macro_f1"].value == pytest.approx(expected)
    columns = precision_recall_fscore_support(
        truths, answers, labels=labels, sample_weight=weights, zero_division=np.nan
    )[:3]
    for name, column in zip(("precision", "recall", "f1"), columns, strict=True):
        for label, value in zip(labels, column, strict=True):
            measure = found[f"{name}[{label}]"]
            if isinstance(measure, NotEstimated):
                assert np.isnan(value)
            else:
                assert measure.value == pytest.approx(value)
                assert 0 <= measure.low <= measure.value <= measure.high <= 1


def test_shares_carry_wilsons_interval_and_f1_that_of_its_share() -> None:
    answers, truths = list("aaaabbbbcc"), list("aaabbbbbca")
    found = {m.name: m for m in classification_quality(answers, truths)}
    precision, f1 = found["precision[a]"], found["f1[a]"]
    expected = wilson_interval(3, 4)
    assert (precision.low, precision.high, precision.n) == pytest.approx((expected.lower, expected.upper, 4))
    share = wilson_interval(3, 5)  # rows 0 to 4 and 9 but that row 3 and 9 are wrong: 3 right of 5
    assert (f1.low, f1.high, f1.n) == pytest.approx(
        (2 * share.lower / (1 + share.lower), 2 * share.upper / (1 + share.upper), 5)
    )
    assert [m.name for m in classification_quality(answers, truths)][:3] == ["accuracy", "macro_f1", "precision[a]"]


def test_macro_f1_has_the_deviation_that_a_bootstrap_shows() -> None:
    rng = np.random.default_rng(1)
    truths = rng.choice(4, size=1500, p=[0.5, 0.3, 0.15, 0.05])
    answers = np.where(rng.random(1500) < 0.8, truths, rng.integers(0, 4, size=1500))
    macro = classification_quality(answers, truths)[1]
    assert isinstance(macro, Estimate)
    draws = [rng.integers(0, 1500, size=1500) for _ in range(400)]
    deviation = np.std([f1_score(truths[rows], answers[rows], average="macro") for rows in draws])
    assert (macro.high - macro.low) / (2 * 1.96) == pytest.approx(deviation, rel=0.12)


def test_answers_without_an_error_still_have_a_lower_bound_below_1() -> None:
    accuracy, macro, *_ = classification_quality(["a"] * 10 + ["b"] * 10, ["a"] * 10 + ["b"] * 10)
    assert isinstance(macro, Estimate)
    assert accuracy.low == pytest.approx(wilson_interval(20, 20).lower)
    assert macro.low < 0.9
    assert macro.high == 1


def test_no_rows_and_absent_classes_are_not_estimated() -> None:
    assert all(isinstance(m, NotEstimated) for m in classification_quality([], [], classes=["a"]))
    found = {m.name: m for m in classification_quality(["a"], ["a"], classes=["b", "a"])}
    assert isinstance(found["recall[b]"], NotEstimated)
    assert found["macro_f1"].value == 1
    assert list(found)[2] == "precision[b]"


def test_answers_that_cannot_be_judged_are_named() -> None:
    with pytest.raises(DetectorInputError, match=r"equal in length, got \(2,\) and \(1,\)"):
        classification_quality(["a", "b"], ["a"])
    with pytest.raises(DetectorInputError, match="such as 'z'"):
        classification_quality(["z"], ["a"], classes=["a"])
    with pytest.raises(DetectorInputError, match="differ"):
        classification_quality(["a"], ["a"], classes=["a", "a"])
    with pytest.raises(DetectorInputError, match="whole numbers, got dtype float64"):
        classification_quality([0.5], [0.5])
