"""How many tokens go through a model at once: found from a GPU's free memory, and what out of memory looks like."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from monitor.embed.backends import States

CPU_TOKENS = 1024
LEAST_TOKENS, MOST_TOKENS = 16_384, 65_536
PROBED_TOKENS = 4096
USABLE_SHARE = 0.8  # of free memory: folding and the vectors of a window want some too
PROBED_LENGTH = 128


class Memory(Protocol):
    """A device's memory in bytes."""

    def free(self) -> int:
        """Return how much can still be allocated."""
        ...

    def peak(self, run: Callable[[], object]) -> int:
        """Return how much `run` holds at most beyond what is held now."""
        ...

    def release(self) -> None:
        """Give back what is cached, after out of memory."""
        ...


class CudaMemory:
    """The memory of one GPU, as torch's allocator sees it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free(self) -> int:
        """Return what the driver has left and what torch has reserved and does not use."""
        free, _ = torch.cuda.mem_get_info(self._device)
        return free + torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)

    def peak(self, run: Callable[[], object]) -> int:
        """Return the largest allocation of a run beyond the present one."""
        torch.cuda.synchronize(self._device)
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        run()
        torch.cuda.synchronize(self._device)
        return torch.cuda.max_memory_allocated(self._device) - before

    def release(self) -> None:
        """Give cached blocks back to the driver."""
        torch.cuda.empty_cache()


def find_budget(states: States, memory: Memory, *, max_length: int, token: int = 0) -> int:
    """Return a number of tokens that fits: 16,384 doubled up to 65,536 as memory allows, halved until it runs.

    The peak of a small batch, which runs first, is scaled; `token` is any id that the model embeds.
    """
    length = min(max_length, PROBED_LENGTH)

    def run(tokens: int) -> None:
        with torch.inference_mode():
            states(_texts(tokens, length=length, token=token))

    budget = LEAST_TOKENS
    try:
        run(2 * length)  # what is made once, such as workspaces of the products, is no part of a batch
        bytes_per_token = max(memory.peak(lambda: run(PROBED_TOKENS)) / PROBED_TOKENS, 1.0)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return PROBED_TOKENS // 2  # the runner halves it further, down to one text
    while 2 * budget <= MOST_TOKENS and 2 * budget * bytes_per_token <= USABLE_SHARE * memory.free():
        budget *= 2
    while budget > PROBED_TOKENS and not _fits(run, budget):
        memory.release()
        budget //= 2
    return budget


def _fits(run: Callable[[int], None], tokens: int) -> bool:
    try:
        run(tokens)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _texts(tokens: int, *, length: int, token: int) -> list[npt.NDArray[np.int64]]:
    return [np.full(length, token, dtype=np.int64)] * max(tokens // length, 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell out of memory from other failures; the CPU's allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        said in str(error) for said in ("can't allocate memory", "not enough memory")
    )
