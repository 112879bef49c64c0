"""Texts of many lengths as one run of tokens: which rows go together, and how they are laid out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from monitor.embed.staging import Stage


@dataclass(frozen=True)
class PackedBatch:
    """n texts of T tokens in all, without padding.

    ids : (T,) token ids; positions : (T,) as RoBERTa counts them; lengths : n token counts, in the order of the ids.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lengths: tuple[int, ...]

    @cached_property
    def runs(self) -> list[tuple[int, int, int]]:
        """Neighbours of equal length as (first token, texts, length)."""
        found: list[tuple[int, int, int]] = []
        start = 0
        for length in self.lengths:
            if found and found[-1][2] == length:
                first, texts, _ = found[-1]
                found[-1] = (first, texts + 1, length)
            else:
                found.append((start, 1, length))
            start += length
        return found

    @cached_property
    def boundaries(self) -> torch.Tensor:
        """Return where texts begin and the last one ends, int32 (n + 1,), on the ids' device."""
        sums = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int32)
        return torch.from_numpy(sums).to(self.ids.device, non_blocking=True)


def pack(ids: Sequence[npt.NDArray[np.int64]], *, padding: int, stage: Stage = torch.from_numpy) -> PackedBatch:
    """Lay texts end to end, on the device that `stage` copies to.

    Positions start at padding + 1; a padding token within a text keeps position `padding`.

    Source: fairseq's make_positions, as in transformers' RobertaEmbeddings.

    >>> pack([np.array([0, 5, 2]), np.array([0, 1, 2])], padding=1).positions.tolist()
    [2, 3, 4, 2, 1, 3]
    """
    lengths = np.array([len(one) for one in ids], dtype=np.int64)
    flat = np.concatenate(ids) if len(ids) else np.zeros(0, dtype=np.int64)
    counted = flat != padding
    running = np.cumsum(counted)
    before = np.concatenate([[0], running])[np.cumsum(lengths) - lengths]
    positions = (running - np.repeat(before, lengths)) * counted + padding
    both = stage(np.stack([flat, positions]))
    return PackedBatch(both[0], both[1], tuple(lengths.tolist()))


def batches(lengths: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    """Yield rows in the order of their lengths, at most `budget` tokens (but one row at least) at a time."""
    rows: list[int] = []
    held = 0
    for row in np.argsort(np.asarray(lengths), kind="stable").tolist():
        if rows and held + lengths[row] > budget:
            yield rows
            rows, held = [], 0
        rows.append(row)
        held += lengths[row]
    if rows:
        yield rows
