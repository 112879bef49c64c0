import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.confidence import wilson_interval
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated
from detectors.prediction_powered import (
    _cross_fitted,
    _features,
    power_tuning,
    prediction_powered_accuracy,
    prediction_powered_mean,
    share_bounds,
)

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "prediction_powered.json").read_text(encoding="utf-8"))


def _scored(seed: int, n: int, others: int, *, accuracy: float = 0.8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    chance = rng.beta(accuracy * 0.4, (1 - accuracy) * 0.4, n + others)
    return (rng.random(n) < chance[:n]).astype(float), chance[:n], chance[n:]


def _accuracy(*arguments: object, **options: object) -> Estimate:
    found = prediction_powered_accuracy(*arguments, **options)  # type: ignore[arg-type]
    assert isinstance(found, Estimate)
    return found


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=range(len(GOLDEN["cases"])))
def test_means_agree_with_the_public_package(case: dict) -> None:
    found = prediction_powered_mean(
        case["labels"],
        case["proxies"],
        case["unlabelled_proxies"],
        name="mean",
        alpha=case["alpha"],
        tuning=case["tuning"],
    )
    assert found.method == "prediction-powered"
    np.testing.assert_allclose(
        [found.value, found.low, found.high], [case["value"], case["low"], case["high"]], rtol=0, atol=1e-9
    )


def test_without_trust_in_the_proxies_the_mean_is_the_labels_own() -> None:
    found = prediction_powered_mean([1.0, 3.0, 5.0], [0.0, 9.0, 2.0], [4.0] * 9, name="mean", tuning=0.0)
    # mean 3, population variance 8/3, over 3 labels
    half = 1.959963984540054 * np.sqrt(8 / 9)
    np.testing.assert_allclose([found.value, found.low, found.high], [3.0, 3 - half, 3 + half], atol=1e-12)


def test_tuning_by_hand() -> None:
    # covariance of labels and proxies (1/n): 0.25; pooled variance (1/(n + N - 1)) of both sides: 2/7; 1 + n/N = 2
    assert power_tuning([0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1]) == pytest.approx(0.25 / (2 * 2 / 7))


def test_proxies_that_never_vary_or_run_the_wrong_way_are_not_trusted() -> None:
    assert power_tuning([0.0, 1.0, 1.0], [0.5] * 3, [0.5] * 10) == 0.0
    assert power_tuning([0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.2, 0.7]) == 0.0


def test_equal_chances_of_being_labelled_change_neither_value_nor_much_of_the_width() -> None:
    right, scores, others = _scored(1, 200, 2000)
    plain = _accuracy(right, scores, others)
    weighted = _accuracy(
        right,
        scores,
        others,
        inclusion_probabilities=np.full(200, 0.1),
        unlabelled_inclusion_probabilities=np.full(2000, 0.1),
    )
    assert weighted.value == pytest.approx(plain.value, abs=2e-3)
    assert weighted.high - weighted.low == pytest.approx(plain.high - plain.low, rel=0.05)


def test_weights_take_out_the_preference_for_doubtful_texts() -> None:
    rng = np.random.default_rng(3)
    score = rng.uniform(size=20_000)
    right = (rng.random(score.size) < score).astype(float)
    inclusion = 0.02 + 0.2 * (1 - score)
    asked = rng.random(score.size) < inclusion
    found = _accuracy(
        right[asked],
        score[asked],
        score[~asked],
        inclusion_probabilities=inclusion[asked],
        unlabelled_inclusion_probabilities=inclusion[~asked],
    )
    assert found.low < 0.5 < found.high
    assert right[asked].mean() < found.low


def test_a_weighted_mean_by_hand() -> None:
    # weights 1/pi = 2, 4, 4 over their mean 10/3; no trust: (2*1 + 4*0 + 4*1)/10
    found = prediction_powered_mean(
        [1.0, 0.0, 1.0],
        [0.0, 0.0, 0.0],
        [0.0],
        name="mean",
        tuning=0.0,
        inclusion_probabilities=[0.5, 0.25, 0.25],
        unlabelled_inclusion_probabilities=[0.5],
    )
    errors = np.array([0.6, 1.2, 1.2]) * (np.array([1.0, 0.0, 1.0]) - 0.6)
    half = 1.959963984540054 * np.sqrt(np.mean(errors**2) / 3)
    np.testing.assert_allclose([found.value, found.high - found.value], [0.6, half], atol=1e-12)


def test_scores_that_say_nothing_cost_next_to_nothing() -> None:
    rng = np.random.default_rng(4)
    right = (rng.random(300) < 0.8).astype(float)
    found = _accuracy(right, rng.random(300), rng.random(5000))
    plain = wilson_interval(int(right.sum()), 300)
    assert found.high - found.low == pytest.approx(plain.upper - plain.lower, rel=0.05)


def test_scores_that_know_shorten_the_interval_by_a_third() -> None:
    right, scores, others = _scored(5, 300, 5000)
    found, plain = _accuracy(right, scores, others), wilson_interval(int(right.sum()), 300)
    assert found.high - found.low < 0.67 * (plain.upper - plain.lower)


