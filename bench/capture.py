"""HTTP capture in batches of 100, against the same rows inserted raw by the same driver into the same database.

Raw is `executemany` of the finished rows, a commit per 100 (the durability of a 202): of the rows that capture leaves
behind (a prediction and its id's key), of the predictions alone, and of these in one transaction. Raw and HTTP take
turns; medians and the ratio of medians are written.

    python bench/capture.py [--events 20000] [--rounds 5] [--clients 4]
"""

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty, SimpleQueue

import machine
from sqlalchemy import Engine, insert, text
from sqlalchemy.dialects import sqlite

from monitor import store
from monitor.events import read_prediction
from monitor.policy import Policy
from monitor.store.predictions import _columns
from monitor.store.tables import Prediction

BATCH = 100
POLICY = '[models.bench]\nversion = "1"\n'
TABLES = ("predictions", "prediction_keys", "counters")


def events(count: int, run: str) -> list[dict]:
    now = datetime.now(UTC) - timedelta(hours=1)
    return [
        {
            "id": f"{run}-{i}",
            "model": "bench",
            "version": "1",
            "timestamp": (now + timedelta(milliseconds=i)).isoformat(),
            "text": f"where is my order number {i}, it should have been here on Monday and I need it soon",
            "prediction": "late_parcel",
            "scores": {"late_parcel": 0.9, "refund": 0.1},
            "latency_seconds": 0.012,
            "attributes": {"channel": "chat", "country": "dk"},
            "endpoint": "/classify",
            "token_count": 22,
        }
        for i in range(count)
    ]


KEYS = "INSERT INTO prediction_keys (model, event_id, content_digest, timestamp) VALUES ({})"


def raw(engine: Engine, found: list[dict], *, batch: int, keys: bool = False) -> float:
    dialect = sqlite.dialect() if engine.dialect.name == "sqlite" else engine.dialect
    compiled = insert(Prediction).values(dict.fromkeys(_columns_of(found[0]))).compile(dialect=dialect)
    processors = compiled._bind_processors  # the values a driver is given, made before the clock starts
    rows = [
        {name: processors[name](value) if name in processors else value for name, value in _columns_of(one).items()}
        for one in found
    ]
    names = compiled.positiontup
    values = [tuple(row[name] for name in names) for row in rows] if names else rows
    statement = str(compiled)
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    keys_statement = KEYS.format(", ".join([mark] * 4))
    key_rows = [(row["model"], row["event_id"], "d" * 32, row["timestamp"]) for row in rows] if keys else []
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        started = time.perf_counter()
        for first in range(0, len(values), batch):
            if engine.dialect.name == "sqlite":
                cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(statement, values[first : first + batch])
            if keys:
                cursor.executemany(keys_statement, key_rows[first : first + batch])
            if engine.dialect.name == "sqlite":
                cursor.execute("COMMIT")
            else:
                connection.commit()
        return time.perf_counter() - started
    finally:
        connection.close()


def _columns_of(event: dict) -> dict:
    row = read_prediction(event, policy=Policy(), now=datetime.now(UTC))
    assert isinstance(row, store.NewPrediction), row
    return _columns(row)


def through_http(port: int, found: list[dict], *, clients: int) -> float:
    bodies: SimpleQueue[bytes] = SimpleQueue()
    for first in range(0, len(found), BATCH):
        bodies.put(json.dumps(found[first : first + BATCH]).encode())
    taken = []

    def post() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            try:
                body = bodies.get_nowait()
            except Empty:
                return
            connection.request("POST", "/v1/predictions", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            read = json.loads(answer.read())
            assert answer.status == 202, read
            taken.append(read["accepted"])

    threads = [threading.Thread(target=post) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    assert sum(taken) == len(found)
    return elapsed


def measure(url: str, *, count: int, rounds: int, clients: int) -> dict[str, object]:
    engine = store.open_engine(url)
    store.upgrade_schema(engine)
    with store.writing(engine) as session:  # its partition stands before the clock starts
        warm = read_prediction(events(1, "warm")[0], policy=Policy(), now=datetime.now(UTC))
        store.insert_predictions(session, [warm])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tempfile.mkdtemp()
    policy = Path(folder, "policy.toml")
    policy.write_text(POLICY)
    environment = {**os.environ, "DRIFTWARDEN_DATABASE_URL": url, "DRIFTWARDEN_POLICY_FILE": str(policy)}
    command = [sys.executable, "-m", "monitor", "serve", "--no-jobs", "--port", str(port)]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds: dict[str, list[float]] = {
        "raw_same_rows_commit_per_100": [],
        "raw_commit_per_100": [],
        "raw_one_transaction": [],
        "http": [],
    }
    try:
        _wait(port)
        through_http(port, events(1000, "warmup"), clients=clients)
        for turn in range(rounds):
            same = raw(engine, events(count, f"d{turn}"), batch=BATCH, keys=True)
            seconds["raw_same_rows_commit_per_100"].append(same)
            seconds["raw_commit_per_100"].append(raw(engine, events(count, f"a{turn}"), batch=BATCH))
            seconds["http"].append(through_http(port, events(count, f"b{turn}"), clients=clients))
            seconds["raw_one_transaction"].append(raw(engine, events(count, f"c{turn}"), batch=count))
    finally:
        server.terminate()
        server.wait()
        with engine.begin() as connection:
            for table in TABLES:
                connection.execute(text(f"DELETE FROM {table}"))
        engine.dispose()
    rate = {name: round(count / statistics.median(values)) for name, values in seconds.items()}
    return {
        "events_per_second": rate,
        "http_to_raw_same_rows_commit_per_100": round(rate["http"] / rate["raw_same_rows_commit_per_100"], 3),
        "http_to_raw_commit_per_100": round(rate["http"] / rate["raw_commit_per_100"], 3),
        "http_to_raw_one_transaction": round(rate["http"] / rate["raw_one_transaction"], 3),
        "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
    }


def _wait(port: int) -> None:
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/-/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the service did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    asked = {"count": options.events, "rounds": options.rounds, "clients": options.clients}
    result: dict[str, object] = {"asked": asked}
    with tempfile.TemporaryDirectory() as folder:
        result["sqlite"] = measure(f"sqlite:///{folder}/bench.db", **asked)
    with machine.postgres() as url:
        result["postgresql"] = measure(url, **asked) if url else "not installed"
    machine.write("capture", result)


if __name__ == "__main__":
    main()
