"""Copies to a device that are late, as a GPU's are: a buffer is never overwritten before it was read."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the models extra")

import torch

from monitor.embed.staging import Staging, stage_for


class LateLane:
    """A lane whose copies happen when they are waited for, and no earlier."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.rooms = 0

    def room(self, numbers: int):
        self.rooms += 1
        return torch.full((numbers,), -1, dtype=torch.int64)

    def send(self, buffer):
        there = torch.full_like(buffer, -1)
        copy = lambda: there.copy_(buffer)  # noqa: E731 once, as the lane's work
        done: list[bool] = []

        def wait() -> None:
            if not done:
                copy()
                done.append(True)

        self.waiting.append(wait)
        return there, wait


def test_batches_arrive_whole_though_their_copies_are_late() -> None:
    lane = LateLane()
    stage = Staging(lane)
    given = [np.arange(2 * n).reshape(2, n) * n for n in (5, 3, 9, 1, 9, 9, 40, 2)]
    there = [stage(one) for one in given]
    for wait in lane.waiting:
        wait()
    for one, other in zip(there, given, strict=True):
        assert one.tolist() == other.tolist()


def test_buffers_grow_and_are_used_again() -> None:
    lane = LateLane()
    stage = Staging(lane)
    for n in (100, 100, 90, 110, 120, 100):
        stage(np.zeros((2, n), dtype=np.int64))
    assert lane.rooms == 4


def test_on_the_cpu_nothing_is_copied() -> None:
    numbers = np.arange(4).reshape(2, 2)
    assert stage_for(torch.device("cpu"))(numbers).data_ptr() == numbers.ctypes.data


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gets_what_was_given() -> None:
    stage = stage_for(torch.device("cuda"))
    given = [np.random.default_rng(n).integers(0, 9, size=(2, 10_000 + n)) for n in range(50)]
    there = [stage(one) for one in given]
    assert all((one.cpu().numpy() == other).all() for one, other in zip(there, given, strict=True))
