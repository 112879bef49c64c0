"""`driftwarden embed`: an array as `compare` reads it, the same bytes after any end, one line for bad input."""

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

from monitor import cli, vectors
from monitor.embed import Encoder
from monitor.texts import load_embeddings

ROOT = Path(__file__).parents[4]
HARD = ["hi", "", "a\x00b", "where is my order? 😀", "bad \ud800 text", "refund " * 300, "x" * 200_000]


def driftwarden(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["driftwarden", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)

    def embed(given: str, *options: str, out: str = "v.npy") -> int:
        return driftwarden(
            monkeypatch, "embed", "--model", str(checkpoint), "--device", "cpu", "--input", given, "--output", out,
            *options,
        )  # fmt: skip

    return embed


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def many(path: Path, n: int) -> str:
    return write(path, [{"text": f"where is order {i}, it was due on Monday"} for i in range(n)])


def test_vectors_are_the_encoders_own_in_the_order_of_the_rows(
    run: Callable[..., int], tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = write(tmp_path / "t.jsonl", [{"text": text} for text in HARD])
    assert run(given, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    found = load_embeddings(tmp_path / "v.npy")
    encoder = Encoder.load(checkpoint, device="cpu")
    cleaned = [text.replace("\x00", "\ufffd").replace("\ud800", "\ufffd") for text in HARD]
    wanted = encoder.encode(cleaned)
    np.testing.assert_allclose(found, wanted.vectors, rtol=1e-4, atol=1e-5)
    assert (answer["rows"], answer["dimension"], answer["dtype"], answer["truncated"]) == (7, 32, "float32", 2)
    assert answer["tokens"] == int(wanted.token_counts.sum())
    assert answer["numeric_mode"] == encoder.numeric_mode
    assert set(answer) == {
        "out", "input_digest", "model_digest", "tokenizer_digest", "numeric_mode", "dtype", "rows", "dimension",
        "resumed_rows", "tokens", "truncated", "nonfinite", "seconds", "texts_per_second",
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.jsonl", "v.npy"]


def test_csv_parquet_pairs_and_half_precision(run: Callable[..., int], tmp_path: Path) -> None:
    rows = [{"text": "hi", "text_pair": "there"}, {"text": "hi", "text_pair": "you"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("text,text_pair\nhi,there\nhi,you\n", encoding="utf-8")
    assert run("t.parquet", out="a.npy") == 0
    assert run("t.csv", "--dtype", "float16", out="b.npy") == 0
    whole, half = load_embeddings(tmp_path / "a.npy"), load_embeddings(tmp_path / "b.npy")
    assert half.dtype == np.float16
    assert (half == whole.astype(np.float16)).all()
    assert not np.allclose(whole[0], whole[1])


def test_no_rows_give_an_empty_array(run: Callable[..., int], tmp_path: Path) -> None:
    assert run(write(tmp_path / "t.jsonl", [])) == 0
    assert load_embeddings(tmp_path / "v.npy").shape == (0, 32)


@pytest.fixture
def subprocess_environment() -> dict[str, str]:
    code = "from monitor import vectors, cli; vectors.WINDOW_ROWS = 20; cli.main()"
    return {**os.environ, "PYTHONPATH": str(ROOT), "CODE": code}


def test_interrupted_and_killed_it_goes_on_and_writes_the_same_bytes(
    run: Callable[..., int], tmp_path: Path, checkpoint: Path, subprocess_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = many(tmp_path / "t.jsonl", 1000)
    command = [sys.executable, "-c", subprocess_environment["CODE"], "embed", "--model", str(checkpoint)]
    command += ["--device", "cpu", "--input", given, "--output", "v.npy"]

    def done() -> int:
        try:
            return int(json.loads(Path("v.npy.partial.json").read_text(encoding="utf-8"))["done"]["rows"])
        except FileNotFoundError:
            return 0

    for number, ended in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        before, until = done(), time.monotonic() + 120
        process = subprocess.Popen(command, env=subprocess_environment)
        while done() <= before and time.monotonic() < until and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(number)
        assert process.wait() == ended
        assert before < done() < 1000
        assert not Path("v.npy").exists()
    monkeypatch.setattr(vectors, "WINDOW_ROWS", 20)
    kept = done()
    assert run(given, "--json") == 0
    assert json.loads(capsys.readouterr().out)["resumed_rows"] == kept
    assert run(given, out="whole.npy") == 0
    assert Path("v.npy").read_bytes() == Path("whole.npy").read_bytes()
    assert len(load_embeddings(tmp_path / "v.npy")) == 1000


def test_a_full_disk_is_one_line_for_later_and_resumable(
    run: Callable[..., int], tmp_path: Path, checkpoint: Path, subprocess_environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = many(tmp_path / "t.jsonl", 200)
    command = [sys.executable, "-c", subprocess_environment["CODE"], "embed", "--model", str(checkpoint)]
    command += ["--device", "cpu", "--input", given, "--output", "v.npy"]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (128 + 110 * 32 * 4, resource.RLIM_INFINITY))

    ended = subprocess.run(
        command, env=subprocess_environment, preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 75
    assert "v.npy could not be written (File too large)" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not Path("v.npy").exists()
    assert run(given, "--json") == 0
    assert json.loads(capsys.readouterr().out)["resumed_rows"] == 100


def test_what_was_begun_otherwise_is_never_continued(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = many(tmp_path / "t.jsonl", 50)
    assert run(given) == 0
    book = {
        "identity": json.loads(_json_of(run, given, capsys)),
        "done": {"rows": 10, "tokens": 1, "truncated": 0, "nonfinite": 0, "digest": ""},
    }
    whole = Path("v.npy").read_bytes()
    for name, other in (
        ("numeric_mode", "cuda-bf16-sdpa-mean-64"),
        ("input_digest", "blake2b:0"),
        ("dtype", "float16"),
    ):
        Path("v.npy.partial").write_bytes(whole)
        changed = {**book, "identity": {**book["identity"], name: other}}
        Path("v.npy.partial.json").write_text(json.dumps(changed), encoding="utf-8")
        assert run(given) == 2
        error = capsys.readouterr().err
        assert f"v.npy.partial was begun with {name.replace('_', ' ')} {other} and now" in error
        assert Path("v.npy.partial").read_bytes() == whole
    Path("v.npy.partial.json").write_text("torn", encoding="utf-8")
    assert run(given) == 0
    assert Path("v.npy").read_bytes() == whole


def _json_of(run: Callable[..., int], given: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run(given, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    return json.dumps({name: answer[name] for name in vectors.Identity.__dataclass_fields__})


@pytest.mark.parametrize(
    ("rows", "out", "said"),
    [
        ([{"text": 7}], "v.npy", "t.jsonl: row 1: field text must be a string, got 7"),
        ([{"text": "a", "text_pair": "b"}, {"text": "a"}], "v.npy", "t.jsonl: row 2: field text_pair is missing"),
        (None, "v.npy", "t.jsonl: no such file"),
        ([{"text": "a"}], "v.bin", "v.bin: vectors are written as .npy"),
        ([{"text": "a"}], "nowhere/v.npy", "nowhere/v.npy cannot be written"),
        ([{"text": "a"}], "folder.npy", "folder.npy is a folder"),
    ],
)
def test_bad_input_and_unwritable_output_are_told_before_the_model_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    rows: list[dict[str, object]] | None, out: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "no-model").mkdir()
    if rows is not None:
        write(tmp_path / "t.jsonl", rows)
    assert driftwarden(monkeypatch, "embed", "--model", "no-model", "--input", "t.jsonl", "--output", out) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_of_two_columns_with_one_name_none_is_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no-model").mkdir()
    if suffix == "csv":
        Path("t.csv").write_text("text,id,text\nfirst,1,second\n", encoding="utf-8")
    else:
        pq.write_table(
            pa.Table.from_arrays([pa.array(["first"]), pa.array(["second"])], names=["text"] * 2), "t.parquet"
        )
    given = f"t.{suffix}"
    assert driftwarden(monkeypatch, "embed", "--model", "no-model", "--input", given, "--output", "v.npy") == 2
    assert capsys.readouterr().err.strip() == f"driftwarden: {given}: column text stands there 2 times"


@pytest.fixture
def half_written(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Callable[..., int], str]:
    """Return `run` and an input of which 20 of 50 rows are done."""
    given = many(tmp_path / "t.jsonl", 50)
    monkeypatch.setattr(vectors, "WINDOW_ROWS", 20)
    keep, kept = vectors._keep, []

    def keep_once(*arguments: object) -> None:
        keep(*arguments)
        kept.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(vectors, "_keep", keep_once)
    assert run(given) == 130
    monkeypatch.setattr(vectors, "_keep", keep)
    assert len(kept) == 1
    return run, given


def resumed_rows(run: Callable[..., int], given: str, capsys: pytest.CaptureFixture[str]) -> int:
    capsys.readouterr()
    assert run(given, "--json") == 0
    return int(json.loads(capsys.readouterr().out)["resumed_rows"])


@pytest.mark.parametrize(
    "done",
    [
        {"rows": -5},
        {"rows": 10**9},
        {"rows": "20"},
        {"rows": 19.5},
        {"tokens": None},
        {"digest": "0"},
        {"digest": None},
        {"more": 1},
    ],
)
def test_a_damaged_book_begins_anew(
    half_written: tuple[Callable[..., int], str], capsys: pytest.CaptureFixture[str], done: dict[str, object]
) -> None:
    book = json.loads(Path("v.npy.partial.json").read_text(encoding="utf-8"))
    Path("v.npy.partial.json").write_text(json.dumps({**book, "done": {**book["done"], **done}}), encoding="utf-8")
    assert resumed_rows(*half_written, capsys) == 0


def test_rows_that_were_damaged_are_never_taken_over(
    half_written: tuple[Callable[..., int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    run, given = half_written
    content = bytearray(Path("v.npy.partial").read_bytes())
    content[200:204] = bytes(4)
    Path("v.npy.partial").write_bytes(content)
    assert resumed_rows(run, given, capsys) == 0
    assert run(given, out="whole.npy") == 0
    assert Path("v.npy").read_bytes() == Path("whole.npy").read_bytes()


def test_of_two_processes_on_one_output_the_second_is_for_later_and_harms_nothing(
    half_written: tuple[Callable[..., int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    run, given = half_written
    before = Path("v.npy.partial").read_bytes()
    with Path("v.npy.partial").open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert run(given) == 75
    assert "another process writes v.npy.partial now" in capsys.readouterr().err
    assert Path("v.npy.partial").read_bytes() == before
    assert resumed_rows(run, given, capsys) == 20


def test_a_deleted_partial_begins_anew_whatever_the_book_says(
    half_written: tuple[Callable[..., int], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = half_written
    Path("v.npy.partial").unlink()
    assert resumed_rows(run, many(tmp_path / "t.jsonl", 51), capsys) == 0


def test_an_input_that_changes_while_it_is_read_is_refused(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = many(tmp_path / "t.jsonl", 50)
    scan = vectors.scan

    def scanned_before(path: Path) -> vectors.Scanned:
        found = scan(path)
        path.write_text(path.read_text(encoding="utf-8").replace("order", "parcel"), encoding="utf-8")
        return found

    monkeypatch.setattr(vectors, "scan", scanned_before)
    assert run(given) == 2
    assert "t.jsonl changed while it was read" in capsys.readouterr().err
    assert not Path("v.npy").exists()
