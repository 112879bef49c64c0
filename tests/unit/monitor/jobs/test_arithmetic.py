import numpy as np
import pytest

from monitor.jobs.arithmetic import centred_cosines, grade_arithmetic

RNG = np.random.default_rng(0)
NATIVE = RNG.normal(size=(600, 16)) + 50  # the common direction that centring takes away


def test_a_hand_computed_centred_cosine() -> None:
    # centred: (1, 0), (-1, 0) against (1, 1), (-1, -1): cosine 1 / sqrt 2
    found = centred_cosines(np.array([[11.0, 5.0], [9.0, 5.0]]), np.array([[3.0, 8.0], [1.0, 6.0]]))
    assert found == pytest.approx([0.5**0.5] * 2)


def test_equal_vectors_agree_and_are_no_drift() -> None:
    gate = grade_arithmetic(NATIVE, NATIVE, rng=np.random.default_rng(1))
    assert gate.centred_cosine_low == pytest.approx(1)
    assert gate.same_text_p_value is not None
    assert gate.same_text_p_value > 0.5
    assert gate.as_summary()["texts"] == 600


def test_a_shift_of_all_vectors_is_told_by_the_same_text_test_and_hidden_from_the_cosine() -> None:
    gate = grade_arithmetic(NATIVE, NATIVE + 0.5, rng=np.random.default_rng(1))
    assert gate.centred_cosine_low == pytest.approx(1)
    assert gate.same_text_p_value is not None
    assert gate.same_text_p_value < 0.01


def test_unlike_vectors_do_not_agree_however_long_their_common_direction() -> None:
    gate = grade_arithmetic(NATIVE, RNG.normal(size=NATIVE.shape) + 50, rng=np.random.default_rng(1))
    assert abs(gate.centred_cosine_median) < 0.2


def test_too_few_texts_for_a_test_have_cosines_alone() -> None:
    gate = grade_arithmetic(NATIVE[:60], NATIVE[:60], rng=np.random.default_rng(1))
    assert (gate.texts, gate.same_text_p_value) == (60, None)
