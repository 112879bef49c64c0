"""The two ways to run a model: packed without padding, or transformers' own forward pass on padded batches."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from monitor.embed.batch import pack
from monitor.embed.packed import PackedBody
from monitor.embed.staging import stage_for


class States(Protocol):
    """A model's body: texts as ids (n arrays) in, pooled (n, d) in fp32 and first-token states (n, d) out."""

    name: str

    def __call__(self, ids: Sequence[npt.NDArray[np.int64]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pooled vectors and the states a classification head reads."""
        ...

    def padding_of(self, lengths: Sequence[int]) -> int:
        """Return how many padding tokens texts of these lengths cost when run together."""
        ...


class PackedStates:
    """The packed body; `name` tells the attention where it is not the CPU's."""

    def __init__(self, body: PackedBody, *, padding: int, device: torch.device, pooling: str, name: str) -> None:
        self._body, self._padding, self._pooling = body, padding, pooling
        self._stage = stage_for(device)
        self.name = name

    def __call__(self, ids: Sequence[npt.NDArray[np.int64]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the texts, fastest when neighbours are equally long."""
        batch = pack(ids, padding=self._padding, stage=self._stage)
        hidden = self._body(batch)
        firsts, means = [], []
        for start, texts, length in batch.runs:
            segment = hidden[start : start + texts * length].view(texts, length, -1)
            firsts.append(segment[:, 0])
            if self._pooling == "mean":
                means.append(segment.float().mean(dim=1))
        first = torch.cat(firsts)
        return (torch.cat(means) if means else first.float()), first

    def padding_of(self, lengths: Sequence[int]) -> int:  # noqa: ARG002 the protocol's parameter
        """Return 0: there is none."""
        return 0


class PlainStates:
    """transformers' forward pass, for a layout that the packed body does not know."""

    name = "plain"

    def __init__(self, model: Any, *, padding: int, device: torch.device, pooling: str) -> None:
        self._body, self._padding, self._device, self._pooling = model.base_model, padding, device, pooling

    def __call__(self, ids: Sequence[npt.NDArray[np.int64]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the texts padded to the longest."""
        width = max(len(one) for one in ids)
        batch = torch.full((len(ids), width), self._padding, dtype=torch.long)
        mask = torch.zeros((len(ids), width), dtype=torch.long)
        for row, one in enumerate(ids):
            batch[row, : len(one)] = torch.from_numpy(one)
            mask[row, : len(one)] = 1
        batch, mask = batch.to(self._device), mask.to(self._device)
        hidden: torch.Tensor = self._body(input_ids=batch, attention_mask=mask).last_hidden_state
        first = hidden[:, 0]
        if self._pooling == "cls":
            return first.float(), first
        weights = mask.unsqueeze(-1).float()
        return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0), first

    def padding_of(self, lengths: Sequence[int]) -> int:
        """Return the tokens that fill every text up to the longest."""
        return max(lengths) * len(lengths) - sum(lengths)


def probabilities(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what turns first-token states (n, d) into label probabilities (n, C), by the model's own head."""
    head, multi_label = model.classifier, model.config.problem_type == "multi_label_classification"

    def read(first: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = head(first.unsqueeze(1)).float()
        return torch.sigmoid(logits) if multi_label else torch.softmax(logits, dim=-1)

    return read
