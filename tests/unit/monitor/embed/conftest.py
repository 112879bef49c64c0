"""Tiny checkpoints with random weights, of any configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def build(tiny: tuple[Any, Any], tmp_path: Path) -> Callable[..., Path]:
    """Save a model of this type and configuration, its weights large enough for vectors to differ."""

    def save(model_type: str = "roberta", *, headed: bool = False, half: bool = False, **options: Any) -> Path:
        import torch
        from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

        given = {"vocab_size": len(tiny[1]), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        given |= {"intermediate_size": 64, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1}
        config = AutoConfig.for_model(model_type, **{**given, **options})
        with torch.random.fork_rng():
            torch.manual_seed(5)
            model = AutoModelForSequenceClassification.from_config(config) if headed else AutoModel.from_config(config)
            for name, weight in model.named_parameters():
                torch.nn.init.normal_(weight, mean=float("Norm.weight" in name), std=0.1)
        folder = tmp_path / "built"
        (model.half() if half else model).save_pretrained(folder)
        tiny[1].save_pretrained(folder)
        return folder

    return save
