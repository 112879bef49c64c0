"""`driftwarden backfill`: the same bytes however it ended before, one line for bad input, and its answer's shape."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

from detectors.sketch import Sketch
from monitor import cli
from monitor.sketchfiles import read_sketch_file

ROOT = Path(__file__).parents[4]
WORDS = ["order", "parcel", "refund", "password", "invoice", "late", "please", "where"]


def driftwarden(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["driftwarden", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def write(path: Path, n: int, *, seed: int = 0, words: list[str] | None = None, **columns: list[object]) -> Path:
    rng = np.random.default_rng(seed)
    texts: list[object] = [" ".join(rng.choice(words or WORDS, size=rng.integers(3, 12))) for _ in range(n)]
    pq.write_table(pa.table({"text": texts, **columns}), path)
    return path


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> Callable[..., int]:
    def backfill(given: Path, out: str, *options: str) -> int:
        model = () if "--model" in options else ("--model", str(checkpoint))
        return driftwarden(monkeypatch, "backfill", "--input", str(given), "--out", out, *model, *options)

    return backfill


def same_but_for_rounding(one: Sketch, other: Sketch) -> None:
    for name in Sketch.__dataclass_fields__:
        if name not in {"basis_digest", "n"}:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-9, err_msg=name)


def test_the_answer_has_its_shape_and_a_poison_row_stops_nothing(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.parquet", 300, confidence=[0.5] * 300)
    write(folder / "b.parquet", 200, seed=1, confidence=[*[0.5] * 41, 2.0, *[0.5] * 158])
    assert run(folder, "o.sketch", "--rows-per-shard", "120", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["rejects"] == [
        {"file": f"{folder}/b.parquet", "row": 42, "reason": "field confidence must lie in [0, 1], got 2.0"}
    ]
    counts = answer["counts"]
    assert (counts["texts"], counts["n"] + counts["fitted"], counts["rejected"]) == (500, 499, 1)
    assert (answer["shards"], answer["shards_reused"], answer["engine"]) == (5, 0, "local")
    assert answer["numeric_mode"] == "cpu-fp32-packed-mean-64"
    assert set(answer) == {
        "out", "engine", "model", "version", "model_digest", "numeric_mode", "basis", "baseline", "shards",
        "shards_reused", "counts", "rejects", "embedded", "seconds", "texts_per_second",
    }  # fmt: skip
    written = read_sketch_file(tmp_path / "o.sketch")
    assert written.sketch.n == counts["n"]
    assert written.sketch.confidence_counts.sum() == counts["n"]
    assert run(folder, "again.sketch", "--rows-per-shard", "120") == 0
    told = capsys.readouterr()
    assert "row 42: field confidence" in told.err
    assert "5 shards, 5 of them done before" in told.out
    assert Path("again.sketch").read_bytes() == Path("o.sketch").read_bytes()


def test_a_row_refused_for_the_basis_is_told_by_its_file_also_where_the_path_has_a_colon(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "night: of the 1st"
    folder.mkdir()
    write(folder / "a b.parquet", 200, confidence=[2.0, *[0.5] * 98, 2.0, 2.0, *[0.5] * 98, 2.0])
    assert run(folder, str(folder / "o ut.sketch"), "--json") == 0
    rejects = json.loads(capsys.readouterr().out)["rejects"]
    assert [one["row"] for one in rejects] == [1, 100, 101, 200]
    assert {one["file"] for one in rejects} == {str(folder / "a b.parquet")}
    assert {one["reason"] for one in rejects} == {"field confidence must lie in [0, 1], got 2.0"}


def test_the_policys_int8_and_the_environments_threads_are_used(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    checkpoint: Path,
) -> None:  # fmt: skip
    import torch

    from monitor.embed.int8 import int8_is_exact

    if not int8_is_exact():
        pytest.skip("this processor has no exact int8 products")
    before = torch.get_num_threads()
    (tmp_path / "driftwarden.toml").write_text(
        f'[models.{checkpoint.name}]\nversion = "1"\narithmetic = "int8"\n', encoding="utf-8"
    )
    monkeypatch.setenv("DRIFTWARDEN_THREADS", "3")
    try:
        assert run(write(tmp_path / "a.parquet", 200), "o.sketch", "--device", "cpu", "--json") == 0
        assert json.loads(capsys.readouterr().out)["numeric_mode"] == "cpu-int8-packed-mean-64"
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_warning_of_the_encoder_stays_out_of_the_json(tmp_path: Path, checkpoint: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    weights = load_file(broken / "model.safetensors")
    save_file({name: one * float("nan") for name, one in weights.items()}, broken / "model.safetensors")
    (tmp_path / "t.jsonl").write_text('{"text": "hi"}\n', encoding="utf-8")
    command = [sys.executable, "-m", "monitor", "embed", "--model", str(broken), "--device", "cpu", "--json"]
    ended = subprocess.run(
        [*command, "--input", "t.jsonl", "--output", "v.npy"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(ended.stdout)["nonfinite"] == 1
    assert json.loads(ended.stderr.strip().splitlines()[0])["event"] == "packed_encoder_refused"


def test_shards_merge_to_what_one_shard_gives(run: Callable[..., int], tmp_path: Path) -> None:
    before, now = write(tmp_path / "a.parquet", 400), write(tmp_path / "b.parquet", 300, seed=1)
    assert run(before, "before.sketch") == 0
    options = ("--basis", "before.sketch", "--rows-per-shard")
    assert run(now, "one.sketch", *options, "300") == 0
    assert run(now, "many.sketch", *options, "37") == 0
    one, many = read_sketch_file(Path("one.sketch")), read_sketch_file(Path("many.sketch"))
    assert one.sketch.n == 300
    for name in ("cell_counts", "token_length_counts", "row_ids", "row_cells"):
        assert (getattr(one.sketch, name) == getattr(many.sketch, name)).all()
    np.testing.assert_allclose(one.sketch.total, many.sketch.total, rtol=1e-3, atol=1e-3)  # fp32 forward passes


def test_interrupted_and_killed_it_goes_on_and_writes_the_same_bytes(tmp_path: Path, checkpoint: Path) -> None:
    given = write(tmp_path / "a.parquet", 3000)
    command = [sys.executable, "-m", "monitor", "backfill", "--input", str(given), "--model", str(checkpoint)]
    options = ["--rows-per-shard", "50", "--device", "cpu", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def finished(database: str = "driftwarden.db") -> int:
        try:
            with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
                return int(connection.execute("SELECT count(*) FROM backfill_shards").fetchone()[0])
        except sqlite3.OperationalError:
            return 0

    def ended_by(number: signal.Signals, *, at: int) -> int:
        process = subprocess.Popen([*command, "--out", "o.sketch", *options], env=environment)
        until = time.monotonic() + 120
        while finished() < at and time.monotonic() < until and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(number)
        return process.wait()

    assert ended_by(signal.SIGINT, at=3) == 130
    interrupted = finished()
    assert ended_by(signal.SIGKILL, at=interrupted + 3) == -signal.SIGKILL
    killed = finished()
    assert 3 <= interrupted < killed < 61  # 60 shards and the basis
    assert [path for path in tmp_path.iterdir() if "sketch" in path.name] == []
    done = subprocess.run(
        [*command, "--out", "o.sketch", *options], env=environment, check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["shards_reused"] == killed - 1
    for path in tmp_path.glob("driftwarden.db*"):
        path.unlink()
    subprocess.run([*command, "--out", "whole.sketch", *options], env=environment, check=True)
    assert Path("o.sketch").read_bytes() == Path("whole.sketch").read_bytes()


def test_a_rewritten_file_and_a_restart_are_embedded_again(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, given = write(tmp_path / "a.parquet", 200), write(tmp_path / "b.parquet", 60)
    assert run(before, "before.sketch") == 0
    options = ("--basis", "before.sketch", "--rows-per-shard", "30", "--json")

    def reused(*more: str) -> int:
        capsys.readouterr()
        assert run(given, "o.sketch", *options, *more) == 0
        return int(json.loads(capsys.readouterr().out)["shards_reused"])

    assert [reused(), reused(), reused("--restart")] == [0, 2, 0]
    write(given, 60, seed=5)
    assert reused() == 0


def test_a_baseline_gives_the_basis_and_an_unlike_numeric_mode_is_refused(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], checkpoint: Path
) -> None:
    from dataclasses import replace

    before = write(tmp_path / "a.parquet", 200)
    assert run(before, "before.sketch") == 0
    found = read_sketch_file(Path("before.sketch"))
    Path("int8.sketch").write_bytes(replace(found, numeric_mode="cpu-int8-sdpa-mean-64").to_bytes())
    assert run(before, "o.sketch", "--basis", "int8.sketch") == 2
    error = capsys.readouterr().err
    assert "numeric mode mismatch: wanted cpu-int8-sdpa-mean-64, loaded cpu-fp32-packed-mean-64" in error
    Path("other.sketch").write_bytes(replace(found, model_digest="sha256:0").to_bytes())
    assert run(before, "o.sketch", "--basis", "other.sketch") == 2
    assert "was made with the model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--basis", "none.sketch"), 2, "none.sketch: no such file"),
        (("--basis", "a.parquet"), 2, "a.parquet: these"),
        (("--model", "nowhere/1"), 2, "mlflow.db: no such file"),
        (("--engine", "dask"), 2, "dask"),
        (("--rows-per-shard", "0"), 2, "rows-per-shard"),
        (("--input", "nothing"), 2, "nothing: no such file or folder"),
    ],
)
def test_bad_options_are_one_line(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: int,
    said: str,
) -> None:  # fmt: skip
    given = write(tmp_path / "a.parquet", 200)
    assert run(given, "o.sketch", *options) == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not Path("o.sketch").exists()


@pytest.mark.parametrize("out", ["nowhere/o.sketch", "."])
def test_an_output_that_cannot_be_written_is_refused_before_the_model_loads(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    assert run(write(tmp_path / "a.parquet", 200), out, "--model", "nowhere/1") == 2
    assert "cannot be written" in (error := capsys.readouterr().err) or "is a folder" in error


@pytest.mark.parametrize("texts", [0, 30])
def test_too_few_texts_for_a_basis_are_4(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], texts: int
) -> None:
    assert run(write(tmp_path / "a.parquet", texts), "o.sketch") == 4
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_damaged_pages_are_told_and_the_other_files_are_folded(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, folder = write(tmp_path / "a.parquet", 200), tmp_path / "in"
    folder.mkdir()
    write(folder / "good.parquet", 80)
    torn = write(folder / "torn.parquet", 80, seed=2)
    content = bytearray(torn.read_bytes())
    content[30:300] = bytes(270)
    torn.write_bytes(content)
    assert run(before, "before.sketch") == 0
    capsys.readouterr()
    assert run(folder, "o.sketch", "--basis", "before.sketch", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["counts"]["n"], answer["counts"]["rejected"]) == (80, 80)
    assert "rows up to 80: not readable Parquet" in answer["rejects"][0]["reason"]


def test_every_row_of_a_file_that_is_damaged_further_on_is_counted_once(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    torn = write(folder / "torn.parquet", 300, seed=2, confidence=[2.0] * 100 + [0.5] * 200)
    pq.write_table(pq.read_table(torn), torn, row_group_size=100, compression="none")
    write(folder / "good.parquet", 400, confidence=[0.5] * 400)
    content = torn.read_bytes()
    start = pq.ParquetFile(torn).metadata.row_group(2).column(0).data_page_offset
    torn.write_bytes(content[:start] + bytes(200) + content[start + 200 :])
    assert run(folder, "o.sketch", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    counts = answer["counts"]
    assert counts["texts"] == 700
    assert counts["n"] + counts["fitted"] + counts["rejected"] + counts["nonfinite"] == 700
    assert 0 < counts["n"] < 400
    assert {one["file"] for one in answer["rejects"]} == {str(torn)}
    assert any("rows of the basis: not readable Parquet" in one["reason"] for one in answer["rejects"])


def test_sketches_are_compared_with_each_other_or_with_the_reference_they_hold(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path / "a.parquet", 1200), "before.sketch") == 0
    calm = write(tmp_path / "b.parquet", 300, seed=1)
    moved = write(tmp_path / "c.parquet", 300, seed=2, words=["BITCOIN", "WALLET", "LEDGER"])
    for given, out in ((calm, "calm.sketch"), (moved, "moved.sketch")):
        assert run(given, out, "--basis", "before.sketch") == 0
    files = ("compare", "--alpha", "0.01", "--json", "--current")
    assert driftwarden(monkeypatch, *files, "calm.sketch", "--reference", "before.sketch") == 0
    capsys.readouterr()
    assert driftwarden(monkeypatch, *files, "moved.sketch", "--reference", "before.sketch") == 3
    first = json.loads(capsys.readouterr().out)
    assert (first["reference"], first["current"]) == ({"n": 600}, {"n": 300})
    assert driftwarden(monkeypatch, *files, "moved.sketch") == 3
    assert json.loads(capsys.readouterr().out) == first
    assert run(moved, "own.sketch") == 0
    for options, said in (
        (("own.sketch",), "own.sketch made its own basis and holds no reference"),
        (("own.sketch", "--reference", "before.sketch"), "not comparable: basis"),
        (("own.sketch", "--reference", "a.parquet"), "must both be sketches"),
        (("a.parquet",), "give --reference"),
        (("none.sketch",), "none.sketch: no such file"),
    ):
        capsys.readouterr()
        assert driftwarden(monkeypatch, *files, *options) == 2
        assert said in capsys.readouterr().err


def test_several_processes_write_what_one_writes(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as many threads in each: the order of fp32 sums follows their number
    monkeypatch.setenv("DRIFTWARDEN_THREADS", "1")
    given = write(tmp_path / "a.parquet", 900)
    cut = ("--device", "cpu", "--rows-per-shard", "150")
    assert run(given, "one.sketch", *cut) == 0
    assert run(given, "two.sketch", *cut, "--restart", "--workers", "2", "--tokenizer-workers", "0") == 0
    assert Path("two.sketch").read_bytes() == Path("one.sketch").read_bytes()


def test_devices_of_two_kinds_are_one_line(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path / "a.parquet", 200), "o.sketch", "--device", "cpu,cuda:0") == 2
    assert "device must name devices of one kind" in capsys.readouterr().err
