"""Baselines: what is embedded, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="needs the models extra")

from monitor.baseline import observe
from monitor.embed import Encoder
from monitor.models import LoadedModel
from monitor.texts import TextTable


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> LoadedModel:
    return LoadedModel("intents", "1", "sha256:model", Encoder.load(checkpoint, device="cpu"))


def test_pairs_of_texts_are_embedded_and_answered_as_pairs(model: LoadedModel) -> None:
    texts = tuple(f"where is order {i}" for i in range(40))
    pairs = tuple(f"it was refunded {i % 7} days ago, password reset, invoice" for i in range(40))
    observed = observe(model, TextTable(texts, None, None, pairs))
    np.testing.assert_array_equal(observed.vectors, model.encoder.encode(texts, pairs).vectors)
    labels, probabilities = model.encoder.predict(texts, pairs)
    assert observed.labels == labels
    np.testing.assert_array_equal(observed.confidences, probabilities.max(axis=1))
    assert not np.array_equal(observed.vectors, observe(model, TextTable(texts, None, None)).vectors)
