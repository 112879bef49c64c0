"""Tasks on several devices of this machine: a process each, which loads its own model and takes one task at a time."""

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import structlog

from monitor.errors import InputError, TryAgainLater
from monitor.signals import end_with_parent, interrupts_held

ATTEMPTS = 2  # a task that ended so many processes is not given to another
Run = Callable[[str], tuple[str, bytes]]

log = structlog.get_logger()


@dataclass(slots=True)
class _Process:
    """A process of one device, and the task that it has in hand."""

    device: str
    process: SpawnProcess
    connection: Connection
    task: str | None = None


def devices_of(device: str, *, workers: int, gpus: Callable[[], int]) -> list[str]:
    """Return the device of each process: "cuda:0,cuda:1", "cuda:all", or one device `workers` times (0: once).

    Raises InputError for cuda:all without a GPU, and for unlike devices together: their vectors are never mixed.

    >>> devices_of("cuda:all", workers=0, gpus=lambda: 2), devices_of("cpu", workers=2, gpus=lambda: 0)
    (['cuda:0', 'cuda:1'], ['cpu', 'cpu'])
    """
    named = [one.strip() for one in device.split(",")]
    if named == ["cuda:all"]:
        named = [f"cuda:{number}" for number in range(gpus())]
        if not named:
            raise InputError("device cuda:all was asked for, this machine has none")
    if len({one.partition(":")[0] for one in named}) > 1:
        raise InputError(f"device must name devices of one kind, got {device!r}")
    return named if len(named) > 1 else named * max(workers, 1)


def run_in_processes(
    start: Callable[[str, int], Run], tasks: Sequence[str], *, devices: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield the answers of tasks as they are done; `start(device, processes)` is called in a process of its own each.

    A process that dies gives its task back to the others. Raises TryAgainLater when none is left, or a task has ended
    two of them. However this ends, no process stays.
    """
    waiting, attempts = deque(tasks), dict.fromkeys(tasks, 0)
    used = list(devices)[: len(tasks)]
    running = [_begin(start, device, len(used)) for device in used]
    try:
        while running:
            for one in running:
                if one.task is None and waiting:
                    _give(one, waiting.popleft())
            busy = [one for one in running if one.task is not None]
            if not busy:
                return
            ready = wait([one.connection for one in busy])
            for one in (one for one in busy if one.connection in ready):
                try:
                    answer = one.connection.recv()
                except (EOFError, OSError):  # it died
                    running.remove(one)
                    _lost(one, waiting, attempts)
                    continue
                one.task = None
                yield answer
        if tasks:
            raise TryAgainLater("every process of the backfill was lost; run the same command again to go on")
    finally:
        _end(running)


def _begin(start: Callable[[str, int], Run], device: str, processes: int) -> _Process:
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(start, device, processes, theirs))
    with interrupts_held():  # Ctrl-C is the main process's to answer
        process.start()
    theirs.close()  # else its end would not be told when the process dies
    return _Process(device, process, ours)


def _give(one: _Process, task: str) -> None:
    one.task = task
    with contextlib.suppress(OSError):  # it died: the next read says so
        one.connection.send(task)


def _lost(one: _Process, waiting: deque[str], attempts: dict[str, int]) -> None:
    one.process.join()
    one.connection.close()
    assert one.task is not None  # noqa: S101 only busy ones are read
    attempts[one.task] += 1
    log.warning("device_process_lost", device=one.device, exit_code=one.process.exitcode)
    if attempts[one.task] >= ATTEMPTS:
        raise TryAgainLater(
            f"{ATTEMPTS} processes were lost at one shard, the last on {one.device} with exit code "
            f"{one.process.exitcode}; run the same command again to go on"
        )
    waiting.appendleft(one.task)


def _end(running: Sequence[_Process]) -> None:
    for one in running:
        one.connection.close()
        one.process.terminate()
    for one in running:
        one.process.join()


def _serve(start: Callable[[str, int], Run], device: str, processes: int, connection: Connection) -> None:
    end_with_parent()
    run: Run | None = None
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):  # the main process is gone, or wants no more
            return
        run = start(device, processes) if run is None else run
        answer = run(task)
        try:
            connection.send(answer)
        except OSError:
            return


def share_of_cores(processes: int) -> int:
    """Return how many threads each of so many processes gets.

    >>> share_of_cores(10**6)
    1
    """
    return max(len(os.sched_getaffinity(0)) // processes, 1)


def count_gpus() -> int:
    """Return how many GPUs torch sees (this is the moment it is imported)."""
    import torch

    return torch.cuda.device_count()
