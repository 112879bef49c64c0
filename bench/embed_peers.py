"""What bench/embed measures ours against: each contender takes texts and returns vectors (n, d), all with mean pooling.

A contender whose library is not importable is left out and named in the result.
"""

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

Embed = Callable[[Sequence[str]], np.ndarray]
PADDED_BUDGET = 4096  # of monitor/embed before it packed


def _loaded(folder: Path) -> tuple[Any, Any]:
    return AutoModel.from_pretrained(folder, add_pooling_layer=False).eval(), AutoTokenizer.from_pretrained(folder)


def pipeline(folder: Path, _threads: int) -> Embed:
    from transformers import pipeline as make

    model, tokenizer = _loaded(folder)
    run = make("feature-extraction", model=model, tokenizer=tokenizer, device="cpu", batch_size=32)

    def embed(texts: Sequence[str]) -> np.ndarray:
        with torch.inference_mode():
            return np.array([np.mean(found[0], axis=0) for found in run(list(texts))])

    return embed


def sentence_transformers(folder: Path, _threads: int) -> Embed:
    from sentence_transformers import SentenceTransformer, models

    body = models.Transformer(str(folder))
    pooling = models.Pooling(body.get_embedding_dimension(), pooling_mode="mean")
    model = SentenceTransformer(modules=[body, pooling], device="cpu")
    return lambda texts: model.encode(list(texts), batch_size=32, show_progress_bar=False)


def _padded(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if rows and (len(rows) + 1) * lengths[row] > budget:
            yield rows
            rows = []
        rows.append(row)
    yield rows


def _in_padded_batches(
    tokenizer: Any, width: int, run: Callable[[np.ndarray, np.ndarray], np.ndarray], *, budget: int
) -> Embed:
    def embed(texts: Sequence[str]) -> np.ndarray:
        ids = [tokenizer(text)["input_ids"] for text in texts]
        found = np.empty((len(ids), width), dtype=np.float32)
        for rows in _padded([len(one) for one in ids], budget=budget):
            longest = max(len(ids[row]) for row in rows)
            batch = np.ones((len(rows), longest), dtype=np.int64)
            mask = np.zeros((len(rows), longest), dtype=np.int64)
            for place, row in enumerate(rows):
                batch[place, : len(ids[row])], mask[place, : len(ids[row])] = ids[row], 1
            hidden = run(batch, mask)
            found[rows] = (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return found

    return embed


def sorted_padded(folder: Path, _threads: int) -> Embed:
    model, tokenizer = _loaded(folder)

    def run(batch: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            given = {"input_ids": torch.from_numpy(batch), "attention_mask": torch.from_numpy(mask)}
            return model(**given).last_hidden_state.numpy()

    return _in_padded_batches(tokenizer, model.config.hidden_size, run, budget=PADDED_BUDGET)


def onnx_runtime(folder: Path, threads: int) -> Embed:
    import onnxruntime

    model, tokenizer = _loaded(folder)
    path = Path(tempfile.mkdtemp(prefix="bench-onnx-")) / "model.onnx"
    given = tokenizer(["one", "two of them"], padding=True, return_tensors="pt")
    names, axes = ["input_ids", "attention_mask"], {0: "n", 1: "t"}

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.requires_grad_(False)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(
            Hidden(),
            tuple(given[name] for name in names),
            str(path),
            input_names=names,
            output_names=["hidden"],
            dynamic_axes=dict.fromkeys((*names, "hidden"), axes),
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(batch: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return session.run(["hidden"], {"input_ids": batch, "attention_mask": mask})[0]

    return _in_padded_batches(tokenizer, model.config.hidden_size, run, budget=1024)


def _ctranslate2(folder: Path, threads: int, *, compute_type: str) -> Embed:
    import ctranslate2

    tokenizer = AutoTokenizer.from_pretrained(folder)
    out = Path(tempfile.mkdtemp(prefix="bench-ct2-")) / "model"
    ctranslate2.converters.TransformersConverter(str(folder)).convert(str(out))
    encoder = ctranslate2.Encoder(str(out), device="cpu", compute_type=compute_type, intra_threads=threads)

    def embed(texts: Sequence[str]) -> np.ndarray:
        ids = [tokenizer(text)["input_ids"] for text in texts]
        parts: dict[int, np.ndarray] = {}
        for rows in _padded([len(one) for one in ids], budget=1024):
            hidden = np.array(encoder.forward_batch([ids[row] for row in rows]).last_hidden_state)
            for place, row in enumerate(rows):
                parts[row] = hidden[place, : len(ids[row])].mean(axis=0)
        return np.array([parts[row] for row in range(len(ids))])

    return embed


def ctranslate2(folder: Path, threads: int) -> Embed:
    return _ctranslate2(folder, threads, compute_type="float32")


def ctranslate2_int8(folder: Path, threads: int) -> Embed:
    return _ctranslate2(folder, threads, compute_type="int8")


PEERS: dict[str, Callable[[Path, int], Embed]] = {
    "transformers_pipeline_32": pipeline,
    "sentence_transformers_32": sentence_transformers,
    "sorted_padded": sorted_padded,
    "onnx_runtime": onnx_runtime,
    "ctranslate2": ctranslate2,
    "ctranslate2_int8": ctranslate2_int8,
}
