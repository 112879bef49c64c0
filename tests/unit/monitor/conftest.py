"""A tiny randomly initialised RoBERTa with a byte-level BPE of its own, saved once a session."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TEXTS = [
    "please reset my password, the link has expired",
    "where is my order? it was due on Monday",
    "I was charged twice for the same invoice",
    "the app crashes whenever I open the settings page",
    "can I get a refund for order 12345",
]


@pytest.fixture(scope="session")
def tiny() -> tuple[Any, Any]:
    """A model with a head of three classes, and its tokenizer."""
    torch = pytest.importorskip("torch", reason="needs the models extra")
    pytest.importorskip("transformers", reason="needs the models extra")
    from monitor.demo.training import build_model, train_tokenizer

    tokenizer = train_tokenizer(TEXTS * 4, vocabulary_size=320)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = build_model(
            labels=["billing", "login", "shipping"], vocabulary_size=len(tokenizer), layers=2, hidden=32, positions=66
        )
        for name, weight in model.named_parameters():  # larger than the usual 0.02, so that vectors differ
            if name.endswith("weight") and weight.ndim == 2:
                torch.nn.init.normal_(weight, std=0.2)
    return model.eval(), tokenizer


@pytest.fixture(scope="session")
def checkpoint(tiny: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    for part in tiny:
        part.save_pretrained(folder)
    return folder
