"""`driftwarden compare`: the shape of its answer, its exit codes, and one line for every bad input."""

import json
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from monitor import cli


def driftwarden(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["driftwarden", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def embeddings(path: Path, n: int, *, seed: int, shift: float = 0.0) -> Path:
    rows = np.random.default_rng(seed).normal(size=(n, 16))
    rows[: n // 5] += shift
    np.save(path, rows.astype(np.float32))
    return path


def test_no_drift_is_0_drift_is_3_and_the_answer_has_its_shape(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = embeddings(tmp_path / "a.npy", 800, seed=1)
    calm, moved = embeddings(tmp_path / "b.npy", 300, seed=2), embeddings(tmp_path / "c.npy", 300, seed=3, shift=3.0)
    files = ["compare", "--reference", str(reference), "--current"]
    assert driftwarden(monkeypatch, *files, str(calm), "--json") == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["drift"] is False
    assert driftwarden(monkeypatch, *files, str(moved), "--json") == 3
    first = capsys.readouterr().out
    answer = json.loads(first)
    assert answer["warnings"] == []
    assert (answer["reference"], answer["current"]) == ({"n": 534}, {"n": 300})
    assert set(answer["verdict"]) == {"drift", "p_value", "alpha"}
    assert {"name", "statistic", "unit", "p_value", "threshold", "drift", "effect"} == set(answer["detectors"][0])
    assert answer["cells"]
    assert all(one["p_value"] > 0 for one in answer["detectors"])
    driftwarden(monkeypatch, *files, str(moved), "--json")
    assert capsys.readouterr().out == first
    assert -1 <= answer["shown"]["raw_cosine"] <= 1
    assert driftwarden(monkeypatch, *files, str(moved)) == 3
    told = " ".join(capsys.readouterr().out.split())
    assert "DRIFT" in told
    assert "(shown for comparison, never decides)" in told


def test_a_small_alpha_can_still_find_a_large_shift(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [
        str(embeddings(tmp_path / "a.npy", 400, seed=1)),
        str(embeddings(tmp_path / "b.npy", 300, seed=2, shift=4)),
    ]
    code = driftwarden(monkeypatch, "compare", "--reference", files[0], "--current", files[1], "--alpha", "0.002")
    assert code == 3


@pytest.mark.parametrize(
    ("before", "now", "detail"),
    [
        (800, 12, "current texts: 12 of at least 50"),
        (800, 0, "current texts: 0 of at least 50"),
        (0, 300, "reference texts: 0 of at least 100"),
        (1, 300, "reference texts: 1 of at least 100"),
        (30, 300, "reference texts: 30 of at least 100"),
        (98, 300, "reference texts: 98 of at least 100"),
        (0, 0, "reference texts: 0 of at least 100"),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "jsonl"])
def test_too_few_rows_on_either_side_are_4(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    before: int,
    now: int,
    detail: str,
    kind: str,
) -> None:
    files = tmp_path / f"a.{kind}", tmp_path / f"b.{kind}"
    for seed, (path, n) in enumerate(zip(files, (before, now), strict=True)):
        if kind == "npy":
            embeddings(path, n, seed=seed)
        else:
            path.write_text("".join(json.dumps({"text": f"text {i}"}) + "\n" for i in range(n)))
    options = ("--model", "m@champion", "--json")
    assert driftwarden(monkeypatch, "compare", "--reference", str(files[0]), "--current", str(files[1]), *options) == 4
    answer = json.loads(capsys.readouterr().out)
    assert (answer["status"], answer["verdict"], answer["detail"]) == ("too_little_data", None, detail)


def _bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    good = np.ones((80, 4), dtype=np.float32)
    holed = good.copy()
    holed[7, 2] = np.nan
    large = good.astype(np.float64)
    large[7, 2] = 1e40
    arrays = {
        "rank": (np.ones(80), "n × d, got an array of shape (80,)"),
        "dtype": (np.ones((80, 4), dtype=np.int64), "floating point, got dtype int64"),
        "nan": (holed, "row 7, column 2 is nan"),
        "large": (large, "row 7, column 2 is 1e+40, beyond the range of float32"),
        "width": (np.ones((80, 0)), "n × d, got an array of shape (80, 0)"),
        "fields": (np.zeros((80, 4), dtype=[("a", "f4")]), "floating point, got dtype [('a', '<f4')]"),
        "objects": (np.array([{}] * 3, dtype=object), "not a readable .npy array"),
        "columns": (np.random.default_rng(0).normal(size=(80, 5)), "16 columns and"),
    }
    found = {}
    for name, (array, said) in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=True)
        found[name] = (folder / f"{name}.npy", said)
    whole = (folder / "columns.npy").read_bytes()
    for name, content in {
        "torn": b"\x93NUMPY",
        "cut": whole[:-7],
        "pickle": pickle.dumps([1.0, 2.0]),
        "zip": b"PK\x03\x04 torn",
        "boast": whole.replace(b"(80, 5), }         ", b"(80000000000, 5), }"),
        "header": whole.replace(b"{'descr'", b"{{{descr'"),
    }.items():
        (folder / f"{name}.npy").write_bytes(content)
        found[name] = (folder / f"{name}.npy", "not a readable .npy array")
    found["missing"] = (folder / "none.npy", "no such file")
    found["texts"] = (folder / "texts.jsonl", "must both be embeddings")
    found["kind"] = (folder / "texts.txt", "must both be embeddings")
    return found


@pytest.mark.parametrize(
    "name",
    [
        "rank",
        "dtype",
        "nan",
        "large",
        "width",
        "fields",
        "objects",
        "columns",
        "torn",
        "cut",
        "pickle",
        "zip",
        "boast",
        "header",
        "missing",
        "texts",
        "kind",
    ],
)
def test_a_bad_file_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    reference = embeddings(tmp_path / "a.npy", 800, seed=1)
    path, said = _bad_files(tmp_path)[name]
    assert driftwarden(monkeypatch, "compare", "--reference", str(reference), "--current", str(path)) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert said in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [(b'{"text": 7}', "row 1: field text must be a string, got 7"), (b"\xff", "row 1: not UTF-8")],
)
def test_bad_texts_name_file_row_and_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: bytes, said: str
) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(line)
    arguments = ("--reference", str(path), "--current", str(path), "--model", str(tmp_path))
    assert driftwarden(monkeypatch, "compare", *arguments) == 2
    assert said in capsys.readouterr().err


def test_texts_without_a_model_and_an_unknown_setting_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a"}\n')
    assert driftwarden(monkeypatch, "compare", "--reference", str(path), "--current", str(path)) == 2
    assert "give --model" in capsys.readouterr().err
    monkeypatch.setenv("DRIFTWARDEN_DATABSE_URL", "x")
    assert driftwarden(monkeypatch, "dead-letters") == 2
    assert "unknown environment variable DRIFTWARDEN_DATABSE_URL" in capsys.readouterr().err


def test_doubled_rows_are_warned_about_on_stderr_or_in_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a"}\n{"text": "a"}\n')
    files = ("compare", "--reference", str(path), "--current", str(path), "--model", "m@champion")
    assert driftwarden(monkeypatch, *files) == 4
    said = capsys.readouterr()
    assert said.err.startswith(f"driftwarden: warning: {path}: 2 of 2 rows have exactly the text of another row")
    assert "warning" not in said.out
    assert driftwarden(monkeypatch, *files, "--json") == 4
    said = capsys.readouterr()
    assert said.err == ""
    assert [f"{path}: 2 of 2 rows" in line for line in json.loads(said.out)["warnings"]] == [True, True]


def test_pairs_are_never_compared_with_single_texts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, single = tmp_path / "pairs.jsonl", tmp_path / "single.jsonl"
    pairs.write_text('{"text": "a", "text_pair": "b"}\n')
    single.write_text('{"text": "a"}\n')
    files = ("--reference", str(pairs), "--current", str(single), "--model", "m@champion")
    assert driftwarden(monkeypatch, "compare", *files) == 2
    assert "must both have text_pair or neither" in capsys.readouterr().err


def test_an_unreachable_database_is_75(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DRIFTWARDEN_DATABASE_URL", "postgresql://user:secret@127.0.0.1:9/x")
    assert driftwarden(monkeypatch, "dead-letters") == 75
    error = capsys.readouterr().err
    assert "secret" not in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("command", [("dead-letters",), ("db", "upgrade")])
@pytest.mark.parametrize("url", ["nonsense", "mysql://x", "postgresql://user:secret@127.0.0.1:port/x"])
def test_a_database_url_that_cannot_be_read_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DRIFTWARDEN_DATABASE_URL", url)
    assert driftwarden(monkeypatch, *command) == 2
    error = capsys.readouterr().err
    assert "DRIFTWARDEN_DATABASE_URL" in error
    assert "secret" not in error


def test_texts_are_compared_through_a_local_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], checkpoint: Path
) -> None:
    rng = np.random.default_rng(0)
    words = ["order", "parcel", "refund", "password", "invoice", "late", "please", "where"]
    new = ["BITCOIN", "WALLET", "LEDGER", "STAKING"]

    def write(name: str, n: int, share: float) -> str:
        lines = [" ".join(rng.choice(new if rng.random() < share else words, size=5)) for _ in range(n)]
        path = tmp_path / name
        path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf-8")
        return str(path)

    before, calm, moved = write("a.jsonl", 600, 0), write("b.jsonl", 200, 0), write("c.jsonl", 200, 0.4)
    options = ("--model", str(checkpoint), "--alpha", "0.01", "--json")
    assert driftwarden(monkeypatch, "compare", "--reference", before, "--current", calm, *options) == 0
    capsys.readouterr()
    assert driftwarden(monkeypatch, "compare", "--reference", before, "--current", moved, *options) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["warnings"] == []
    assert any(word.lower() in cell["keywords"] for cell in answer["cells"] for word in new)
    (checkpoint / "pytorch_model.bin").write_bytes(b"x")
    try:
        assert driftwarden(monkeypatch, "compare", "--reference", before, "--current", calm, *options) == 2
        assert "pytorch_model.bin may hold pickled weights" in capsys.readouterr().err
    finally:
        (checkpoint / "pytorch_model.bin").unlink()


def test_compared_texts_are_graded_by_their_labels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], checkpoint: Path
) -> None:
    rng = np.random.default_rng(0)

    def write(name: str, words: list[str], truth: str, n: int) -> str:
        path = tmp_path / name
        rows = [{"text": " ".join(rng.choice(words, size=5)), "prediction": "pay", "label": truth} for _ in range(n)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    before = write("a.jsonl", ["order", "parcel", "refund", "late"], "pay", 400)
    options = ("compare", "--model", str(checkpoint), "--reference", before, "--current")
    now = write("b.jsonl", ["BITCOIN", "WALLET", "LEDGER"], "login", 150)
    assert driftwarden(monkeypatch, *options, now, "--json") == 3
    harm = json.loads(capsys.readouterr().out)["harm"]
    assert (harm["grade"], harm["evidence"], harm["error_rise"], harm["n"]) == ("harmful", "labels", 1.0, 150)
    assert driftwarden(monkeypatch, *options, now) == 3
    assert "harmful: by 150 labels, 100 more of 100 answers are wrong" in " ".join(capsys.readouterr().out.split())
    unlike = write("c.jsonl", ["order", "parcel", "refund", "late"], "7", 400)
    assert driftwarden(monkeypatch, *options[:4], unlike, "--current", now) == 3
    told = capsys.readouterr()
    assert "the labels, such as '7', are not used" in told.err
    assert "unknown: the reference has no labels" in told.out


def test_compared_texts_name_the_segment_that_drifted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], checkpoint: Path
) -> None:
    rng = np.random.default_rng(0)
    words, new = ["order", "parcel", "refund", "late"], ["BITCOIN", "WALLET", "LEDGER"]

    def write(name: str, german: list[str], n: int) -> str:
        path = tmp_path / name
        rows = [
            {"text": " ".join(rng.choice(german if i % 2 else words, size=5)), "attributes": {"language": language}}
            for i in range(n)
            for language in ("de" if i % 2 else "en",)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    files = ("--reference", write("a.jsonl", words, 400), "--current", write("b.jsonl", new, 200))
    assert driftwarden(monkeypatch, "compare", "--model", str(checkpoint), *files) == 3
    told = " ".join(capsys.readouterr().out.split())
    assert "segment language = de: effect" in told
    assert "language = en" not in told


def test_second_opinions_are_told_of_a_drift_on_request_of_any_and_decide_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = embeddings(tmp_path / "a.npy", 800, seed=1)
    calm, moved = embeddings(tmp_path / "b.npy", 300, seed=2), embeddings(tmp_path / "c.npy", 300, seed=3, shift=3.0)

    def answer(current: Path, *flags: str) -> tuple[int, dict]:
        files = ("--reference", str(reference), "--current", str(current))
        code = driftwarden(monkeypatch, "compare", *files, "--json", *flags)
        return code, json.loads(capsys.readouterr().out)

    for current, flags, code, names in (
        (calm, (), 0, []),
        (calm, ("--second-opinions",), 0, ["mmd", "classifier", "knn_kl"]),
        (moved, (), 3, ["mmd", "classifier", "knn_kl"]),
        (moved, ("--no-second-opinions",), 3, []),
    ):
        found, answered = answer(current, *flags)
        assert (found, [one["name"] for one in answered["second_opinions"]]) == (code, names)
    without = answer(moved, "--no-second-opinions")[1]
    assert {**answer(moved)[1], "second_opinions": []} == without
    assert driftwarden(monkeypatch, "compare", "--reference", str(reference), "--current", str(moved)) == 3
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "second opinion on the embeddings, which decides nothing" in told
    assert "classifier finds a difference (p = 0.00" in told
    assert re.search(r"a classifier guesses right which is which in \d\d(\.\d+)?% of pairs", told)
