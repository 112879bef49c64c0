"""Turn texts into vectors and predictions with a RoBERTa-family checkpoint folder (loads torch and transformers)."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from registry.errors import ArtifactRefused
from registry.model import checked_files
from registry.tokenizer import tokenizer_digest

MODEL_TYPES = ("roberta", "xlm-roberta")
POOLINGS = ("mean", "cls")
TOKENS_PER_BATCH = {"cpu": 4096, "cuda": 65536}
# A longer text is tokenised in pieces of this many characters, so that memory stays bounded for a text of any size.
# Its vector sees the first piece, far more than any model has positions for; its token count adds up over all pieces.
PIECE_CHARACTERS = 50_000
TEXTS_PER_TOKENISING = 1024

_Texts = Sequence[str]
_Pairs = Sequence[str | None] | None
_Key = tuple[str, str | None]


class EmbeddingError(Exception):
    """A checkpoint that cannot be loaded; the message names folder and file."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Vectors of n texts: float32 (n, d), full token counts (n,), whether truncated (n,), whether all finite (n,)."""

    vectors: npt.NDArray[np.float32]
    token_counts: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]
    finite: npt.NDArray[np.bool_]


class Encoder:
    """A loaded checkpoint with its tokenizer; made by `Encoder.load`."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        device: torch.device,
        pooling: str,
        max_length: int,
        model_max_length: int,
        digest: str,
    ) -> None:
        self._model, self._tokenizer, self._device = model, tokenizer, device
        self.pooling, self.max_length, self.model_max_length = pooling, max_length, model_max_length
        self.tokenizer_digest = digest
        self.dimension = int(model.config.hidden_size)
        self.has_head = hasattr(model, "classifier") and int(model.config.num_labels) > 1
        self.labels = tuple(str(model.config.id2label[i]) for i in range(int(model.config.num_labels)))

    @classmethod
    def load(
        cls, folder: Path, *, device: str = "auto", pooling: str = "mean", max_length: int | None = None
    ) -> "Encoder":
        """Load a checkpoint folder: no network, no remote code, safetensors only.

        `max_length` is at most what tokenizer and positions allow. Raises EmbeddingError naming folder and file.
        """
        if pooling not in POOLINGS:
            raise EmbeddingError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
        chosen = _device(device)
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        config = _load_config(folder)
        tokenizer = _load_tokenizer(folder, vocabulary_size=int(config.vocab_size))
        model = _load_model(folder, config)
        dtype = torch.bfloat16 if chosen.type == "cuda" else torch.float32
        model.to(device=chosen, dtype=dtype).eval()
        allowed = min(int(tokenizer.model_max_length), config.max_position_embeddings - config.pad_token_id - 1)
        length = allowed if max_length is None else min(max_length, allowed)
        if length < 4:  # two texts take four special tokens
            raise EmbeddingError(f"{folder}: max_length must be 4 or more, got {length}")
        digest = tokenizer_digest(folder, lambda texts: _ids(tokenizer, [(text, None) for text in texts]))
        return cls(
            model,
            tokenizer,
            device=chosen,
            pooling=pooling,
            max_length=length,
            model_max_length=allowed,
            digest=digest,
        )

    @property
    def numeric_mode(self) -> str:
        """What makes vectors comparable: device class, dtype, attention backend, pooling and max length."""
        dtype = "bf16" if self._device.type == "cuda" else "fp32"
        backend = self._model.config._attn_implementation  # noqa: SLF001 transformers has no public name for it
        return f"{self._device.type}-{dtype}-{backend}-{self.pooling}-{self.max_length}"

    def encode(self, texts: _Texts, pairs: _Pairs = None) -> Encoded:
        """Embed n texts (or pairs of texts); equal inputs are embedded once, batch neighbours do not matter."""
        keys, inverse = _distinct(texts, pairs)
        ids, counts = self._tokenise(keys)
        vectors = np.empty((len(keys), self.dimension), dtype=np.float32)
        self._forward(ids, vectors, self._pooled)
        vectors = vectors[inverse]
        return Encoded(
            vectors=vectors,
            token_counts=counts[inverse],
            truncated=counts[inverse] > self.max_length,
            finite=np.asarray(np.isfinite(vectors).all(axis=1)),
        )

    def predict(self, texts: _Texts, pairs: _Pairs = None) -> tuple[list[str], npt.NDArray[np.float64]]:
        """Return the likeliest label of each text and the probabilities (n, C).

        Raises EmbeddingError when the checkpoint has no classification head.
        """
        if not self.has_head:
            raise EmbeddingError(f"the checkpoint ({type(self._model).__name__}) has no classification head")
        keys, inverse = _distinct(texts, pairs)
        ids, _ = self._tokenise(keys)
        scores = np.empty((len(keys), len(self.labels)), dtype=np.float64)
        self._forward(ids, scores, self._probabilities)
        scores = scores[inverse]
        return [self.labels[i] for i in scores.argmax(axis=1)] if len(scores) else [], scores

    def token_counts(self, texts: _Texts, pairs: _Pairs = None) -> npt.NDArray[np.int64]:
        """Count tokens of the full texts (n,), special tokens included.

        A text over 50,000 characters is counted in pieces cut before a space: exact for byte-level
        vocabularies where it has spaces, otherwise off by a few tokens per piece.
        """
        keys, inverse = _distinct(texts, pairs)
        _, counts = self._tokenise(keys)
        return counts[inverse]

    def _tokenise(self, keys: Sequence[_Key]) -> tuple[list[list[int]], npt.NDArray[np.int64]]:
        ids: list[list[int]] = []
        counts = np.zeros(len(keys), dtype=np.int64)
        for start in range(0, len(keys), TEXTS_PER_TOKENISING):
            group = [
                (_head(text), None if pair is None else _head(pair))
                for text, pair in keys[start:][:TEXTS_PER_TOKENISING]
            ]
            for offset, found in enumerate(_ids(self._tokenizer, group)):
                key = keys[start + offset]
                counts[start + offset] = len(found) + sum(self._tail_count(text) for text in key if text is not None)
                kept = found
                if len(found) > self.max_length:
                    kept = _ids(self._tokenizer, [group[offset]], max_length=self.max_length)[0]
                ids.append(kept)
        return ids, counts

    def _tail_count(self, text: str) -> int:
        if len(text) <= PIECE_CHARACTERS:
            return 0
        pieces = list(_pieces(text))[1:]
        return sum(len(_ids(self._tokenizer, [(piece, None)], special=False)[0]) for piece in pieces)

    def _forward(
        self, ids: list[list[int]], into: npt.NDArray[Any], read: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> None:
        padding = int(self._model.config.pad_token_id)
        for rows in _batches([len(found) for found in ids], budget=TOKENS_PER_BATCH[self._device.type]):
            width = max(len(ids[row]) for row in rows)
            batch = torch.full((len(rows), width), padding, dtype=torch.long)
            mask = torch.zeros((len(rows), width), dtype=torch.long)
            for position, row in enumerate(rows):
                batch[position, : len(ids[row])] = torch.tensor(ids[row])
                mask[position, : len(ids[row])] = 1
            with torch.inference_mode():
                into[rows] = read(batch.to(self._device), mask.to(self._device)).float().cpu().numpy()

    def _pooled(self, batch: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self._model.base_model(input_ids=batch, attention_mask=mask).last_hidden_state.float()
        if self.pooling == "cls":
            return hidden[:, 0]
        weights = mask.unsqueeze(-1).float()
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)

    def _probabilities(self, batch: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model(input_ids=batch, attention_mask=mask).logits.float()
        if self._model.config.problem_type == "multi_label_classification":
            return torch.sigmoid(logits)
        return torch.softmax(logits, dim=-1)


def _device(name: str) -> torch.device:
    found = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    if found not in TOKENS_PER_BATCH:
        raise EmbeddingError(f"device must be one of auto, {', '.join(TOKENS_PER_BATCH)}, got {name!r}")
    if found == "cuda" and not torch.cuda.is_available():
        raise EmbeddingError("device cuda was asked for, this machine has none")
    return torch.device(found)


def _load_config(folder: Path) -> Any:
    try:
        checked_files(folder)
    except ArtifactRefused as error:
        raise EmbeddingError(str(error)) from error
    config = _read_json(folder, "config.json")
    if config.get("model_type") not in MODEL_TYPES:
        kind = config.get("model_type")
        raise EmbeddingError(f"{folder}: config.json: model_type must be one of {', '.join(MODEL_TYPES)}, got {kind!r}")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise EmbeddingError(f"{folder}: config.json cannot be used ({_one_line(error)})") from error


def _load_tokenizer(folder: Path, *, vocabulary_size: int) -> Any:
    candidates = [["tokenizer.json"], ["vocab.json", "merges.txt"], ["sentencepiece.bpe.model"]]
    if not any(all((folder / name).is_file() for name in names) for names in candidates):
        raise EmbeddingError(
            f"{folder}: no tokenizer: tokenizer.json, vocab.json or sentencepiece.bpe.model is missing"
        )
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json"):
        if (folder / name).is_file():
            _read_json(folder, name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        highest = max(tokenizer.get_vocab().values(), default=-1)
    except Exception as error:
        raise EmbeddingError(f"{folder}: tokenizer.json cannot be used ({_one_line(error)})") from error
    if highest >= vocabulary_size:
        raise EmbeddingError(
            f"{folder}: tokenizer.json has token id {highest}, the model embeds ids below {vocabulary_size}"
        )
    return tokenizer


def _load_model(folder: Path, config: Any) -> Any:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise EmbeddingError(f"{folder}: no weights: model.safetensors is missing")
    for path in weights:
        try:
            with safe_open(path, framework="pt") as stream:
                stream.keys()
        except (SafetensorError, OSError) as error:
            raise EmbeddingError(f"{folder}: {path.name} is not readable safetensors ({_one_line(error)})") from error
    headed = any(str(name).endswith("ForSequenceClassification") for name in config.architectures or ())
    kind = AutoModelForSequenceClassification if headed else AutoModel
    options: dict[str, Any] = {} if headed else {"add_pooling_layer": False}
    try:
        model, report = kind.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation="sdpa",
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    except Exception as error:
        raise EmbeddingError(f"{folder}: {weights[0].name} cannot be loaded ({_one_line(error)})") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise EmbeddingError(f"{folder}: {weights[0].name} lacks {len(missing)} tensors, the first is {missing[0]}")
    return model


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EmbeddingError(f"{folder}: {name} is missing") from None
    except (OSError, ValueError) as error:
        raise EmbeddingError(f"{folder}: {name} is not readable JSON ({_one_line(error)})") from error
    if not isinstance(found, dict):
        raise EmbeddingError(f"{folder}: {name} must hold a JSON object, got {type(found).__name__}")
    return found


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _clean(text: str) -> str:
    # lone surrogates are no text to a tokenizer; each becomes U+FFFD, and paired ones the character they mean
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _distinct(texts: _Texts, pairs: _Pairs) -> tuple[list[_Key], npt.NDArray[np.int64]]:
    partners: Sequence[str | None] = [None] * len(texts) if pairs is None else pairs
    places: dict[_Key, int] = {}
    inverse = np.empty(len(texts), dtype=np.int64)
    for row, (text, pair) in enumerate(zip(texts, partners, strict=True)):
        key = (_clean(text), None if pair is None else _clean(pair))
        inverse[row] = places.setdefault(key, len(places))
    return list(places), inverse


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        end = start + PIECE_CHARACTERS
        cut = text.rfind(" ", end - 1000, end)  # before a space: byte-level words begin there
        yield text[start : cut if cut > start else end]
        start = cut if cut > start else end
    yield text[start:]


def _head(text: str) -> str:
    return text if len(text) <= PIECE_CHARACTERS else next(_pieces(text))


def _ids(
    tokenizer: Any, keys: Sequence[_Key], *, max_length: int | None = None, special: bool = True
) -> list[list[int]]:
    found: list[list[int]] = []
    options: dict[str, Any] = {"add_special_tokens": special, "return_attention_mask": False, "verbose": False}
    if max_length is not None:
        options |= {"truncation": True, "max_length": max_length}
    for text, pair in keys:
        found.append(tokenizer(text, pair, **options)["input_ids"])
    return found


def _batches(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        if rows and (len(rows) + 1) * lengths[row] > budget:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
