"""Read a checkpoint folder: no network, no remote code, safetensors only; every fault is one line naming the file."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from monitor.embed.errors import EmbeddingError
from registry.errors import ArtifactRefused
from registry.model import checked_files

MODEL_TYPES = ("roberta", "xlm-roberta", "camembert", "roberta-prelayernorm", "xlm-roberta-xl")
DEVICES = ("cpu", "cuda")


def quiet() -> None:
    """Keep transformers from printing."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def find_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is the GPU where there is one. Raises EmbeddingError."""
    found = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    kind, _, number = found.partition(":")
    if kind not in DEVICES or (number and not (kind == "cuda" and number.isdecimal())) or found.endswith(":"):
        raise EmbeddingError(f"device must be one of auto, {', '.join(DEVICES)} or cuda:N, got {name!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise EmbeddingError(f"device {found} was asked for, this machine has none")
    if number and int(number) >= torch.cuda.device_count():
        raise EmbeddingError(f"device {found} was asked for, this machine has {torch.cuda.device_count()} of them")
    if kind == "cuda":
        torch.cuda.set_device(int(number or 0))  # what names no device, such as pinned memory and caches, is its own
    return torch.device(found)


def load_config(folder: Path) -> Any:
    """Return the transformers configuration. Raises EmbeddingError."""
    try:
        checked_files(folder)
    except ArtifactRefused as error:
        raise EmbeddingError(str(error)) from error
    config = _read_json(folder, "config.json")
    if config.get("model_type") not in MODEL_TYPES:
        kind = config.get("model_type")
        raise EmbeddingError(f"{folder}: config.json: model_type must be one of {', '.join(MODEL_TYPES)}, got {kind!r}")
    try:
        found = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise EmbeddingError(f"{folder}: config.json cannot be used ({_one_line(error)})") from error
    if sorted(found.id2label) != list(range(found.num_labels)):
        raise EmbeddingError(
            f"{folder}: config.json: id2label must name the classes 0 to {found.num_labels - 1}, got "
            f"{', '.join(str(one) for one in sorted(found.id2label)[:20])}"
        )
    if not isinstance(found.pad_token_id, int) or found.pad_token_id < 0:
        raise EmbeddingError(
            f"{folder}: config.json: pad_token_id must be a number, got {found.pad_token_id!r}: positions count from it"
        )
    return found


def load_tokenizer(folder: Path, *, vocabulary_size: int) -> Any:
    """Return the tokenizer. Raises EmbeddingError, also for one with ids that the model does not embed."""
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
    if not isinstance(tokenizer.model_max_length, int | float):
        found = f"{tokenizer.model_max_length!r:.80}"
        raise EmbeddingError(f"{folder}: tokenizer_config.json: model_max_length must be a number, got {found}")
    if highest >= vocabulary_size:
        raise EmbeddingError(
            f"{folder}: tokenizer.json has token id {highest}, the model embeds ids below {vocabulary_size}"
        )
    return tokenizer


def load_model(folder: Path, config: Any) -> Any:
    """Return the model in fp32 on the CPU, with its classification head where it has one. Raises EmbeddingError."""
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
