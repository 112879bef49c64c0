"""A process a device: every task is answered once, also when a process dies, and none stays."""

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from monitor.backfill.processes import devices_of, run_in_processes, share_of_cores
from monitor.errors import InputError, TryAgainLater


def starting(folder: str, device: str, processes: int):
    def run(task: str) -> tuple[str, bytes]:
        if task.startswith("kill"):
            seen = Path(folder) / task
            if task == "kill always" or not seen.exists():
                seen.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
        return f"{task} of {processes}", device.encode()

    return run


@pytest.fixture(autouse=True)
def _no_process_stays():
    yield
    assert not multiprocessing.active_children()


def test_every_task_is_answered_once_by_all_devices(tmp_path: Path) -> None:
    tasks = [str(i) for i in range(60)]
    found = list(run_in_processes(partial(starting, str(tmp_path)), tasks, devices=["a", "b"]))
    assert sorted(header for header, _ in found) == sorted(f"{task} of 2" for task in tasks)
    assert {payload for _, payload in found} == {b"a", b"b"}


def test_a_process_that_dies_gives_its_task_back(tmp_path: Path) -> None:
    tasks = ["kill once", *(str(i) for i in range(9))]
    found = list(run_in_processes(partial(starting, str(tmp_path)), tasks, devices=["a", "b"]))
    assert sorted(header for header, _ in found) == sorted(f"{task} of 2" for task in tasks)


def test_a_task_that_ends_every_process_is_for_later(tmp_path: Path) -> None:
    tasks = ["kill always", *(str(i) for i in range(9))]
    with pytest.raises(TryAgainLater, match="2 processes were lost at one shard"):
        list(run_in_processes(partial(starting, str(tmp_path)), tasks, devices=["a", "b", "c"]))


def test_no_process_left_is_for_later(tmp_path: Path) -> None:
    with pytest.raises(TryAgainLater, match="every process"):
        list(run_in_processes(partial(starting, str(tmp_path)), ["kill once"], devices=["a"]))


def test_an_answer_that_nobody_reads_further_leaves_no_process(tmp_path: Path) -> None:
    answers = run_in_processes(partial(starting, str(tmp_path)), ["1", "2", "3"], devices=["a", "b"])
    next(answers)
    answers.close()  # as Ctrl-C does


def test_no_tasks_start_no_process() -> None:
    assert not [*_none()]


def _none():
    try:
        yield from run_in_processes(partial(starting, "nowhere"), [], devices=["a"])
    except TryAgainLater:
        pytest.fail("nothing was to be done")


@pytest.mark.parametrize(
    ("device", "workers", "gpus", "wanted"),
    [
        ("auto", 0, 2, ["auto"]),
        ("cpu", 2, 0, ["cpu", "cpu"]),
        ("cuda:0,cuda:3", 0, 4, ["cuda:0", "cuda:3"]),
        ("cuda:all", 0, 3, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:all", 0, 1, ["cuda:0"]),
    ],
)
def test_devices_are_named_by_number_or_all(device: str, workers: int, gpus: int, wanted: list[str]) -> None:
    assert devices_of(device, workers=workers, gpus=lambda: gpus) == wanted


@pytest.mark.parametrize(("device", "said"), [("cuda:all", "has none"), ("cpu,cuda:0", "of one kind")])
def test_devices_that_cannot_be_are_refused(device: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        devices_of(device, workers=0, gpus=lambda: 0)


def test_cores_are_shared_evenly_and_nobody_has_none() -> None:
    assert share_of_cores(1) == len(os.sched_getaffinity(0))
    assert share_of_cores(1000) == 1
