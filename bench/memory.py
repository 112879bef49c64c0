"""Peak memory of ingest and embed against the number of texts: a subprocess each, its peak from the kernel.

python bench/memory.py
"""

import json
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import machine

SIZES = (10_000, 40_000, 160_000)
EMBEDDED = (4_000, 16_000)


def ingest(count: int, folder: Path) -> None:
    from monitor import store
    from monitor.clock import SystemClock
    from monitor.ingest import ingest_files
    from monitor.policy import Policy

    path = folder / "events.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        stamp = datetime.now(UTC).isoformat()
        for i in range(count):
            event = {
                "id": str(i),
                "model": "m",
                "version": "1",
                "timestamp": stamp,
                "text": f"a text of some words {i}",
            }
            stream.write(json.dumps(event) + "\n")
    engine = store.open_engine(f"sqlite:///{folder}/bench.db")
    store.upgrade_schema(engine)
    assert ingest_files([path], engine=engine, policy=Policy(), clock=SystemClock()).accepted == count


def embed(count: int, folder: Path) -> None:
    from monitor.demo.training import build_model, train_tokenizer
    from monitor.embed import Encoder
    from monitor.runner import BATCH

    texts = [f"where is my order {i}, it was due on Monday" for i in range(count)]
    tokenizer = train_tokenizer(texts[:2000], vocabulary_size=1000)
    model = build_model(labels=["a", "b"], vocabulary_size=len(tokenizer), layers=2, hidden=96)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    encoder = Encoder.load(folder, device="cpu")
    for first in range(0, count, BATCH):  # as the embed job does: a batch, a sketch, the next
        encoder.encode(texts[first : first + BATCH])


def main() -> None:
    if len(sys.argv) == 3:
        with tempfile.TemporaryDirectory() as folder:
            {"ingest": ingest, "embed": embed}[sys.argv[1]](int(sys.argv[2]), Path(folder))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    result: dict[str, object] = {}
    for kind, sizes in (("ingest", SIZES), ("embed", EMBEDDED)):
        peaks = {}
        for count in sizes:
            done = subprocess.run(
                [sys.executable, __file__, kind, str(count)], capture_output=True, text=True, check=True
            )
            peaks[str(count)] = round(float(done.stdout.split()[-1]), 1)
        result[f"{kind}_peak_mib"] = peaks
    machine.write("memory", result)


if __name__ == "__main__":
    main()
