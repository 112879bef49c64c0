"""Three ways to run the same tasks: in this process, on Ray, on Spark. Answers come as they are done."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from monitor.backfill.processes import Run, count_gpus, devices_of, run_in_processes, share_of_cores
from monitor.backfill.worker import Advance, Setup, Worker, worker_for
from monitor.errors import InputError, TryAgainLater

GPU_WORKERS = 5  # processes that tokenise for a GPU, where so many cores are its share
WAVES = 4  # tasks a Spark core gets in one job: their answers come when the last of them is done
LARGEST_WAVE = 1000  # answers of about 0.6 MB each, below Spark's usual spark.driver.maxResultSize of 1 GB

Answers = Iterator[tuple[str, bytes]]


class RunTasks(Protocol):
    """An engine: runs tasks under a setup on so many workers (0: as many as there are) in any order."""

    def __call__(self, setup: Setup, tasks: Sequence[str], *, workers: int, advance: Advance | None) -> Answers:
        """Yield the header and payload of each answer; `advance` hears of texts done, where they are done here."""
        ...


def run_here(setup: Setup, tasks: Sequence[str], *, workers: int = 0, advance: Advance | None = None) -> Answers:
    """Run tasks in this process, or in a process a device where several are named or several workers asked for."""
    devices = devices_of(setup.device, workers=workers, gpus=count_gpus)
    if len(devices) > 1:
        yield from run_in_processes(partial(_on_device, setup), tasks, devices=devices)
        return
    here = replace(setup, device=devices[0])
    for task in tasks:
        yield worker_for(here).answer(task, advance)


def _on_device(setup: Setup, device: str, processes: int) -> Run:
    """Return what answers tasks in a process that shares this machine with others."""
    cores, told = share_of_cores(processes), "OMP_NUM_THREADS" in os.environ
    workers = min(GPU_WORKERS, cores - 1) if device.startswith("cuda") else 0
    own = replace(
        setup,
        device=device,
        threads=cores if setup.threads is None and processes > 1 and not told else setup.threads,
        tokenizer_workers=workers if setup.tokenizer_workers is None else setup.tokenizer_workers,
    )
    return Worker(own).answer


class _RayWorker:
    """An actor: Ray makes one a worker and calls it for every block."""

    def __init__(self, setup: Setup) -> None:
        self._worker = Worker(setup)

    def __call__(self, tasks: Any) -> Any:
        import pyarrow as pa

        return pa.Table.from_batches([self._worker.answers(tasks.column("task").to_pylist())])


def run_on_ray(setup: Setup, tasks: Sequence[str], *, workers: int = 0, advance: Advance | None = None) -> Answers:  # noqa: ARG001 counted by shard
    """Run tasks on a pool of Ray actors, each with a GPU where the cluster has some. RAY_ADDRESS names a cluster."""
    # its own lines would stand between ours: what goes wrong is raised here
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("--engine ray needs Ray: pip install 'driftwarden[ray]'") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        if not ray.is_initialized():  # it ends with this process
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if setup.device != "cpu" else 0
        size = min(workers or gpus or max(1, int(resources.get("CPU", 1))), len(tasks))
        done = ray.data.from_items([{"task": task} for task in tasks], override_num_blocks=len(tasks)).map_batches(
            _RayWorker,
            fn_constructor_args=(setup,),
            batch_format="pyarrow",
            batch_size=1,  # a shard a call, so that a lost worker loses one
            compute=ray.data.ActorPoolStrategy(size=size),
            num_gpus=1 if gpus else None,
            num_cpus=None if gpus else 1,
        )
        for row in done.iter_rows():
            yield row["header"], bytes(row["payload"])
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise TryAgainLater(f"Ray stopped ({_last_line(error)}); run the same command again to go on") from error


def run_on_spark(setup: Setup, tasks: Sequence[str], *, workers: int = 0, advance: Advance | None = None) -> Answers:  # noqa: ARG001 counted by shard
    """Run tasks as partitions of Spark jobs, some waves of them at a time; spark-submit names a cluster."""
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError:
        raise InputError("--engine spark needs PySpark: pip install 'driftwarden[spark]'") from None
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else any python3, without us in it
    builder = SparkSession.builder.appName("driftwarden backfill")
    spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    wave = min(LARGEST_WAVE, WAVES * (workers or spark.sparkContext.defaultParallelism))
    try:
        for start in range(0, len(tasks), wave):
            part = list(tasks[start : start + wave])

            def answers(batches: Iterator[Any], part: list[str] = part) -> Iterator[Any]:
                worker = worker_for(setup)
                for batch in batches:
                    yield worker.answers([part[number] for number in batch.column("id").to_pylist()])

            numbered = spark.range(0, len(part), 1, len(part))  # a partition a task
            for row in numbered.mapInArrow(answers, "header string, payload binary").collect():
                yield row["header"], bytes(row["payload"])
    except PySparkException as error:
        raise TryAgainLater(f"Spark stopped ({_last_line(error)}); run the same command again to go on") from error


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:200]


ENGINES: dict[str, RunTasks] = {"local": run_here, "ray": run_on_ray, "spark": run_on_spark}
