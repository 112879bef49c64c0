import numpy as np
import pytest

from detectors.errors import DetectorInputError
from detectors.label_draw import draw_for_labelling, inclusion_probabilities


def test_texts_are_drawn_as_often_as_their_probability_says_and_weights_undo_the_preference() -> None:
    rng = np.random.default_rng(3)
    unsure = rng.random(60) ** 3
    sizes = {"random": np.ones(60), "uncertain": unsure}
    wrong, times, totals = (unsure > 0.3).astype(float), np.zeros(60), []
    for _ in range(4000):
        draw = draw_for_labelling(sizes, n={"random": 6, "uncertain": 8}, rng=rng)
        assert (draw.drawn["random"].sum(), draw.drawn["uncertain"].sum()) == (6, 8)
        union = draw.drawn["random"] | draw.drawn["uncertain"]
        times += union
        totals.append((wrong[union] / draw.probability[union]).sum())
    error = np.sqrt(draw.probability * (1 - draw.probability) / 4000)
    assert (np.abs(times / 4000 - draw.probability) < 4.5 * error + 1e-9).all()
    assert abs(np.mean(totals) - wrong.sum()) < 4 * np.std(totals) / np.sqrt(4000)


def test_chances_sum_to_n_and_are_never_over_one() -> None:
    chances = inclusion_probabilities(np.array([100.0, 5.0, 4.0, 1.0, 0.0]), n=3)
    assert chances.sum() == pytest.approx(3)
    assert chances.max() == 1
    assert chances[-1] == 0
    assert inclusion_probabilities(np.array([1.0, 0.0]), n=5).tolist() == [1, 0]
    assert inclusion_probabilities(np.zeros(3), n=5).tolist() == [0, 0, 0]


def test_sizes_below_zero_are_refused() -> None:
    with pytest.raises(DetectorInputError, match="sizes of random"):
        draw_for_labelling({"random": np.array([-1.0])}, n={"random": 1}, rng=np.random.default_rng(1))
