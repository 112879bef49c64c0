"""What a text costs beside the model's forward pass, and what a shard costs the driver: the inputs of docs/scale.md.

python bench/scale.py
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from detectors.sketch import fit_basis, fold, merge
from monitor import store
from monitor.backfill.reading import Rejects, read_windows
from monitor.backfill.shards import cut_shards
from monitor.backfill.sources import find_sources
from monitor.clock import SystemClock

DIMENSION = 768
WINDOW = 10_000
TEXTS = 100_000
REPEATS = 5
WORDS = ["where", "is", "my", "order", "it", "was", "due", "on", "Monday", "charged", "twice", "invoice", "please"]


def cpu_seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def main() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(96, DIMENSION))
    vectors = (rng.normal(size=(WINDOW, 96)) @ mixing).astype(np.float32)
    basis = fit_basis(vectors[:4096], rng=rng, classes=("a", "b"))
    ids = np.arange(WINDOW, dtype=np.int64)
    lengths = rng.integers(3, 60, size=WINDOW)
    part = fold(basis, vectors, row_ids=ids, token_lengths=lengths)
    result: dict[str, object] = {
        "fold_microseconds_per_text": cpu_seconds(lambda: fold(basis, vectors, row_ids=ids, token_lengths=lengths))
        / WINDOW
        * 1e6,
        "sketch_bytes": len(part.to_bytes()),
        "merge_milliseconds_per_sketch": cpu_seconds(lambda: merge([part] * 16)) / 16 * 1e3,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.parquet"
        texts = [" ".join(rng.choice(WORDS, size=int(size))) for size in rng.gamma(1.5, 14, size=TEXTS) + 2]
        pq.write_table(pa.table({"text": texts}), path)
        (shard,) = cut_shards(find_sources([str(path)]), rows_per_shard=TEXTS)
        read = cpu_seconds(lambda: [None for _ in read_windows(shard, Rejects())])
        engine = store.open_engine(f"sqlite:///{folder}/bench.db")
        store.upgrade_schema(engine)
        payload, numbers = part.to_bytes(), iter(range(10**6))

        def record() -> None:
            finished = store.FinishedShard(str(next(numbers)), "k", {"n": WINDOW}, ())
            with store.writing(engine) as session:
                store.record_shard(session, run="r", finished=finished, payload=payload, at=SystemClock().now())

        result |= {
            "read_and_check_microseconds_per_text": read / TEXTS * 1e6,
            "text_bytes": sum(map(len, texts)) / TEXTS,
            "record_shard_cpu_milliseconds": cpu_seconds(record) * 1e3,
        }
    machine.write("scale", {name: round(float(str(value)), 3) for name, value in result.items()})


if __name__ == "__main__":
    main()
