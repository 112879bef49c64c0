"""A linear layer over packed tokens (T, inputs) → (T, outputs), in the form that is fastest on its device."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm over the last dimension."""

    weight: torch.Tensor
    bias: torch.Tensor
    epsilon: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (T, d) centred, scaled, and mapped by weight and bias."""
        return functional.layer_norm(x, (x.shape[-1],), self.weight, self.bias, self.epsilon)


class Linear(Protocol):
    """x W' + b, alone, before a GELU, or added to a residual and normed."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x W' + b."""
        ...

    def gelu(self, x: torch.Tensor) -> torch.Tensor:
        """Return the exact (erf) GELU of x W' + b."""
        ...

    def plus_norm(self, x: torch.Tensor, residual: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Return the norm of x W' + b + residual."""
        ...


class Unfused(ABC):
    """A product of its own, after which GELU and residual are computed by themselves."""

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x W' + b."""

    def gelu(self, x: torch.Tensor) -> torch.Tensor:
        """Return the GELU of x W' + b."""
        return functional.gelu(self(x))

    def plus_norm(self, x: torch.Tensor, residual: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Return the norm of x W' + b + residual."""
        return norm(self(x).add_(residual))


class TorchLinear(Unfused):
    """torch's own product, on any device and in any dtype."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x W' + b."""
        return functional.linear(x, self._weight, self._bias)


class PrepackedLinear:
    """oneDNN on weights laid out once for it, GELU and residual fused into the product; fp32 on the CPU.

    These are the operators that torch.compile emits for a frozen model. torch's plain product goes to MKL, which keeps
    to AVX2 on processors of other makers: there oneDNN with AVX-512 is more than twice as fast.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._bias = bias.contiguous()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)  # noqa: SLF001 its only name
        self._product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 likewise

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x W' + b."""
        found: torch.Tensor = self._product(x, self._weight, self._bias, "none", [], "")
        return found

    def gelu(self, x: torch.Tensor) -> torch.Tensor:
        """Return the GELU of x W' + b."""
        found: torch.Tensor = self._product(x, self._weight, self._bias, "gelu", [], "none")
        return found

    def plus_norm(self, x: torch.Tensor, residual: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Return the norm of x W' + b + residual."""
        return norm(self._product.binary(x, residual, self._weight, self._bias, "add"))


def prepacking_works() -> bool:
    """Tell whether this build of torch has oneDNN's prepacked linear layer, and it gives the right product."""
    weight, bias = torch.linspace(-1, 1, 64).reshape(8, 8), torch.linspace(0, 1, 8)
    x = torch.linspace(-2, 1, 16).reshape(2, 8)
    try:
        found = PrepackedLinear(weight, bias).gelu(x)
    except (AttributeError, RuntimeError):
        return False
    return bool(torch.allclose(found, functional.gelu(functional.linear(x, weight, bias)), atol=1e-5))
