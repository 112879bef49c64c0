"""Baselines: what is embedded, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

pytest.importorskip("transformers", reason="needs the models extra")

from monitor.baseline import build_baseline, observe
from monitor.embed import Encoder
from monitor.errors import InputError
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


def test_a_baseline_in_int8_keeps_how_far_it_agrees_with_full_precision(
    checkpoint: Path, model: LoadedModel, sqlite_engine: Engine
) -> None:
    int8 = LoadedModel("intents", "1", "sha256:model", Encoder.load(checkpoint, device="cpu", arithmetic="int8"))
    table = TextTable(tuple(f"where is order {i * 7919 % 1000}? refund {i}" for i in range(300)), None, None)
    built = build_baseline(int8, table, engine=sqlite_engine, seed=0, native=model, minimum_cosine=0.5)
    gate = built.summary["arithmetic"]
    assert gate["texts"] == 300
    assert 0.5 < gate["centred_cosine_low"] <= gate["centred_cosine_median"] < 1
    assert "int8" in built.numeric_mode
    with pytest.raises(InputError, match=r"the median centred cosine with fp32 is 0\.\d+, int8_minimum_cosine = 1 "):
        build_baseline(int8, table, engine=sqlite_engine, seed=0, native=model, minimum_cosine=1)


def test_a_baseline_in_full_precision_is_not_graded(model: LoadedModel, sqlite_engine: Engine) -> None:
    table = TextTable(tuple(f"where is order {i * 7919 % 1000}? refund {i}" for i in range(300)), None, None)
    assert build_baseline(model, table, engine=sqlite_engine, seed=0).summary["arithmetic"] is None
