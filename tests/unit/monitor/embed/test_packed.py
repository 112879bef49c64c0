"""The packed body against transformers' own forward pass, one text at a time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from monitor.embed import EmbeddingError, Encoder, OutOfMemory
from monitor.embed.backends import PackedStates, PlainStates
from monitor.embed.batch import batches, pack
from monitor.embed.checks import BOUNDS, require_agreement
from monitor.embed.linear import PrepackedLinear, TorchLinear
from monitor.embed.packed import UnknownLayout, attention_by_runs, packed_body

Build = Callable[..., Path]
BOUND = 1e-5
CPU = torch.device("cpu")
TEXTS = ["hi", "where is my order? it was due", "", "refund " * 90, "a <pad> b", "naïve 😀", "two", "one", "a\x00b"]
PAIRS = ["there", None, "", "again " * 90, None, "<s>", None, "three", "c"]


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float((np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max())


def by_transformers(folder: Path, pooling: str, texts: list[str], pairs: list[Any]) -> np.ndarray:
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    with torch.inference_mode():
        for text, pair in zip(texts, pairs, strict=True):
            given = tokenizer(text, pair, truncation=True, max_length=64, return_tensors="pt")
            hidden = model(input_ids=given["input_ids"]).last_hidden_state[0]
            rows.append((hidden[0] if pooling == "cls" else hidden.mean(dim=0)).numpy())
    return np.array(rows)


CONFIGURATIONS = {
    "roberta": {},
    "xlm-roberta": {"model_type": "xlm-roberta", "type_vocab_size": 2},
    "camembert": {"model_type": "camembert"},
    "another activation": {"hidden_act": "relu"},
    "another epsilon": {"layer_norm_eps": 1e-3, "num_hidden_layers": 4},
    "one head": {"num_attention_heads": 1},
    "more rows than tokens": {"vocab_size": 400},
    "half precision": {"half": True},
}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_packed_vectors_are_those_of_transformers_one_text_at_a_time(
    build: Build, options: dict[str, Any], pooling: str
) -> None:
    folder = build(**options)
    encoder = Encoder.load(folder, device="cpu", pooling=pooling)
    assert encoder.numeric_mode == f"cpu-fp32-packed-{pooling}-64"
    wanted = by_transformers(folder, pooling, TEXTS, PAIRS)
    assert np.linalg.norm(wanted - wanted.mean(axis=0), axis=1).min() > 0.01 * np.linalg.norm(wanted, axis=1).max()
    assert relative(encoder.encode(TEXTS, PAIRS).vectors, wanted) <= BOUND


def test_a_text_alone_and_among_others_differ_only_by_rounding(checkpoint: Path) -> None:
    encoder = Encoder.load(checkpoint, device="cpu")
    many = [*TEXTS, *(f"order {i} " * (i % 40) for i in range(300))]
    alone = np.concatenate([encoder.encode([text]).vectors for text in many])
    assert relative(encoder.encode(many).vectors, alone) <= BOUND


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification"])
def test_packed_predictions_are_those_of_transformers(build: Build, problem: str) -> None:
    folder = build(headed=True, num_labels=3, problem_type=problem)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = Encoder.load(folder, device="cpu")
    labels, found = encoder.predict(TEXTS, PAIRS)
    for row, (text, pair) in enumerate(zip(TEXTS, PAIRS, strict=True)):
        given = tokenizer(text, pair, truncation=True, max_length=64, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**given).logits[0]
        wanted = torch.sigmoid(logits) if problem.startswith("multi") else torch.softmax(logits, dim=0)
        np.testing.assert_allclose(found[row], wanted.numpy(), rtol=1e-5)
        assert labels[row] == model.config.id2label[int(logits.argmax())]


def test_one_pass_gives_the_vectors_and_the_predictions(checkpoint: Path) -> None:
    encoder = Encoder.load(checkpoint, device="cpu")
    encoded, predicted = encoder.encode_and_predict(TEXTS)
    np.testing.assert_array_equal(encoded.vectors, encoder.encode(TEXTS).vectors)
    np.testing.assert_array_equal(predicted.probabilities, encoder.predict(TEXTS)[1])


def test_positions_start_after_the_padding_and_pass_over_padding_tokens() -> None:
    ids = [np.array([0, 7, 1, 8, 2]), np.array([0, 2])]
    assert pack(ids, padding=1).positions.tolist() == [2, 3, 1, 4, 5, 2, 3]
    assert pack(ids, padding=0).positions.tolist() == [0, 1, 2, 3, 4, 0, 1]


def test_neighbours_of_equal_length_are_one_run() -> None:
    ids = [np.zeros(size, dtype=np.int64) for size in (2, 3, 3, 5, 3)]
    assert pack(ids, padding=1).runs == [(0, 1, 2), (2, 2, 3), (8, 1, 5), (13, 1, 3)]
    assert pack(ids, padding=1).boundaries.tolist() == [0, 2, 5, 8, 13, 16]


def test_batches_go_by_length_and_keep_to_their_budget() -> None:
    lengths = [9, 2, 30, 4, 2, 8]
    found = list(batches(lengths, budget=10))
    assert found == [[1, 4, 3], [5], [0], [2]]
    assert sorted(row for rows in found for row in rows) == list(range(6))


def test_a_checkpoint_with_no_positions_to_spare_for_padding_is_cut_to_what_it_has(build: Build) -> None:
    folder = build(max_position_embeddings=64)
    encoder = Encoder.load(folder, device="cpu")
    assert (encoder.max_length, encoder.model_max_length) == (62, 62)
    encoded = encoder.encode(["refund " * 300])
    assert encoded.truncated.all()
    assert encoded.finite.all()


def test_a_checkpoint_without_a_padding_id_is_refused(build: Build) -> None:
    with pytest.raises(EmbeddingError, match=r"config\.json: pad_token_id must be a number, got None"):
        Encoder.load(build(pad_token_id=None), device="cpu")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model_type": "roberta-prelayernorm"}, "model type roberta-prelayernorm"),
        ({"is_decoder": True}, "a decoder"),
    ],
)
def test_an_unknown_layout_is_run_by_transformers_with_a_warning(
    build: Build, options: dict[str, Any], reason: str
) -> None:
    folder = build(**options)
    with structlog.testing.capture_logs() as logged:
        encoder = Encoder.load(folder, device="cpu")
    (warning,) = logged
    assert (warning["event"], warning["log_level"]) == ("packed_encoder_refused", "warning")
    assert reason in warning["reasons"][0]
    assert encoder.numeric_mode == "cpu-fp32-plain-mean-64"
    wanted = by_transformers(folder, "mean", TEXTS, [None] * len(TEXTS))
    assert relative(encoder.encode(TEXTS).vectors, wanted) <= BOUND
    assert encoder.counts.padded_tokens > 0


@pytest.mark.parametrize("linear", [TorchLinear, PrepackedLinear])
def test_a_body_that_counts_positions_from_zero_is_found_out(tiny: tuple[Any, Any], linear: Any) -> None:
    model = tiny[0]
    body = packed_body(model, linear=linear, attention=attention_by_runs)
    golden = [np.array([0, 9, 10, 11, 2])]
    plain = PlainStates(model, padding=1, device=CPU, pooling="mean")

    def states(one: Any) -> PackedStates:
        return PackedStates(one, padding=1, device=CPU, pooling="mean", name="packed")

    require_agreement(states(body), plain, golden, bound=BOUND)
    shifted = replace(body, positions=body.positions.roll(2, dims=0))
    with pytest.raises(UnknownLayout, match="differs from transformers by"):
        require_agreement(states(shifted), plain, golden, bound=BOUND)


def test_packed_bf16_keeps_its_bound_against_transformers_in_bf16(build: Build) -> None:
    folder = build()
    model = (
        AutoModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.bfloat16).eval().requires_grad_(False)
    )
    ids = [np.array([0, *range(5, 5 + size), 2]) for size in (1, 9, 9, 40)]
    packed, plain = (
        PackedStates(
            packed_body(model, linear=TorchLinear, attention=attention_by_runs),
            padding=1,
            device=CPU,
            pooling="mean",
            name="packed_sdpa",
        ),
        PlainStates(model, padding=1, device=CPU, pooling="mean"),
    )
    require_agreement(packed, plain, ids, bound=BOUNDS["bf16"])
    with pytest.raises(UnknownLayout):
        require_agreement(packed, plain, ids, bound=BOUNDS["fp32"])
    with torch.inference_mode():
        assert packed(ids)[0].dtype == torch.float32  # means are summed in fp32


class Cramped:
    """States for which more than 40 tokens at once are out of memory."""

    name = "packed"

    def __init__(self, states: Any, error: Exception) -> None:
        self._states, self._error = states, error

    def __call__(self, ids: Any) -> Any:
        if sum(len(one) for one in ids) > 40:
            raise self._error
        return self._states(ids)

    def padding_of(self, lengths: Any) -> int:
        return 0


NO_ROOM = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]


@pytest.mark.parametrize("error", NO_ROOM, ids=["gpu", "cpu"])
def test_out_of_memory_halves_the_batch_and_changes_no_vector(checkpoint: Path, error: Exception) -> None:
    encoder = Encoder.load(checkpoint, device="cpu")
    texts = [f"order {i}" for i in range(60)]
    wanted = encoder.encode(texts).vectors
    encoder._runner.states = Cramped(encoder._runner.states, error)
    assert relative(encoder.encode(texts).vectors, wanted) <= BOUND
    retries = encoder.counts.out_of_memory_retries
    assert retries > 3
    encoder.encode(texts)
    assert encoder.counts.out_of_memory_retries == retries  # the budget is what fitted


def test_a_text_that_fits_in_no_batch_is_a_clear_error(checkpoint: Path) -> None:
    encoder = Encoder.load(checkpoint, device="cpu")
    encoder._runner.states = Cramped(encoder._runner.states, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(OutOfMemory, match=r"out of memory on cpu at one text of 64 tokens: .*max_length") as caught:
        encoder.encode(["refund " * 90])
    assert caught.value.exit_code == 75


def test_another_failure_of_the_model_is_not_taken_for_want_of_memory(checkpoint: Path) -> None:
    encoder = Encoder.load(checkpoint, device="cpu")
    encoder._runner.states = Cramped(encoder._runner.states, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        encoder.encode(["refund " * 90])


def test_windows_tokenised_ahead_are_put_together_in_order(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.load(checkpoint, device="cpu")
    texts = [f"order {i} " * (1 + i % 5) for i in range(50)]
    wanted = encoder.encode(texts)
    monkeypatch.setattr("monitor.embed.encoder.TEXTS_PER_WINDOW", 7)
    found = encoder.encode(texts)
    assert relative(found.vectors, wanted.vectors) <= BOUND
    assert found.token_counts.tolist() == wanted.token_counts.tolist() == encoder.token_counts(texts).tolist()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_bf16_on_the_gpu_is_near_fp32_and_independent_of_neighbours(build: Build, pooling: str) -> None:
    folder = build(hidden_size=64, num_attention_heads=1)  # flash attention takes heads of 64
    encoder = Encoder.load(folder, device="cuda", pooling=pooling)
    assert encoder.numeric_mode.startswith("cuda-bf16-packed_")
    found = encoder.encode(TEXTS).vectors
    assert relative(found, Encoder.load(folder, device="cpu", pooling=pooling).encode(TEXTS).vectors) <= 0.05
    alone = np.concatenate([encoder.encode([text]).vectors for text in TEXTS])
    assert relative(found, alone) <= 0.02
