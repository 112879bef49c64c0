"""Texts re-embedded a second, ours and its peers, interleaved in one run; roberta-base's architecture and a small one.

PYTHONPATH=. python bench/embed.py [--rounds 3] [--layers 12] [--only NAME …] [--skip NAME …] [--settings NAME …]

The peers (sentence-transformers, onnxruntime with onnx, ctranslate2) are measured where the interpreter can import
them: make an environment of their own, with our torch and transformers, numpy, safetensors, structlog, and use that.
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one thread means one thread

import machine
import numpy as np
import torch
from embed_peers import PEERS, Embed

from monitor.demo.training import train_tokenizer
from monitor.embed import Encoder
from monitor.embed.linear import PrepackedLinear, prepacking_works

MEDIAN_TOKENS, SPREAD, SHORTEST, LONGEST = 19, 0.84, 4, 256
WORDS, REPEATED = 3000, 0.3
MATRIX = (1024, 768, 3072)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One comparison: a model, how many texts come at once, threads, and who takes part (None: all)."""

    model: str
    pool: int
    threads: int
    repeated: float = 0.0
    contenders: tuple[str, ...] | None = None


FAST = (
    "sentence_transformers_32",
    "sorted_padded",
    "onnx_runtime",
    "ctranslate2",
    "ctranslate2_int8",
    "ours",
    "ours_int8",
)
SETTINGS = {
    "base_256_1": Setting("base", 256, 1),
    "base_1024_1": Setting("base", 1024, 1, contenders=FAST),
    "base_1024_2": Setting("base", 1024, 2, contenders=FAST),
    "base_1024_repeated_1": Setting("base", 1024, 1, REPEATED, ("sentence_transformers_32", "ours")),
    "small_1024_1": Setting("small", 1024, 1),
}


def words(rng: np.random.Generator) -> list[str]:
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    return sorted({"".join(rng.choice(syllables, size=rng.integers(1, 4))) for _ in range(2 * WORDS)})[:WORDS]


def mix(vocabulary: Sequence[str], n: int, *, repeated: float, rng: np.random.Generator) -> list[str]:
    """Ticket-like texts: log-normal token counts, median 19, mean 27, 99th percentile 132, at most 256."""
    lengths = np.clip(np.round(MEDIAN_TOKENS * np.exp(SPREAD * rng.normal(size=n))), SHORTEST, LONGEST).astype(int)
    found = [" " + " ".join(rng.choice(vocabulary, size=length - 2)) for length in lengths]
    for row in np.flatnonzero(rng.random(n) < repeated):
        found[row] = found[int(rng.integers(n))]
    return found


def build(folder: Path, tokenizer: Any, *, layers: int, hidden: int) -> Path:
    from transformers import RobertaConfig, RobertaModel

    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(tokenizer),  # ctranslate2 wants as many rows as tokens
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
        max_position_embeddings=514,
        type_vocab_size=1,
        position_embedding_type="absolute",  # ctranslate2's converter asks for it
        pad_token_id=1,
    )
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def flop_per_token(layers: int, hidden: int, tokens: Sequence[int]) -> float:
    attended = float(np.square(tokens, dtype=np.float64).sum() / np.sum(tokens))
    return layers * (2 * 12 * hidden**2 + 4 * attended * hidden)


def matrix_rate(seconds: float = 0.5) -> dict[str, float]:
    """The machine's fp32 product, FLOP a second, by torch's own way and by oneDNN's on prepacked weights."""
    n, inputs, outputs = MATRIX
    x, weight, bias = torch.randn(n, inputs), torch.randn(outputs, inputs), torch.zeros(outputs)
    ways: dict[str, Callable[[], Any]] = {"torch": lambda: torch.nn.functional.linear(x, weight, bias)}
    if prepacking_works():
        prepacked = PrepackedLinear(weight, bias)
        ways["prepacked"] = lambda: prepacked(x)
    found = {}
    with torch.inference_mode():
        for name, way in ways.items():
            way()
            done, started, used = 0, time.perf_counter(), time.process_time()
            while time.perf_counter() - started < seconds:
                way()
                done += 1
            spent = time.process_time() - used if torch.get_num_threads() == 1 else time.perf_counter() - started
            found[name] = 2.0 * n * inputs * outputs * done / spent
    return found


def ours(folder: Path, threads: int, *, arithmetic: str = "native") -> Embed:
    encoder = Encoder.load(folder, device="cpu", max_length=LONGEST, arithmetic=arithmetic, threads=threads)
    return lambda texts: encoder.encode(texts).vectors


