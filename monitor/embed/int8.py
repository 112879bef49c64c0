"""A linear layer in 8-bit integers on the CPU: a numeric mode of its own, several times faster with AVX-512 VNNI."""

import torch

from monitor.embed.linear import Unfused


class Int8Linear(Unfused):
    """Symmetric int8: one scale per output of the weights, one per token of the input, exact 32-bit sums.

    Because a token's scale is its own, a text's result does not depend on its neighbours in the batch.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._bias = bias
        self._scale = (weight.abs().amax(dim=1) / 127).clamp(min=1e-12)
        self._weight = (weight / self._scale[:, None]).round().to(torch.int8).t().contiguous()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return x W' + b, up to rounding to 8 bits."""
        scale = x.abs().amax(dim=1, keepdim=True).div_(127).clamp_(min=1e-12)
        rounded = (x / scale).round_().to(torch.int8)
        sums = torch._int_mm(rounded, self._weight)  # noqa: SLF001 torch's only int8 product
        return torch.addcmul(self._bias, sums * scale, self._scale)


def int8_is_exact() -> bool:
    """Tell whether this processor sums products of int8 without saturating (some without VNNI do)."""
    rows = torch.full((4, 64), 127, dtype=torch.int8)
    try:
        return bool((torch._int_mm(rows, -rows.t().contiguous()) == -127 * 127 * 64).all())  # noqa: SLF001 likewise
    except RuntimeError:
        return False
