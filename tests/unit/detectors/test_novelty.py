import numpy as np
import pytest
from scipy.spatial.distance import cdist

from detectors.novelty import nearest_distances, novelty_edges, novelty_shift, savage_scores


def test_novelty_agrees_with_a_brute_force_twin() -> None:
    rng = np.random.default_rng(0)
    sample, rows = rng.normal(size=(200, 5)), rng.normal(size=(1500, 5)) * 2
    twin = np.sort(cdist(rows, sample), axis=1)[:, :3].mean(axis=1)
    np.testing.assert_allclose(nearest_distances(sample, rows), twin, rtol=1e-9)


def test_without_a_sample_novelty_is_unknown() -> None:
    assert np.isnan(nearest_distances(np.zeros((0, 4)), np.ones((3, 4)))).all()
    assert nearest_distances(np.ones((5, 4)), np.zeros((0, 4))).shape == (0,)


def test_edges_leave_each_row_out_of_its_own_neighbours() -> None:
    sample = np.random.default_rng(1).normal(size=(640, 4))
    edges = novelty_edges(sample)
    own = np.sort(cdist(sample, sample), axis=1)[:, 1:4].mean(axis=1)
    assert edges[0] == 0
    assert np.isinf(edges[-1])
    assert np.median(own) == pytest.approx(edges[16], rel=1e-6)
    held = np.histogram(own, edges)[0]
    assert held.sum() == 640
    assert held[:30].min() >= 15


def test_rows_all_alike_still_give_edges() -> None:
    edges = novelty_edges(np.ones((50, 3)))
    assert edges.tolist() == [0.0, np.inf]


def test_savage_scores_average_one_and_grow() -> None:
    counts = np.array([3.0, 0.0, 5.0, 1.0, 1.0])
    scores = savage_scores(counts)
    assert counts @ scores / counts.sum() == pytest.approx(1.0)
    assert (np.diff(scores[counts > 0]) > 0).all()
    # 10 single ranks: the mean of -log(1 - u) over the last tenth is 1 + log 10
    assert savage_scores(np.ones(10))[-1] == pytest.approx(1 + np.log(10))


def test_the_shift_is_positive_when_texts_are_newer_and_negative_when_they_are_closer() -> None:
    before, now = np.array([10.0, 10.0, 10.0]), np.array([5.0, 10.0, 15.0])
    assert float(novelty_shift(before, now)) == pytest.approx(-float(novelty_shift(now, before)))
    assert float(novelty_shift(before, now)) > 0
    assert float(novelty_shift(before, before)) == 0
