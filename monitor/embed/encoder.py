"""The one encoder: texts in, vectors and predictions out, with a RoBERTa-family checkpoint folder."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from monitor.embed.ahead import made_beside, one_later
from monitor.embed.answers import Answers, Encoded, HostVectors, Predicted, on_host
from monitor.embed.backends import States, probabilities
from monitor.embed.budget import CPU_TOKENS, CudaMemory, find_budget
from monitor.embed.cache import EmbeddingCache, Remembered
from monitor.embed.checks import choose_states
from monitor.embed.counting import EncoderCounts
from monitor.embed.errors import EmbeddingError
from monitor.embed.int8 import int8_is_exact
from monitor.embed.loading import find_device, load_config, load_model, load_tokenizer, quiet
from monitor.embed.running import Launched, Runner
from monitor.embed.tokenising import Key, Tokeniser, Tokens, distinct
from monitor.embed.workers import PooledTokeniser, default_workers
from registry.tokenizer import tokenizer_digest

POOLINGS = ("mean", "cls")
ARITHMETICS = ("native", "int8")  # native: fp32 on a CPU, bf16 on a GPU
# Tokenised and sorted by length together: the longer this window, the more neighbours are equally long.
TEXTS_PER_WINDOW = 16_384

CPU = torch.device("cpu")

_Texts = Sequence[str]
_Pairs = Sequence[str | None] | None


class Encoder:
    """A loaded checkpoint with its tokenizer; made by `Encoder.load`. `counts` tells what it has done."""

    def __init__(
        self,
        states: States,
        tokeniser: Tokeniser | PooledTokeniser,
        *,
        config: Any,
        head: Any,
        device: torch.device,
        budget: int,
        dtype: str,
        pooling: str,
        max_length: int,
        model_max_length: int,
        tokenizer_digest: str,
        model_digest: str | None = None,
        cache: EmbeddingCache | None = None,
        counts: EncoderCounts | None = None,
    ) -> None:
        self._tokeniser, self._backend = tokeniser, states.name
        self._device, self._dtype = device, dtype
        self.pooling, self.max_length, self.model_max_length = pooling, max_length, model_max_length
        self.tokenizer_digest = tokenizer_digest
        self.dimension = int(config.hidden_size)
        self.has_head = head is not None
        self.labels = tuple(str(config.id2label[i]) for i in range(int(config.num_labels)))
        self.counts = EncoderCounts() if counts is None else counts
        self._runner = Runner(states, head, device=device, budget=budget, counts=self.counts)
        self._identity = f"{model_digest}\x1f{tokenizer_digest}\x1f{self.numeric_mode}"
        self._cache = cache if model_digest is not None else None

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str = "auto",
        pooling: str = "mean",
        max_length: int | None = None,
        arithmetic: str = "native",
        threads: int | None = None,
        tokenizer_workers: int | None = None,
        model_digest: str | None = None,
        cache: EmbeddingCache | None = None,
        counts: EncoderCounts | None = None,
    ) -> "Encoder":
        """Load a checkpoint folder: no network, no remote code, safetensors only.

        max_length : at most what tokenizer and positions allow; arithmetic : native, or int8 on a CPU; threads : of
        torch, for the whole process; tokenizer_workers : processes that tokenise, by default five
        for a GPU and none for a CPU; cache : used where the model's digest is given too; counts : added to, where an
        earlier encoder's go on. Raises EmbeddingError naming folder and file, or the value.
        """
        started = time.perf_counter()
        for name, value, known in (("pooling", pooling, POOLINGS), ("arithmetic", arithmetic, ARITHMETICS)):
            if value not in known:
                raise EmbeddingError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if threads is not None:
            torch.set_num_threads(threads)
        chosen = find_device(device)
        dtype = _dtype(chosen, arithmetic)
        quiet()
        config = load_config(folder)
        tokenizer = load_tokenizer(folder, vocabulary_size=int(config.vocab_size))
        model = load_model(folder, config)
        model.to(device=chosen, dtype=torch.bfloat16 if dtype == "bf16" else torch.float32).eval().requires_grad_(False)
        allowed = min(int(tokenizer.model_max_length), config.max_position_embeddings - config.pad_token_id - 1)
        length = allowed if max_length is None else min(max_length, allowed)
        if length < 4:  # two texts take four special tokens
            raise EmbeddingError(f"{folder}: max_length must be 4 or more, got {length}")
        tokeniser = Tokeniser(tokenizer)
        digest = tokenizer_digest(folder, lambda texts: tokeniser.ids([(text, None) for text in texts]))
        states = choose_states(model, tokeniser, device=chosen, arithmetic=dtype, pooling=pooling, max_length=length)
        if dtype == "int8" and states.name == "plain":
            raise EmbeddingError(f"{folder}: int8 needs a layout that the packed encoder knows; see the log")
        workers = default_workers(chosen.type) if tokenizer_workers is None else tokenizer_workers
        size = int(config.vocab_size)
        encoder = cls(
            states,
            PooledTokeniser(tokeniser, folder=folder, vocabulary_size=size, workers=workers) if workers else tokeniser,
            config=config,
            head=probabilities(model) if hasattr(model, "classifier") and int(config.num_labels) > 1 else None,
            device=chosen,
            budget=_budget(states, chosen, max_length=length),
            dtype=dtype,
            pooling=pooling,
            max_length=length,
            model_max_length=allowed,
            tokenizer_digest=digest,
            model_digest=model_digest,
            cache=cache,
            counts=counts,
        )
        encoder.counts.load_seconds = time.perf_counter() - started
        return encoder

    @property
    def numeric_mode(self) -> str:
        """What makes vectors comparable: device class, arithmetic, backend, pooling and max length."""
        return f"{self._device.type}-{self._dtype}-{self._backend}-{self.pooling}-{self.max_length}"

    @property
    def token_budget(self) -> int:
        """How many tokens go through the model at once: what fitted into memory so far."""
        return self._runner.budget

    def encode(self, texts: _Texts, pairs: _Pairs = None) -> Encoded[HostVectors]:
        """Embed n texts (or pairs of texts); equal inputs are embedded once.

        What else stands in the batch does not matter but for the order of fp32 sums: below 1e-5 of a vector's length.
        """
        return on_host(self._embed(texts, pairs, device=CPU))

    def encode_on_device(self, texts: _Texts, pairs: _Pairs = None) -> Encoded[torch.Tensor]:
        """Embed as `encode` does; the vectors are a tensor on the model's device and do not leave it.

        With a cache they do, because it holds them on the host.
        """
        return self._embed(texts, pairs, device=self._device)

    def encode_in_place(self, texts: _Texts, pairs: _Pairs = None) -> Encoded[Any]:
        """Embed to be folded: the vectors stay on the device, and are numpy on a CPU, where that folds faster."""
        return self.encode(texts, pairs) if self._device.type == "cpu" else self.encode_on_device(texts, pairs)

    def stream_in_place(self, batches: Iterable[tuple[_Texts, _Pairs]]) -> Iterator[Encoded[Any]]:
        """Embed batches as `encode_in_place` does, in order; on a GPU it computes one while the next is read.

        There a thread reads and tokenises the next batch, and it is launched before this one's results are read back.
        """
        if self._device.type == "cpu" or self._cache is not None:
            for texts, pairs in batches:
                yield self.encode_in_place(texts, pairs)
            return
        yield from self._streamed(batches)

    def _streamed(self, batches: Iterable[tuple[_Texts, _Pairs]]) -> Iterator[Encoded[Any]]:
        prepared = made_beside(
            (len(keys), inverse, list(self._windows(keys)))
            for keys, inverse in (distinct(texts, pairs) for texts, pairs in batches)
        )
        launched = (
            (n, inverse, [self._runner.launch(tokens, start=start, scored=False) for start, tokens in windows])
            for n, inverse, windows in prepared
        )
        for n, inverse, windows in one_later(launched):
            yield self._encoded(self._collected(n, windows, classes=0, device=self._device), inverse)

    def predict(self, texts: _Texts, pairs: _Pairs = None) -> tuple[list[str], npt.NDArray[np.float64]]:
        """Return the likeliest label of each text and the probabilities (n, C).

        Raises EmbeddingError when the checkpoint has no classification head.
        """
        _, predicted = self.encode_and_predict(texts, pairs)
        return predicted.labels, predicted.probabilities

    def encode_and_predict(self, texts: _Texts, pairs: _Pairs = None) -> tuple[Encoded[HostVectors], Predicted]:
        """Embed and predict n texts in one pass through the model. Raises EmbeddingError without a head."""
        if not self.has_head:
            raise EmbeddingError("the checkpoint has no classification head")
        keys, inverse = distinct(texts, pairs)
        answers = self._compute(keys, scored=True, device=CPU)
        scores = answers.scores[inverse]
        labels = [self.labels[i] for i in scores.argmax(axis=1)] if len(scores) else []
        return on_host(self._encoded(answers, inverse)), Predicted(labels, scores)

    def token_counts(self, texts: _Texts, pairs: _Pairs = None) -> npt.NDArray[np.int64]:
        """Count tokens of the full texts (n,), special tokens included.

        A text over 50,000 characters is counted in pieces cut before a space: exact for byte-level
        vocabularies where it has spaces, otherwise off by a few tokens per piece.
        """
        keys, inverse = distinct(texts, pairs)
        counts = [tokens.counts for _, tokens in self._windows(keys)]
        return np.concatenate([*counts, np.zeros(0, dtype=np.int64)])[inverse]

    def _embed(self, texts: _Texts, pairs: _Pairs, *, device: torch.device) -> Encoded[torch.Tensor]:
        keys, inverse = distinct(texts, pairs)
        return self._encoded(self._remembered(keys, device=device), inverse)

    def _encoded(self, answers: Answers, inverse: npt.NDArray[np.int64]) -> Encoded[torch.Tensor]:
        distinct_texts, counts = len(answers.counts), answers.counts[inverse]
        encoded = Encoded(
            vectors=answers.vectors[torch.from_numpy(inverse).to(answers.vectors.device)],
            token_counts=counts,
            truncated=counts > self.max_length,
            finite=answers.finite[inverse],
            unknown_shares=answers.unknown_shares[inverse],
        )
        self.counts.texts += len(inverse)
        self.counts.duplicates += len(inverse) - distinct_texts
        self.counts.truncated += int(encoded.truncated.sum())
        self.counts.nonfinite += int((~encoded.finite).sum())
        return encoded

    def _remembered(self, keys: Sequence[Key], *, device: torch.device) -> Answers:
        if self._cache is None:
            return self._compute(keys, scored=False, device=device)
        held = self._cache.get(self._identity, keys)
        missing = [row for row, one in enumerate(held) if one is None]
        self.counts.cache_hits += len(keys) - len(missing)
        computed = self._compute([keys[row] for row in missing], scored=False, device=CPU)
        fresh = [
            Remembered(vector.copy(), int(count), float(share))
            for vector, count, share in zip(
                computed.vectors.numpy(), computed.counts, computed.unknown_shares, strict=True
            )
        ]
        self._cache.put(self._identity, [keys[row] for row in missing], fresh)
        for row, one in zip(missing, fresh, strict=True):
            held[row] = one
        found = [one for one in held if one is not None]
        vectors = np.array([one.vector for one in found], dtype=np.float32).reshape(len(keys), self.dimension)
        return Answers(
            torch.from_numpy(vectors).to(device),
            np.asarray(np.isfinite(vectors).all(axis=1)),
            np.array([one.token_count for one in found], dtype=np.int64),
            np.array([one.unknown_share for one in found], dtype=np.float64),
            np.empty((len(keys), 0)),
        )

    def _compute(self, keys: Sequence[Key], *, scored: bool, device: torch.device) -> Answers:
        launched = (self._runner.launch(tokens, start=start, scored=scored) for start, tokens in self._windows(keys))
        ahead = launched if self._device.type == "cpu" else one_later(launched)
        return self._collected(len(keys), ahead, classes=len(self.labels) if scored else 0, device=device)

    def _collected(self, n: int, launched: Iterable[Launched], *, classes: int, device: torch.device) -> Answers:
        answers = Answers.empty(n, dimension=self.dimension, classes=classes, device=device)
        for window in launched:
            self._runner.collect(window, answers)
        return answers

    def _windows(self, keys: Sequence[Key]) -> Iterator[tuple[int, Tokens]]:
        """Tokenise a window of texts while the one before it is computed."""
        starts = range(0, len(keys), TEXTS_PER_WINDOW)
        windows = (
            (start, self._tokeniser(keys[start : start + TEXTS_PER_WINDOW], max_length=self.max_length))
            for start in starts
        )
        return made_beside(windows) if len(starts) > 1 else windows


def _budget(states: States, device: torch.device, *, max_length: int) -> int:
    if device.type == "cpu":
        return CPU_TOKENS
    return find_budget(states, CudaMemory(device), max_length=max_length)


def _dtype(device: torch.device, arithmetic: str) -> str:
    if arithmetic == "int8":
        if device.type != "cpu":
            raise EmbeddingError(f"int8 runs on the CPU, the device is {device.type}")
        if not int8_is_exact():
            raise EmbeddingError("int8 needs exact 8-bit products, which this processor does not have")
        return "int8"
    return "bf16" if device.type == "cuda" else "fp32"