def test_many_columns_help_where_one_does_not() -> None:
    rng = np.random.default_rng(6)
    noise, signal = rng.normal(size=(2, 4000))
    right = (rng.random(4000) < 1 / (1 + np.exp(-4 * signal))).astype(float)
    both = np.stack([noise, signal], axis=1)
    one = _accuracy(right[:400], both[:400, :1], both[400:, :1])
    two = _accuracy(right[:400], both[:400], both[400:])
    assert two.high - two.low < 0.8 * (one.high - one.low)


def test_without_a_wrong_answer_scores_shorten_nothing() -> None:
    rng = np.random.default_rng(7)
    found = _accuracy(np.ones(50), rng.uniform(0.6, 1, 50), rng.uniform(0.6, 1, 3000))
    plain = wilson_interval(50, 50)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(plain.lower, abs=1e-9)


def test_no_label_helps_to_predict_itself() -> None:
    right, scores, others = _scored(8, 60, 500)
    labelled, rest = _features("scores", scores), _features("scores", others)
    turned = right.copy()
    turned[7] = 1 - turned[7]
    (before, far_before), (after, far_after) = (_cross_fitted(given, labelled, rest) for given in (right, turned))
    assert before[7] == after[7]
    assert np.count_nonzero(before != after) == 54  # all but its own fold of six
    assert (far_before != far_after).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(20, 80), accuracy=st.floats(0.05, 0.95))
def test_every_interval_lies_in_zero_to_one_around_its_value(seed: int, n: int, accuracy: float) -> None:
    found = _accuracy(*_scored(seed, n, 100, accuracy=accuracy))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_order_of_texts_does_not_matter() -> None:
    right, scores, others = _scored(9, 100, 1000)
    order = np.random.default_rng(0).permutation(100)
    one, two = _accuracy(right, scores, others), _accuracy(right[order], scores[order], others[::-1])
    np.testing.assert_allclose([one.value, one.low, one.high], [two.value, two.low, two.high], atol=1e-6)


def test_share_bounds_are_wilsons() -> None:
    plain = wilson_interval(8, 10)
    np.testing.assert_allclose(share_bounds(0.8, 10.0, alpha=0.05), (plain.lower, plain.upper), atol=1e-12)
    assert share_bounds(0.0, 10.0, alpha=0.05)[0] == 0.0
    assert share_bounds(1.0, 10.0, alpha=0.05)[1] == 1.0


def test_too_few_labels_or_scores_or_too_unequal_ones_are_said() -> None:
    right, scores, others = _scored(10, 40, 100)
    assert prediction_powered_accuracy(right[:19], scores[:19], others) == NotEstimated(
        "accuracy", "too few labels", 19, 20
    )
    assert prediction_powered_accuracy(right, scores, others[:3], name="a") == NotEstimated(
        "a", "too few scores without label", 3, 20
    )
    found = prediction_powered_accuracy(
        right,
        scores,
        others,
        inclusion_probabilities=np.where(np.arange(40) < 2, 1e-4, 0.5),
        unlabelled_inclusion_probabilities=np.full(100, 0.5),
    )
    assert isinstance(found, NotEstimated)
    assert (found.got, found.needed) == (2, 10)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"correct": np.full(40, 0.5)}, "correct must be 0 or 1, got 0.5 at 0"),
        ({"scores": np.full(40, 1.5)}, "scores must be finite and lie in"),
        ({"scores": np.full(39, 0.5)}, "scores must be one per label, got 39 for 40"),
        ({"scores": np.full((40, 2), 0.5)}, "must be alike, got 2 and 1 columns"),
        ({"unlabelled_scores": np.array([np.nan] * 50)}, "unlabelled_scores must be finite"),
        ({"alpha": 0.0}, "alpha lies in"),
        ({"inclusion_probabilities": np.full(40, 0.5)}, "with and without label, or none"),
        (
            {"inclusion_probabilities": np.zeros(40), "unlabelled_inclusion_probabilities": np.full(50, 0.5)},
            "inclusion_probabilities must lie in",
        ),
        (
            {"inclusion_probabilities": np.full(40, 0.5), "unlabelled_inclusion_probabilities": np.full(9, 0.5)},
            "must be one per text, got 9 for 50",
        ),
    ],
)
def test_bad_input_is_named(changed: dict, message: str) -> None:
    right, scores, others = _scored(11, 40, 50)
    given = {"correct": right, "scores": scores, "unlabelled_scores": others} | changed
    with pytest.raises(DetectorInputError, match=message):
        prediction_powered_accuracy(**given)


def test_a_mean_needs_two_labels_a_proxy_and_a_tuning_within_bounds() -> None:
    with pytest.raises(DetectorInputError, match="2 labels and 1 proxy without label are needed, got 1 and 1"):
        prediction_powered_mean([1.0], [1.0], [1.0], name="mean")
    with pytest.raises(DetectorInputError, match="proxies must be one per label, got 2 for 3"):
        prediction_powered_mean([1.0] * 3, [1.0] * 2, [1.0], name="mean")
    for tuning in (-0.1, 1.5, float("nan")):
        with pytest.raises(DetectorInputError, match="tuning lies in"):
            prediction_powered_mean([1.0] * 3, [1.0] * 3, [1.0], name="mean", tuning=tuning)
