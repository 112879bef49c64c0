"""What the policy asks of an encoder reaches it."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

import torch

from monitor.models import RegistryModels, load_encoder
from monitor.policy import ModelPolicy
from registry.model import ResolvedModel, content_digest


class OneFolder:
    """A registry of one checkpoint in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resolve(self, ref: object) -> ResolvedModel:
        return ResolvedModel("intents", "1", (), self._folder, content_digest(self._folder), None, None)

    def verified(self, resolved: ResolvedModel) -> ResolvedModel:
        return resolved


def test_the_policy_chooses_arithmetic_pooling_and_length(checkpoint: Path) -> None:
    policy = ModelPolicy(version="1", arithmetic="int8", pooling="cls", max_length=16)
    assert load_encoder(checkpoint, policy=policy, device="cpu").numeric_mode == "cpu-int8-packed-cls-16"


def test_threads_are_set_where_asked_for(checkpoint: Path) -> None:
    before = torch.get_num_threads()
    try:
        load_encoder(checkpoint, policy=ModelPolicy(version="1"), device="cpu", threads=before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("mebibytes", "hits"), [(0, 0), (1, 1)])
def test_the_cache_is_off_unless_the_policy_says_how_large_and_outlives_the_encoder(
    checkpoint: Path, mebibytes: int, hits: int
) -> None:
    models = RegistryModels(OneFolder(checkpoint), device="cpu")
    policy = ModelPolicy(version="1", embedding_cache_mebibytes=mebibytes)
    models.load("intents", "1", policy).encoder.encode(["hi"])
    models.load("intents", "1", policy.model_copy(update={"max_length": 16})).encoder.encode(["hi"])
    again = models.load("intents", "1", policy).encoder
    again.encode(["hi"])
    assert again.counts.cache_hits == hits
    assert models.encoder_counts == {"intents": again.counts}
    assert again.counts.texts == 3  # of all three encoders, one after the other
