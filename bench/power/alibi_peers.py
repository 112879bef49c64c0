"""alibi-detect's detectors at their documented defaults, behind a process of their own (its licence: bench only)."""

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.power.outcome import Contender, Outcome
from bench.power.scenarios import Cell, Draw

WORKER = Path(__file__).with_name("alibi_worker.py")
NAMES = ("mmd", "lsdd", "classifier", "learned_kernel", "spot_the_diff")
LARGEST_MMD = 1500  # beyond, its MMD takes minutes and gigabytes a run


class Worker:
    """The process that runs alibi-detect; it starts with the first request."""

    def __init__(self, python: Path) -> None:
        self._python = python
        self._process: subprocess.Popen[str] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="power-alibi-"))

    def ask(self, detector: str, draw: Draw, *, seed: int) -> dict[str, float]:
        request: dict[str, object] = {"detector": detector, "seed": seed}
        for name, observed in (("reference", draw.reference), ("current", draw.current)):
            path = self._folder / f"{name}.npy"
            np.save(path, np.asarray(observed.vectors, dtype=np.float32))
            request[name] = str(path)
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        answer: dict[str, float] = json.loads(line) if line else {"error": f"it ended with {process.wait()}"}
        if "error" in answer:
            raise RuntimeError(f"alibi-detect's {detector} on {len(draw.current)} rows: {answer['error']}")
        return answer

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None:
            self._process = subprocess.Popen(
                [str(self._python), str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._process


def contenders(python: Path) -> list[Contender]:
    """Return the detectors, or none where alibi-detect is not installed."""
    found = (
        subprocess.run(
            [str(python), "-c", "from importlib.metadata import version; print(version('alibi-detect'))"],
            capture_output=True,
            text=True,
            check=False,
        )
        if python.is_file()
        else None
    )
    if found is None or found.returncode:
        return []
    worker, version = Worker(python), found.stdout.strip()
    return [
        Contender(f"alibi_{name}", version, _judge(worker, name), _small if name == "mmd" else _any) for name in NAMES
    ]


def _judge(worker: Worker, name: str) -> Callable[[Draw, int], Outcome]:
    def judge(draw: Draw, seed: int) -> Outcome:
        answer = worker.ask(name, draw, seed=seed)
        return Outcome(bool(answer["drift"]), (-answer["p_value"], answer["distance"]))

    return judge


def _small(cell: Cell) -> bool:
    return cell.n <= LARGEST_MMD


def _any(cell: Cell) -> bool:  # noqa: ARG001 the signature is the contract
    return True
