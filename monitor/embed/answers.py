"""What the encoder answers for n texts."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

HostVectors = npt.NDArray[np.float32]
Vectors = TypeVar("Vectors", HostVectors, torch.Tensor)


@dataclass(frozen=True, slots=True)
class Encoded(Generic[Vectors]):
    """Vectors of n texts: float32 (n, d), full token counts (n,), whether truncated (n,), whether all finite (n,).

    vectors : numpy, or a torch tensor where they were asked for on the device; all else is numpy.
    unknown_shares : (n,) shares of the tokens the model sees, special ones aside, that its vocabulary does not know or
    spells in bytes.
    """

    vectors: Vectors
    token_counts: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]
    finite: npt.NDArray[np.bool_]
    unknown_shares: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Predicted:
    """The likeliest label of each of n texts, and the probabilities float64 (n, C)."""

    labels: list[str]
    probabilities: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known of n distinct texts: vectors float32 (n, d) on any device, the rest as in Encoded and Predicted."""

    vectors: torch.Tensor
    finite: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]
    unknown_shares: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]

    @classmethod
    def empty(cls, n: int, *, dimension: int, classes: int, device: torch.device) -> "Answers":
        """Return room for n texts."""
        return cls(
            torch.empty((n, dimension), dtype=torch.float32, device=device),
            np.zeros(n, dtype=np.bool_),
            np.zeros(n, dtype=np.int64),
            np.zeros(n, dtype=np.float64),
            np.empty((n, classes)),
        )


def on_host(encoded: Encoded[torch.Tensor]) -> Encoded[HostVectors]:
    """Return the same with vectors in numpy."""
    return Encoded(
        encoded.vectors.cpu().numpy(), encoded.token_counts, encoded.truncated, encoded.finite, encoded.unknown_shares
    )
