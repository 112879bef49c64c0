"""Tokenising in processes: the same tokens, whatever becomes of them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

from monitor.embed import Encoder, workers
from monitor.embed.tokenising import Tokeniser, Tokens
from monitor.embed.workers import PooledTokeniser, default_workers, packed, unpacked

ROOT = Path(__file__).parents[4]
KEYS = [(f"order {i} " * (i % 30), "again 😀" if i % 7 == 0 else None) for i in range(1200)] + [("", None)]


@pytest.fixture
def pooled(tiny: tuple[Any, Any], checkpoint: Path) -> Iterator[PooledTokeniser]:
    made = PooledTokeniser(Tokeniser(tiny[1]), folder=checkpoint, vocabulary_size=len(tiny[1]), workers=2)
    yield made
    made.close()
    assert not multiprocessing.active_children()


def same(found: Tokens, wanted: Tokens) -> None:
    assert [one.tolist() for one in found.ids] == [one.tolist() for one in wanted.ids]
    assert found.ids[0].dtype == wanted.ids[0].dtype
    np.testing.assert_array_equal(found.counts, wanted.counts)
    np.testing.assert_array_equal(found.unknown_shares, wanted.unknown_shares)


def test_tokens_cross_between_processes_unchanged(tiny: tuple[Any, Any]) -> None:
    tokens = Tokeniser(tiny[1])(KEYS, max_length=20)
    parts = [packed(Tokeniser(tiny[1])(part, max_length=20)) for part in (KEYS[:500], KEYS[500:501], KEYS[501:])]
    assert parts[0].ids.dtype == np.int32
    same(unpacked(parts), tokens)
    same(unpacked([packed(tokens)]), tokens)


def test_workers_give_the_tokens_of_one_process_and_a_killed_one_loses_nothing(
    tiny: tuple[Any, Any], pooled: PooledTokeniser
) -> None:
    wanted = Tokeniser(tiny[1])(KEYS, max_length=20)
    pooled(KEYS[:10], max_length=20)
    assert not multiprocessing.active_children()  # so few are not worth a process
    same(pooled(KEYS, max_length=20), wanted)
    children = multiprocessing.active_children()
    assert len(children) == 2
    os.kill(children[0].pid or 0, signal.SIGKILL)
    with structlog.testing.capture_logs() as logged:
        same(pooled(KEYS, max_length=20), wanted)
        same(pooled(KEYS, max_length=20), wanted)
    assert [(one["event"], one["log_level"]) for one in logged] == [("tokenizer_workers_lost", "warning")]
    assert not multiprocessing.active_children()


def test_an_encoder_with_workers_gives_the_vectors_of_one_without(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "LEAST_TEXTS", 100)
    texts = [text for text, _ in KEYS]
    encoder = Encoder.load(checkpoint, device="cpu", tokenizer_workers=1)
    found = encoder.encode(texts)
    assert len(multiprocessing.active_children()) == 1
    encoder._tokeniser.close()
    np.testing.assert_array_equal(found.vectors, Encoder.load(checkpoint, device="cpu").encode(texts).vectors)


def test_a_cpu_has_no_workers_unless_asked() -> None:
    assert default_workers("cpu") == 0
    assert 0 <= default_workers("cuda") <= 5
    assert default_workers("cuda", sharing=10_000) == 0


@pytest.mark.parametrize(("number", "ended"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_workers_end_with_the_command_whatever_ends_it(
    checkpoint: Path, tmp_path: Path, number: int, ended: int
) -> None:
    given = tmp_path / "t.jsonl"
    given.write_text("".join(f'{{"text": "where is order {i}"}}\n' for i in range(400_000)), encoding="utf-8")
    command = [sys.executable, "-m", "monitor", "embed", "--model", str(checkpoint), "--device", "cpu"]
    command += ["--tokenizer-workers", "2", "--input", str(given), "--output", "v.npy"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 120
    while not (tmp_path / "v.npy.partial.json").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert len(group(process.pid)) >= 3
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == ended
    assert "Traceback" not in said
    while group(process.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not group(process.pid)


def group(leader: int) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "pgid=,pid="], capture_output=True, text=True, check=True).stdout
    return [row.split()[1] for row in listed.splitlines() if int(row.split()[0]) == leader]
