"""Run windows of tokenised texts through a model: in batches that fit, and read back once a window."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from monitor.embed.answers import Answers
from monitor.embed.backends import States
from monitor.embed.batch import batches
from monitor.embed.budget import is_out_of_memory
from monitor.embed.counting import EncoderCounts
from monitor.embed.errors import OutOfMemory
from monitor.embed.tokenising import Tokens

Head = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Launched:
    """A window whose work was given to the device, and may still go on there.

    order : the rows of the window as they were run; pooled : (n, d); finite : (n,); scores : (n, C) or None.
    """

    start: int
    tokens: Tokens
    order: npt.NDArray[np.int64]
    pooled: torch.Tensor
    finite: torch.Tensor
    scores: torch.Tensor | None


class Runner:
    """A model's body and head on a device, with the number of tokens that it takes at once."""

    def __init__(
        self, states: States, head: Head | None, *, device: torch.device, budget: int, counts: EncoderCounts
    ) -> None:
        self.states, self._head = states, head
        self._device, self.budget, self._counts = device, budget, counts

    def launch(self, tokens: Tokens, *, start: int, scored: bool) -> Launched:
        """Give a window to the device without waiting for it; `start` is its first text's place in the answers."""
        started = time.perf_counter()
        order: list[int] = []
        pooled: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        with torch.inference_mode():
            for rows in batches([len(one) for one in tokens.ids], budget=self.budget):
                for fitting, vectors, first in self._fitting(rows, tokens.ids):
                    order.extend(fitting)
                    pooled.append(vectors)
                    if scored and self._head is not None:
                        scores.append(self._head(first))
            together = torch.cat(pooled)
            launched = Launched(
                start,
                tokens,
                np.array(order, dtype=np.int64),
                together,
                together.isfinite().all(dim=1),
                torch.cat(scores) if scores else None,
            )
        self._counts.compute_seconds += time.perf_counter() - started
        return launched

    def collect(self, launched: Launched, answers: Answers) -> None:
        """Fill in what is known of a window's texts; what leaves the device does so here, which waits for its work."""
        started = time.perf_counter()
        window = slice(launched.start, launched.start + len(launched.tokens.ids))
        answers.counts[window], answers.unknown_shares[window] = launched.tokens.counts, launched.tokens.unknown_shares
        places, there = launched.order + launched.start, answers.vectors.device
        with torch.inference_mode():
            answers.vectors[torch.from_numpy(places).to(there)] = launched.pooled.to(there)
            answers.finite[places] = launched.finite.cpu().numpy()
            if launched.scores is not None:
                answers.scores[places] = launched.scores.cpu().numpy()
        self._counts.compute_seconds += time.perf_counter() - started

    def _fitting(
        self, rows: list[int], ids: Sequence[npt.NDArray[np.int64]]
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
        """Run rows together, or in halves where they do not fit into memory; the budget follows for good."""
        lengths = [len(ids[row]) for row in rows]
        try:
            pooled, first = self.states([ids[row] for row in rows])
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                raise OutOfMemory(
                    f"out of memory on {self._device.type} at one text of {lengths[0]} tokens: "
                    "free memory there, or lower the model's max_length in the policy"
                ) from None
        else:
            self._counts.tokens += sum(lengths)
            self._counts.padded_tokens += self.states.padding_of(lengths)
            yield rows, pooled, first
            return
        # outside the handler: the error's frames hold what the failed batch had allocated
        self._counts.out_of_memory_retries += 1
        self.budget = max(sum(lengths) // 2, 1)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            yield from self._fitting(half, ids)