def contenders(
    folder: Path, setting: Setting, wanted: Callable[[str], bool]
) -> tuple[dict[str, Embed], dict[str, str]]:
    makers = {**PEERS, "ours": ours, "ours_int8": lambda folder, threads: ours(folder, threads, arithmetic="int8")}
    named = [name for name in makers if wanted(name) and (setting.contenders is None or name in setting.contenders)]
    found: dict[str, Embed] = {}
    absent: dict[str, str] = {}
    for name in named:
        try:
            found[name] = makers[name](folder, setting.threads)
        except Exception as error:  # noqa: BLE001 a peer that cannot be made is named in the result
            absent[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return found, absent


def measure(
    setting: Setting,
    folder: Path,
    texts: list[str],
    tokens: list[int],
    *,
    shape: tuple[int, int],
    rounds: int,
    wanted: Callable[[str], bool],
) -> dict[str, Any]:
    torch.set_num_threads(setting.threads)
    found, absent = contenders(folder, setting, wanted)
    one_thread = setting.threads == 1
    seconds: dict[str, list[float]] = {name: [] for name in found}
    rates: list[dict[str, float]] = []
    for turn in range(rounds + 1):
        rates.append(matrix_rate())
        for name, embed in found.items():
            torch.set_num_threads(setting.threads)
            given = texts if turn else texts[:32]  # the first turn warms up
            started, used = time.perf_counter(), time.process_time()
            embed(given)
            wall, cpu = time.perf_counter() - started, time.process_time() - used
            if turn:
                seconds[name].append(cpu if one_thread else wall)
    rate = max(statistics.median(one[way] for one in rates) for way in rates[0])
    work = sum(tokens) * flop_per_token(*shape, tokens)
    told = {
        name: {
            "texts_per_second": round(len(texts) / statistics.median(values), 2),
            "share_of_matrix_rate": round(work / statistics.median(values) / rate, 3),
            "seconds": [round(value, 2) for value in values],
        }
        for name, values in seconds.items()
    }
    ratios = {
        f"{mine}/{name}": round(statistics.median(b / a for a, b in zip(seconds[mine], values, strict=True)), 2)
        for mine in ("ours", "ours_int8")
        for name, values in seconds.items()
        if mine in seconds and name != mine
    }
    return {
        **dataclasses.asdict(setting),
        "seconds_are": "of the processor" if one_thread else "of the clock",
        "matrix_gflop_per_second": {
            way: round(statistics.median(one[way] for one in rates) / 1e9, 1) for way in rates[0]
        },
        "contenders": told,
        "ratios": ratios,
        "absent": absent,
    }


def agreement(folder: Path, texts: Sequence[str]) -> dict[str, float]:
    """Ours on all texts at once against transformers on one at a time: the largest error relative to the vector."""
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = (
        AutoModel.from_pretrained(folder, add_pooling_layer=False).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    with torch.inference_mode():
        wanted = np.array(
            [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0).numpy() for text in texts]
        )
    worst = {}
    for arithmetic in ("native", "int8"):
        found = Encoder.load(folder, device="cpu", max_length=LONGEST, arithmetic=arithmetic).encode(texts).vectors
        worst[arithmetic] = float((np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max())
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12, help="of the larger model; fewer for a trial")
    parser.add_argument("--pool", type=int, help="texts of every setting, for a trial")
    parser.add_argument("--only", nargs="*", default=[], help="contenders")
    parser.add_argument("--skip", nargs="*", default=[], help="contenders")
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--name", default="embed", help="of the result")
    options = parser.parse_args()

    def wanted(name: str) -> bool:
        return name not in options.skip and (not options.only or name in options.only)

    vocabulary = words(np.random.default_rng(0))
    spaced = [" " + " ".join(vocabulary)]
    tokenizer = train_tokenizer(spaced * 3, vocabulary_size=12_000, positions=514)
    shapes = {"base": (options.layers, 768), "small": (4, 256)}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-embed-") as scratch:
        folders = {
            name: build(Path(scratch) / name, tokenizer, layers=shape[0], hidden=shape[1])
            for name, shape in shapes.items()
        }
        large = mix(vocabulary, 10_000, repeated=0, rng=np.random.default_rng(1))
        lengths = [len(one) for one in tokenizer(large)["input_ids"]]
        for name in options.settings:
            setting = SETTINGS[name] if options.pool is None else dataclasses.replace(SETTINGS[name], pool=options.pool)
            texts = mix(vocabulary, setting.pool, repeated=setting.repeated, rng=np.random.default_rng(2))
            tokens = [len(one) for one in tokenizer(texts)["input_ids"]]
            results[name] = measure(
                setting,
                folders[setting.model],
                texts,
                tokens,
                shape=shapes[setting.model],
                rounds=options.rounds,
                wanted=wanted,
            )
            print(name, results[name]["contenders"], results[name]["absent"], flush=True)
        errors = {name: agreement(folder, large[:48]) for name, folder in folders.items()}
    machine.write(
        options.name,
        {
            "mix_tokens": {
                "median": float(np.median(lengths)),
                "mean": round(float(np.mean(lengths)), 1),
                "p99": float(np.quantile(lengths, 0.99)),
                "max": max(lengths),
            },
            "base_layers": options.layers,
            "largest_relative_error": errors,
            "settings": results,
        },
    )


if __name__ == "__main__":
    main()
