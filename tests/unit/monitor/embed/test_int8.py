"""The int8 mode: near fp32, exact sums, and never mixed with it."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

import torch
from torch.nn import functional

from monitor.embed import EmbeddingError, Encoder
from monitor.embed.int8 import Int8Linear, int8_is_exact
from monitor.embed.linear import Norm

pytestmark = pytest.mark.skipif(not int8_is_exact(), reason="this processor has no exact int8 products")


def test_a_product_is_within_the_rounding_of_8_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(size, generator=generator) for size in ((5, 256), (7, 256)))
    bias, residual = torch.arange(7.0), torch.ones(5, 7)
    wanted, linear = functional.linear(x, weight, bias), Int8Linear(weight, bias)
    bound = 256**0.5 * 4 / 127  # each of 256 products errs by at most about (|x| + |w|) max / 254, at random
    assert (linear(x) - wanted).abs().max() < bound
    assert torch.equal(linear.gelu(x), functional.gelu(linear(x)))
    norm = Norm(torch.rand(len(residual[0])), torch.rand(len(residual[0])), 1e-5)
    assert torch.equal(linear.plus_norm(x, residual, norm), norm(linear(x) + 1))


def test_values_on_the_grid_are_exact() -> None:
    x, weight = torch.tensor([[127.0, -3.0], [0.0, 0.0]]), torch.tensor([[127.0, 5.0], [1.0, -127.0]])
    found = Int8Linear(weight, torch.zeros(2))(x)
    torch.testing.assert_close(found, x @ weight.t())


def test_a_token_does_not_depend_on_its_neighbours() -> None:
    x = torch.tensor([[1.0, -2.0], [1e6, 3.0]])
    linear = Int8Linear(torch.eye(2), torch.zeros(2))
    assert torch.equal(linear(x)[:1], linear(x[:1]))


def test_int8_is_a_numeric_mode_of_its_own_near_fp32(checkpoint: Path) -> None:
    texts = ["hi", "where is my order?", "I was charged twice for the same invoice", ""]
    native, int8 = (Encoder.load(checkpoint, device="cpu", arithmetic=name) for name in ("native", "int8"))
    assert int8.numeric_mode == "cpu-int8-packed-mean-64"
    found, wanted = int8.encode(texts).vectors, native.encode(texts).vectors
    errors = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    assert 1e-6 < errors.max() < 0.1


def test_an_unknown_arithmetic_is_refused(checkpoint: Path) -> None:
    with pytest.raises(EmbeddingError, match="arithmetic must be one of native, int8, got 'int4'"):
        Encoder.load(checkpoint, device="cpu", arithmetic="int4")
