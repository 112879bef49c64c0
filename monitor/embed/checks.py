"""Choose how to run a model, and hold the packed way to transformers' own output before it is used."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog
import torch

from monitor.embed.backends import PackedStates, PlainStates, States
from monitor.embed.compiled import compiled_linear
from monitor.embed.int8 import Int8Linear
from monitor.embed.linear import Linear, PrepackedLinear, TorchLinear, prepacking_works
from monitor.embed.packed import UnknownLayout, attention_by_runs, attention_varlen, packed_body
from monitor.embed.tokenising import Key, Tokeniser
from monitor.errors import one_line

# The largest error relative to a vector's length, packed against plain. Measured: 1e-6 in fp32 with 12 layers of random
# weights. bf16 keeps 8 bits, so that two orders of sums differ by about 1e-2. int8's own gate is at baseline time.
BOUNDS = {"fp32": 1e-5, "bf16": 5e-2, "int8": 0.5}
GOLDEN: tuple[Key, ...] = (
    ("", None),
    ("hello", None),
    ("It's the customer's 2nd refund, isn't it? café 😀 你好", None),
    ("where is my order?", "it was due on Monday"),
    ("the link has expired <pad> and I was charged twice " * 60, None),
)
GOLDEN_LENGTH = 160

_MakeLinear = Callable[[torch.Tensor, torch.Tensor], Linear]
_Way = tuple[str, Callable[..., torch.Tensor], _MakeLinear]

log = structlog.get_logger()


def choose_states(
    model: Any, tokeniser: Tokeniser, *, device: torch.device, arithmetic: str, pooling: str, max_length: int
) -> States:
    """Return the packed body where the model's layout is known and its output is transformers' own, else the plain one.

    model : on `device`, in eval mode; arithmetic : fp32, bf16 or int8. Refusing the packed body is logged as a warning.
    """
    padding = int(model.config.pad_token_id)
    plain = PlainStates(model, padding=padding, device=device, pooling=pooling)
    golden = tokeniser(GOLDEN, max_length=min(max_length, GOLDEN_LENGTH)).ids
    reasons = []
    for name, attention, linear in _ways(device, arithmetic):
        try:
            body = packed_body(model, linear=linear, attention=attention)
            packed = PackedStates(body, padding=padding, device=device, pooling=pooling, name=name)
            require_agreement(packed, plain, golden, bound=BOUNDS[arithmetic])
        except (UnknownLayout, RuntimeError, TypeError, ValueError, ImportError, OSError) as error:
            reasons.append(f"{name}: {one_line(error)}")
        else:
            if reasons:
                log.warning("packed_encoder_slower", chosen=name, reasons=reasons)
            return packed
    log.warning("packed_encoder_refused", model_type=model.config.model_type, reasons=reasons)
    return plain


def require_agreement(packed: States, plain: States, golden: Sequence[npt.NDArray[np.int64]], *, bound: float) -> None:
    """Raise UnknownLayout unless both give the golden texts the same vectors and head states, within `bound`."""
    with torch.inference_mode():
        found, wanted = packed(golden), plain(golden)
    error = max(relative_error(one, other) for one, other in zip(found, wanted, strict=True))
    if not error <= bound:
        raise UnknownLayout(f"differs from transformers by {error:.1e} of a vector's length, {bound:.0e} is allowed")


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest distance of rows (n, d), relative to the wanted row's length; infinite for any NaN."""
    distances = (found.double() - wanted.double()).norm(dim=1) / wanted.double().norm(dim=1).clamp(min=1e-12)
    return float(distances.nan_to_num(nan=float("inf")).max())


def _ways(device: torch.device, arithmetic: str) -> list[_Way]:
    """Return the ways to run a packed body on a device, the best first; a name per order of sums."""
    if arithmetic == "int8":
        return [("packed", attention_by_runs, Int8Linear)]
    if device.type == "cpu":
        return [("packed", attention_by_runs, PrepackedLinear if prepacking_works() else TorchLinear)]
    return gpu_ways()


def gpu_ways(backend: str = "inductor") -> list[_Way]:
    """Return the ways of a GPU, where `backend` compiles."""
    attentions = (("packed_varlen", attention_varlen), ("packed_sdpa", attention_by_runs))
    return [
        way
        for name, attention in attentions
        for way in (
            (f"{name}_compiled", attention, compiled_linear(backend)),
            (name, attention, TorchLinear),
        )
    ]
