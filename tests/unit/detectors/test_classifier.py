import doctest
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from sklearn.linear_model import Ridge

import detectors.classifier
from detectors.classifier import FOLDS, RIDGE, ClassifierResult, classifier
from detectors.errors import DetectorInputError
from detectors.samples import Samples, pooled_samples


def judged(reference: Any, current: Any, **options: Any) -> ClassifierResult:
    found = classifier(
        reference, current, rng=np.random.default_rng(7), **{"permutations": 99, "minimum": 2, **options}
    )
    assert isinstance(found, ClassifierResult)
    return found


def fitted(samples: Samples, *, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    features = detectors.classifier._features(samples, rng.permutation(samples.n), rng=rng)
    return features, detectors.classifier._folds(samples, features)


def test_the_docstrings_numbers_hold() -> None:
    assert doctest.testmod(detectors.classifier).failed == 0


def test_a_hand_computed_area_under_the_curve() -> None:
    # current scores 1, 3, 4 against reference 0, 2: 1 > 0; 3 > 0, 2; 4 > 0, 2: 5 of 6 pairs in order
    scores, sides = np.array([[0.0, 1.0, 2.0, 3.0, 4.0]]), np.array([[0.0, 1.0, 0.0, 1.0, 1.0]])
    assert detectors.classifier._auc(np, scores, sides) == pytest.approx([5 / 6])


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40))
@settings(max_examples=40, deadline=None)
def test_the_area_is_that_of_mann_and_whitney(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(3, n))
    sides = rng.permuted(np.repeat((np.arange(n) < rng.integers(1, n))[None].astype(float), 3, axis=0), axis=1)
    for area, row, side in zip(detectors.classifier._auc(np, scores, sides), scores, sides, strict=True):
        pairs = mannwhitneyu(row[side == 1], row[side == 0]).statistic
        assert area == pytest.approx(pairs / ((side == 1).sum() * (side == 0).sum()))


def test_every_labelling_is_refitted_without_its_held_out_fold() -> None:
    rng = np.random.default_rng(0)
    samples = pooled_samples(rng.normal(size=(23, 4)), rng.normal(1, 1, size=(18, 4)), minimum=2)
    assert isinstance(samples, Samples)
    features, folds = fitted(samples, seed=1)
    labels = rng.permuted(np.repeat((np.arange(41) < 18)[None].astype(np.uint8), 4, axis=0), axis=1)
    scores = detectors.classifier._cross_fitted(samples, features, folds, labels)
    penalty = RIDGE * np.trace(features.T @ features) / features.size
    assert len(folds) == FOLDS
    for fold in folds:
        others = np.delete(np.arange(41), np.arange(41)[fold.held])
        for label, score in zip(labels, scores, strict=True):
            model = Ridge(alpha=penalty * others.size).fit(features[others], label[others])
            twin = model.predict(features[fold.held]) - label[others].mean()
            np.testing.assert_allclose(score[fold.held], twin, atol=1e-10)


def test_the_random_features_stand_for_a_gaussian_kernel() -> None:
    rng = np.random.default_rng(2)
    samples = pooled_samples(rng.normal(size=(40, 4)), rng.normal(size=(40, 4)), minimum=2)
    assert isinstance(samples, Samples)
    features, _ = fitted(samples, seed=3)
    assert features.shape == (80, 4 + detectors.classifier.RANDOM_FEATURES)
    assert (features[:, :4] ** 2).sum(axis=1).mean() == pytest.approx(1)
    assert (features[:, 4:] ** 2).sum(axis=1).mean() < 1
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-12)


