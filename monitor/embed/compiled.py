"""Linear layers whose residual and norm are compiled into one kernel, for GPUs."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from monitor.embed.linear import Linear, Norm, TorchLinear


def compiled_linear(backend: str = "inductor") -> Callable[[torch.Tensor, torch.Tensor], Linear]:
    """Return what makes such layers of weight and bias; all of them share one compiled function.

    Compiling happens at the first batch. `backend` is torch.compile's: "eager" runs the same function uncompiled.
    """
    # fullgraph: what cannot be compiled is an error at load, where another way is chosen, and never slower silently
    compiled = torch.compile(_plus_norm, backend=backend, fullgraph=True, dynamic=False)
    return partial(CompiledLinear, compiled=compiled)


class CompiledLinear(TorchLinear):
    """torch's product with its bias, and one kernel for residual and norm, which reads and writes half as much.

    The sum is not rounded before it is normed: a numeric mode of its own. The exact GELU stays torch's: no product
    library has it as an epilogue, and by itself it is one kernel already.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, *, compiled: Callable[..., Any]) -> None:
        super().__init__(weight, bias)
        self._compiled = compiled

    def plus_norm(self, x: torch.Tensor, residual: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Return the norm of x W' + b + residual."""
        product = self(x)
        if len(product) > 1:  # one function for any number of tokens, where torch makes a case of 1 by itself
            for one in (product, residual):
                torch._dynamo.mark_dynamic(one, 0)  # noqa: SLF001 its documented name
        found: torch.Tensor = self._compiled(product, residual, norm.weight, norm.bias, norm.epsilon)
        return found


def _plus_norm(
    product: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, epsilon: float
) -> torch.Tensor:
    return functional.layer_norm(product + residual, (product.shape[-1],), weight, bias, epsilon)
