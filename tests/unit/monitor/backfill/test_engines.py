"""Ray and Spark write the bytes that one process writes, also when a worker is killed on the way."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[4]
WORDS = ["order", "parcel", "refund", "password", "invoice", "late", "please", "where"]
WORKER = {"ray": "MapWorker", "spark": "pyspark.daemon"}


@pytest.fixture(params=["ray", "spark"])
def engine_name(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    module = {"ray": "ray", "spark": "pyspark"}[name]
    if find_spec(module) is None:
        pytest.skip(f"needs the {name} extra: {module} is not installed")
    if name == "spark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    return name


def backfill(folder: Path, checkpoint: Path, engine: str, out: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "DRIFTWARDEN_DATABASE_URL": f"sqlite:///{folder}/{out}.db",
        "PYSPARK_SUBMIT_ARGS": "--master local[2,4] pyspark-shell",  # four attempts a task, as on a cluster
    }
    environment.pop("PYTEST_CURRENT_TEST", None)
    subprocess.run([sys.executable, "-m", "monitor", "db", "upgrade"], env=environment, cwd=folder, check=True)
    command = [sys.executable, "-m", "monitor", "backfill", "--engine", engine, "--workers", "2", "--device", "cpu"]
    command += ["--input", "in", "--model", str(checkpoint), "--out", f"{out}.sketch", "--rows-per-shard", "200"]
    return subprocess.Popen(command, env=environment, cwd=folder)


def descendants(of: int) -> dict[int, str]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    found, grown = {of: ""}, True
    while grown:
        more = {int(row[0]): row[2] for row in rows if int(row[1]) in found and int(row[0]) not in found}
        found |= more
        grown = bool(more)
    return found


def finished(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM backfill_shards").fetchone()[0])


def test_an_engine_writes_what_one_process_writes_though_a_worker_is_killed(
    tmp_path: Path, checkpoint: Path, engine_name: str
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for part in range(3):
        texts = [" ".join(rng.choice(WORDS, size=rng.integers(3, 12))) for _ in range(3000)]
        pq.write_table(pa.table({"text": texts}), tmp_path / "in" / f"{part}.parquet")
    assert backfill(tmp_path, checkpoint, "local", "whole").wait() == 0
    process = backfill(tmp_path, checkpoint, engine_name, "parts")
    killed, until = 0, time.monotonic() + 240
    while not killed and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
        if finished(tmp_path / "parts.db") < 2:  # the basis, and a shard
            continue
        workers = [pid for pid, args in descendants(process.pid).items() if WORKER[engine_name] in args]
        for pid in workers[-1:]:
            os.kill(pid, signal.SIGKILL)
            killed = pid
    assert process.wait() == 0
    assert killed
    assert (tmp_path / "parts.sketch").read_bytes() == (tmp_path / "whole.sketch").read_bytes()


def test_an_engine_that_is_not_installed_says_how_to_install_it(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from monitor.backfill.engines import run_on_ray, run_on_spark
    from monitor.backfill.worker import Setup
    from monitor.errors import InputError

    setup = Setup(str(checkpoint), "", "", "mean", None, "cpu", "")
    for name, module, run in (("ray", "ray", run_on_ray), ("spark", "pyspark.errors", run_on_spark)):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(InputError, match=rf"pip install 'driftwarden\[{name}\]'"):
            next(run(setup, ["{}"], workers=1))
