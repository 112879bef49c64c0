"""Text in, sketch out on one GPU: tokens and texts a second, beside the card's own bf16 matrix product.

PYTHONPATH=. python bench/embed_gpu.py [--seconds 20] [--smoke]

Written for one GPU and five minutes; sentence-transformers in bf16 is measured beside it where it can be imported.
Where the machine has no structlog or array-api-compat, bring those two (pure Python) in a folder on PYTHONPATH.
--smoke : a small model on the CPU and few texts, to see that everything runs; its figures mean nothing.
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
from embed import LONGEST, build, flop_per_token, mix, words

from detectors.sketch import Sketch, empty_sketch, fit_basis, fold, merge
from monitor.demo.training import train_tokenizer
from monitor.embed import Encoder
from monitor.embed.workers import default_workers

Embed = Callable[[list[list[str]]], object]
BATCH, FITTED = 10_000, 2000  # as backfill reads, and fits
PRODUCT = 8192


def product_rate(device: str, *, size: int, rounds: int = 20) -> float:
    """A bf16 product of random matrices, FLOP a second: the median of several."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    with torch.inference_mode():
        for turn in range(rounds + 3):
            wait(device)
            started = time.perf_counter()
            a @ b
            wait(device)
            if turn >= 3:
                seconds.append(time.perf_counter() - started)
    return 2.0 * size**3 / statistics.median(seconds)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def sketch_of(encoder: Encoder, basis: Any, batches: list[list[str]]) -> Sketch:
    sketch, row = empty_sketch(basis), 0
    for encoded in encoder.stream_in_place((batch, None) for batch in batches):
        count = len(encoded.token_counts)
        sketch = merge([sketch, fold(basis, encoded.vectors, row_ids=np.arange(row, row + count))])
        row += count
    return sketch


def timed(run: Embed, batches: list[list[str]], device: str, seconds: float) -> list[float]:
    """Seconds of every pass over the batches after one that warms up."""
    run(batches[:1])
    found: list[float] = []
    while not found or sum(found) < seconds:
        wait(device)
        started = time.perf_counter()
        run(batches)
        wait(device)
        found.append(time.perf_counter() - started)
    return found


@contextlib.contextmanager
def sentence_transformers(folder: Path, device: str) -> Iterator[Embed | None]:
    try:
        from sentence_transformers import SentenceTransformer, models
    except ImportError:
        yield None
        return
    body = models.Transformer(str(folder), max_seq_length=LONGEST)
    model = SentenceTransformer(modules=[body, models.Pooling(body.get_word_embedding_dimension())], device=device)
    model.to(torch.bfloat16)
    yield lambda batches: [
        model.encode(batch, batch_size=32, convert_to_tensor=True, show_progress_bar=False) for batch in batches
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each contender")
    parser.add_argument("--texts", type=int, default=300_000)
    parser.add_argument("--tokenizer-workers", type=int)
    parser.add_argument("--name", default="embed_gpu", help="of the result")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    device = "cpu" if options.smoke else "cuda"
    layers, hidden = (2, 64) if options.smoke else (12, 768)
    n, seconds = (3000, 0.1) if options.smoke else (options.texts, options.seconds)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    rng = np.random.default_rng(0)
    vocabulary = words(rng)
    tokenizer = train_tokenizer([" " + " ".join(vocabulary)] * 3, vocabulary_size=12_000, positions=514)
    texts = mix(vocabulary, n, repeated=0, rng=rng)
    size = min(BATCH, n // 3)
    batches = [texts[start : start + size] for start in range(0, n, size)]
    rates = [product_rate(device, size=256 if options.smoke else PRODUCT)]
    result: dict[str, Any] = {"smoke": options.smoke, "shape": [layers, hidden], "texts": n}
    with tempfile.TemporaryDirectory(prefix="bench-embed-gpu-") as scratch:
        folder = build(Path(scratch) / "model", tokenizer, layers=layers, hidden=hidden)
        workers = options.tokenizer_workers
        workers = default_workers(device) if workers is None else workers
        encoder = Encoder.load(folder, device=device, max_length=LONGEST, tokenizer_workers=workers)
        fitted = mix(vocabulary, FITTED, repeated=0, rng=np.random.default_rng(1))
        basis = fit_basis(encoder.encode(fitted).vectors, rng=np.random.default_rng(1))
        lengths = np.concatenate([encoder.token_counts(batch) for batch in batches])
        ours = timed(lambda given: sketch_of(encoder, basis, given), batches, device, seconds)
        rates.append(product_rate(device, size=256 if options.smoke else PRODUCT))
        tokens, work = int(lengths.sum()), float(lengths.sum()) * flop_per_token(layers, hidden, lengths.tolist())
        roof = max(rates)

        def told(passes: list[float], given: int) -> dict[str, Any]:
            per_pass = statistics.median(passes)
            share = given / n
            return {
                "tokens_per_second": round(tokens * share / per_pass),
                "texts_per_second": round(given / per_pass),
                "share_of_roof": round(work * share / per_pass / roof, 4),
                "seconds": [round(one, 3) for one in passes],
            }

        result |= {
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "numeric_mode": encoder.numeric_mode,
            "tokenizer_workers": workers,
            "token_budget": encoder.token_budget,
            "load_seconds": round(encoder.counts.load_seconds, 2),
            "out_of_memory_retries": encoder.counts.out_of_memory_retries,
            "tokens": {"mean": round(float(lengths.mean()), 1), "median": float(np.median(lengths))},
            "mflop_per_token": round(flop_per_token(layers, hidden, lengths.tolist()) / 1e6, 1),
            "product_tflop_per_second": [round(one / 1e12, 3) for one in rates],
            "roof_tokens_per_second": round(roof * tokens / work),
            "ours_text_to_sketch": told(ours, n),
        }
        with sentence_transformers(folder, device) as peer:
            if peer is not None:
                few = batches[: max(1, len(batches) // 10)]
                passes = timed(peer, few, device, seconds)
                result["sentence_transformers_bf16_32"] = told(passes, sum(len(batch) for batch in few))
                theirs = result["sentence_transformers_bf16_32"]["texts_per_second"]
                result["ratio"] = round(result["ours_text_to_sketch"]["texts_per_second"] / max(theirs, 1), 2)
    if options.smoke:
        print(json.dumps(result))
    else:
        machine.write(options.name, result)


if __name__ == "__main__":
    main()
