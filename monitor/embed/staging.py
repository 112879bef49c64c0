"""Numbers to the device: through two pinned buffers, copied on a stream of their own while the model computes."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

Stage = Callable[[npt.NDArray[np.int64]], torch.Tensor]
_Wait = Callable[[], None]


class Lane(Protocol):
    """The way from the host to a device; copies go in the background."""

    def room(self, numbers: int) -> torch.Tensor:
        """Return an int64 buffer (numbers,) on the host that the lane can copy from."""
        ...

    def send(self, buffer: torch.Tensor) -> tuple[torch.Tensor, _Wait]:
        """Begin a copy: return it, ready for whatever the caller computes next, and what waits for the copying."""
        ...


class CudaLane:
    """Pinned memory, and a stream beside the one that computes."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own gap

    def room(self, numbers: int) -> torch.Tensor:
        """Return pinned memory."""
        return torch.empty(numbers, dtype=torch.int64, pin_memory=True)

    def send(self, buffer: torch.Tensor) -> tuple[torch.Tensor, _Wait]:
        """Copy on the lane's stream; the computing stream waits for that copy alone."""
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            there = buffer.to(self._device, non_blocking=True)
            copied = self._stream.record_event()
        computing.wait_event(copied)
        there.record_stream(computing)  # else its memory goes to the next copy while the model still reads it
        return there, copied.synchronize


class Staging:
    """Two buffers in turn: one is filled while the other is copied."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._buffers = [lane.room(1), lane.room(1)]
        self._waits: list[_Wait] = [_nothing, _nothing]
        self._turn = 0

    def __call__(self, numbers: npt.NDArray[np.int64]) -> torch.Tensor:
        """Return a copy of int64 numbers on the device, of the same shape."""
        turn, self._turn = self._turn, 1 - self._turn
        self._waits[turn]()  # until this buffer's copy of two calls ago is done
        if len(self._buffers[turn]) < numbers.size:
            self._buffers[turn] = self._lane.room(numbers.size + numbers.size // 4)
        filled = self._buffers[turn][: numbers.size]
        filled.numpy()[:] = numbers.reshape(-1)
        there, self._waits[turn] = self._lane.send(filled)
        return there.view(numbers.shape)


def _nothing() -> None:
    pass


def stage_for(device: torch.device) -> Stage:
    """Return how numbers reach a device; on the CPU they are there."""
    return Staging(CudaLane(device)) if device.type == "cuda" else torch.from_numpy
