"""A fake model that knows words, and the traffic that is sent to it."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import Engine

from monitor import store
from monitor.embed import Encoded
from monitor.models import LoadedModel
from monitor.policy import DriftPolicy, ModelPolicy, Policy
from monitor.runner import Runner

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)

HOUR = timedelta(hours=1)


POLICY = Policy(
    models={
        "intents": ModelPolicy(
            version="1", drift=DriftPolicy(window_hours=1, permutations=499, alpha=0.01, grace_minutes=0)
        )
    }
)


@dataclass
class WordsEncoder:
    """Embeds a text as the mean of a fixed random vector per word; counts its words as tokens."""

    tokenizer_digest: str = "sha256:tokenizer"
    numeric_mode: str = "fake"
    model_max_length: int = 20
    labels: tuple[str, ...] = ()
    has_head: bool = False

    def encode(self, texts, pairs=None) -> Encoded:
        vectors = np.array([self._vector(text) for text in texts], dtype=np.float32)
        counts = np.array([len(text.split()) for text in texts])
        finite = np.isfinite(vectors).all(axis=1)
        unknown = np.array([np.mean([word in NEW_WORDS for word in text.split()]) for text in texts])
        return Encoded(vectors, counts, counts > 20, finite, unknown)

    def encode_in_place(self, texts, pairs=None) -> Encoded:
        return self.encode(texts, pairs)

    def stream_in_place(self, batches) -> Iterator[Encoded]:
        return (self.encode(texts, pairs) for texts, pairs in batches)

    def _vector(self, text: str) -> np.ndarray:
        if "poison" in text:
            return np.full(24, np.nan)
        words = [np.random.default_rng(zlib.crc32(word.encode())).normal(size=24) for word in text.split()]
        return np.mean(words, axis=0)


class Models:
    def __init__(self, encoder: WordsEncoder) -> None:
        self.model = LoadedModel("intents", "1", "sha256:model", encoder)

    def version_of(self, reference: str) -> str:
        return "1"

    def load(self, name: str, version: str, policy: ModelPolicy) -> LoadedModel:
        return self.model


WORDS = ["order", "parcel", "refund", "login", "invoice", "address", "voucher", "screen", "update", "plan"]

NEW_WORDS = ["bitcoin", "wallet", "ledger", "staking", "token"]


def texts(count: int, *, seed: int, new_share: float = 0.0) -> list[str]:
    rng = np.random.default_rng(seed)
    new = rng.random(count) < new_share
    return [" ".join(rng.choice(NEW_WORDS if is_new else WORDS, size=4)) for is_new in new]


def mixed_texts(count: int, *, seed: int, first_share: float) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[:5] if rng.random() < first_share else WORDS[5:], size=4)) for _ in range(count)]


def send(engine: Engine, found: list[str], *, hour: int, seed: int = 0, **fields) -> None:
    rows = [
        store.NewPrediction(
            event_id=f"{hour}-{seed}-{i}",
            model="intents",
            timestamp=BEGIN + hour * HOUR + timedelta(seconds=i),
            received_at=BEGIN,
            content_digest=str(i),
            text=text,
            **{"version": "1", "token_count": len(text.split()), **fields},
        )
        for i, text in enumerate(found)
    ]
    with store.writing(engine) as session:
        store.insert_predictions(session, rows)


def at(runner: Runner, hour: float) -> Runner:
    runner.clock.advance_to(BEGIN + hour * HOUR)
    return runner


def replace_runner(runner: Runner) -> Runner:
    return Runner(engine=runner.engine, policy=POLICY, models=runner.models, clock=runner.clock, code_version="test")


def with_drift_policy(runner: Runner, **changes) -> Runner:
    rules = POLICY.models["intents"]
    changed = rules.model_copy(update={"drift": rules.drift.model_copy(update=changes)})
    runner.policy = POLICY.model_copy(update={"models": {"intents": changed}})
    return runner
