"""Residual and norm as one compiled function; here by the backend that only traces."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

import torch

from monitor.embed import Encoder, checks
from monitor.embed.compiled import compiled_linear
from monitor.embed.linear import Norm, TorchLinear
from monitor.embed.packed import attention_by_runs

TEXTS = ["hi", "where is my order? it was due", "", "refund " * 90, *(f"order {i} is late" for i in range(30))]


@pytest.fixture(autouse=True)
def _forget_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def layer(outputs: int, inputs: int, make: Callable[..., Any]) -> Any:
    generator = torch.Generator().manual_seed(1)
    return make(torch.randn(outputs, inputs, generator=generator), torch.randn(outputs, generator=generator))


def test_it_compiles_once_for_any_number_of_tokens_and_any_layer() -> None:
    graphs: list[Any] = []

    def counting(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    make = compiled_linear(counting)  # type: ignore[arg-type]  # a function is a backend too
    norm = Norm(torch.rand(8), torch.rand(8), 1e-5)
    layers = [(layer(8, 8, make), layer(8, 8, TorchLinear), 8), (layer(8, 32, make), layer(8, 32, TorchLinear), 32)]
    with torch.inference_mode():
        for tokens in (5, 2, 1000, 33, 64, 7):
            for one, other, inputs in layers:
                x, residual = torch.randn(tokens, inputs), torch.randn(tokens, 8)
                found = one.plus_norm(x, residual, norm)
                torch.testing.assert_close(found, other.plus_norm(x, residual, norm))
    assert len(graphs) == 1


def test_one_token_is_normed_too() -> None:
    norm = Norm(torch.rand(8), torch.rand(8), 1e-5)
    x, residual = torch.randn(1, 8), torch.randn(1, 8)
    found = layer(8, 8, compiled_linear("eager")).plus_norm(x, residual, norm)
    torch.testing.assert_close(found, layer(8, 8, TorchLinear).plus_norm(x, residual, norm))


def test_the_name_is_part_of_the_numeric_mode_and_vectors_are_transformers_own(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Encoder.load(checkpoint, device="cpu").encode(TEXTS).vectors
    way = ("packed_compiled", attention_by_runs, compiled_linear("eager"))
    monkeypatch.setattr(checks, "_ways", lambda *_: [way])
    with structlog.testing.capture_logs() as logged:
        encoder = Encoder.load(checkpoint, device="cpu")
    assert encoder.numeric_mode == "cpu-fp32-packed_compiled-mean-64"
    assert not logged
    np.testing.assert_allclose(encoder.encode(TEXTS).vectors, wanted, rtol=1e-4, atol=1e-5)


def test_what_does_not_compile_runs_uncompiled_with_a_warning(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: Any, _: Any) -> Any:
        raise NotImplementedError("no compiler here")

    ways = checks.gpu_ways(broken)  # type: ignore[arg-type]  # a function is a backend too
    monkeypatch.setattr(checks, "_ways", lambda *_: [one for one in ways if "sdpa" in one[0]])
    with structlog.testing.capture_logs() as logged:
        encoder = Encoder.load(checkpoint, device="cpu")
    assert encoder.numeric_mode == "cpu-fp32-packed_sdpa-mean-64"
    (warning,) = logged
    assert (warning["event"], warning["chosen"]) == ("packed_encoder_slower", "packed_sdpa")
    assert "no compiler here" in warning["reasons"][0]


def test_a_gpu_tries_the_fastest_way_first() -> None:
    names = [name for name, _, _ in checks.gpu_ways("eager")]
    assert names == ["packed_varlen_compiled", "packed_varlen", "packed_sdpa_compiled", "packed_sdpa"]
