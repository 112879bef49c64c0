"""Cosines: the one that decides, the spread of those of single texts, and the raw one that is only shown."""

import doctest

import numpy as np
import pytest

import detectors.cosine
from detectors.cosine import centroid_cosines, lifted_cosine_distance, raw_cosine
from detectors.sketch import fit_basis


def test_the_docstrings_numbers_hold() -> None:
    assert doctest.testmod(detectors.cosine).failed == 0


def test_a_cosine_to_the_centroid_is_that_of_the_lifted_vectors() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 5))
    lifted = np.column_stack([np.ones(20), rows])
    centroid = np.array([1.0, 0, 0, 0, 0, 0])
    twin = [row @ centroid / np.linalg.norm(row) for row in lifted]
    np.testing.assert_allclose(centroid_cosines(rows), twin)
    np.testing.assert_allclose(1 - centroid_cosines(rows), lifted_cosine_distance(np.zeros((20, 5)), rows))


def test_the_raw_cosine_of_two_means_hardly_moves_where_the_lifted_one_does() -> None:
    rng = np.random.default_rng(1)
    common = 20 * np.eye(8)[0]
    reference, moved = rng.normal(size=(400, 8)) + common, rng.normal(size=(400, 8)) + common + np.eye(8)[3]
    basis = fit_basis(reference, rng=rng)
    means = [basis.project(side).mean(axis=0) for side in (reference, moved)]
    raw = raw_cosine(*(basis.embedding_of(mean) for mean in means))
    assert raw is not None
    # within the kept components, here all of them: the cosine of the embeddings' own means, 1/sqrt(1 + 1/20²)
    assert raw == pytest.approx(raw_cosine(reference.mean(axis=0), moved.mean(axis=0)))
    assert raw > 0.998
    assert float(lifted_cosine_distance(*means)) > 0.1


def test_an_embedding_is_told_back_from_its_projection_within_the_kept_components() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(100, 12)) * np.arange(12, 0, -1)
    basis = fit_basis(rows, rng=rng, dimension=4)
    told = basis.embedding_of(basis.project(rows))
    np.testing.assert_allclose(basis.project(told), basis.project(rows), atol=1e-9)
    assert np.linalg.matrix_rank(told - basis.mean) == 4


def test_a_mean_at_the_origin_has_no_raw_cosine() -> None:
    assert raw_cosine(np.zeros(3), np.ones(3)) is None
    assert raw_cosine(np.ones(3), np.ones(3)) == pytest.approx(1.0)
