"""The tiny model of the unit tests, for the registry."""

from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny() -> tuple[Any, Any]:
    pytest.importorskip("torch", reason="needs the models extra")
    from monitor.demo.training import build_model, train_tokenizer

    tokenizer = train_tokenizer(["where is my order", "reset my password", "refund the invoice"], vocabulary_size=300)
    model = build_model(labels=["a", "b"], vocabulary_size=len(tokenizer), layers=1, hidden=48, positions=66)
    return model.eval(), tokenizer