def test_a_shift_is_found_and_its_texts_score_highest() -> None:
    rng = np.random.default_rng(4)
    reference, current = rng.normal(size=(400, 16)), rng.normal(size=(300, 16))
    current[:60] += 1.5
    found = judged(reference, current)
    assert found.p_value == 1 / 100
    assert found.effect_size == pytest.approx(2 * found.statistic - 1)
    assert found.reference_scores.shape == (400,)
    assert found.current_scores.shape == (300,)
    assert np.mean(np.argsort(-found.current_scores)[:60] < 60) >= 0.9
    reported = mannwhitneyu(found.current_scores, found.reference_scores).statistic / (400 * 300)
    assert found.statistic == pytest.approx(reported)


def test_a_change_of_spread_alone_is_found() -> None:
    rng = np.random.default_rng(5)
    assert judged(rng.normal(size=(300, 8)), rng.normal(0, 1.4, size=(300, 8))).p_value == 1 / 100


def test_the_order_of_the_sides_only_turns_the_scores_around() -> None:
    rng = np.random.default_rng(6)
    reference, current = rng.normal(size=(150, 6)), rng.normal(0.6, 1, size=(150, 6))
    there, back = judged(reference, current), judged(current, reference)
    assert there.statistic == pytest.approx(back.statistic, abs=0.06)
    assert np.corrcoef(there.current_scores, back.reference_scores)[0, 1] < -0.9


def test_duplicated_texts_and_constant_columns_give_finite_scores_and_no_alarm() -> None:
    rng = np.random.default_rng(9)
    texts = np.concatenate([rng.normal(size=(4, 60)), np.ones((4, 8))], axis=1).astype(np.float32)
    dealt = rng.permutation(np.repeat(np.arange(4), 50))
    found = judged(texts[dealt[:100]], texts[dealt[100:]])
    assert found.p_value > 0.05
    assert np.isfinite(found.current_scores).all()


def test_one_row_unlike_all_others_gives_a_finite_result() -> None:
    rows = np.ones((60, 3))
    rows[17, 1] = 2.0
    found = judged(rows, np.ones((60, 3)))
    assert np.isfinite(found.statistic)
    assert 0 < found.p_value <= 1


def test_a_test_without_permutations_is_refused() -> None:
    rows = np.random.default_rng(10).normal(size=(60, 3))
    with pytest.raises(DetectorInputError, match="permutations must be at least 1, got 0"):
        classifier(rows, rows, rng=np.random.default_rng(0), permutations=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_tensors_give_the_same_verdict_as_numpy_arrays(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(11)
    reference, current = (rng.normal(s, 1, size=(n, 24)).astype(dtype) for s, n in ((0, 200), (0.15, 160)))
    plain = judged(reference, current)
    tensors = judged(torch.from_numpy(reference), torch.from_numpy(current))
    assert tensors.statistic == pytest.approx(plain.statistic, rel=1e-4)
    assert abs(tensors.p_value - plain.p_value) <= 1 / 100
    np.testing.assert_allclose(tensors.current_scores, plain.current_scores, atol=1e-4)


def test_float32_statistics_stay_within_a_ten_thousandth_of_float64() -> None:
    rng = np.random.default_rng(12)
    common = 50 * rng.normal(size=64)
    reference, current = (rng.normal(s, 1, size=(300, 64)) + common for s in (0, 0.15))
    reference, current = reference.astype(np.float32), current.astype(np.float32)
    single = judged(reference, current)
    double = judged(reference.astype(np.float64), current.astype(np.float64))
    assert single.statistic == pytest.approx(double.statistic, rel=1e-4)
    np.testing.assert_allclose(single.current_scores, double.current_scores, atol=1e-4)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_verdict_as_the_processor() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    rng = np.random.default_rng(13)
    reference, current = (rng.normal(s, 1, size=(n, 64)).astype(np.float32) for s, n in ((0, 900), (0.1, 700)))
    plain = judged(reference, current)
    there = judged(torch.from_numpy(reference).cuda(), torch.from_numpy(current).cuda())
    assert there.statistic == pytest.approx(plain.statistic, rel=1e-4)
    assert abs(there.p_value - plain.p_value) <= 1 / 100
