"""`driftwarden quality` on files: the shape of its answer, its exit codes, and what its intervals promise."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from sqlalchemy import Engine

from monitor import cli, store


def driftwarden(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["driftwarden", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def answers(path: Path, n: int = 300, *, labelled: int = 200, seed: int = 1) -> tuple[Path, list[dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        truth = str(rng.choice(["billing", "login", "shipping"]))
        given = truth if rng.random() < 0.8 else str(rng.choice(["billing", "login", "shipping"]))
        row = {"id": f"e{i}", "prediction": given, "confidence": round(float(rng.uniform(0.6, 1.0)), 3)}
        rows.append({**row, "label": truth} if i < labelled else row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path, rows


def test_every_measure_has_its_shape_and_scikit_learns_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, rows = answers(tmp_path / "p.jsonl")
    assert driftwarden(monkeypatch, "quality", "--predictions", str(path), "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert {
        "task",
        "alpha",
        "looks",
        "predictions",
        "labelled",
        "maturity",
        "metrics",
        "not_estimated",
        "warnings",
    } == set(answer)
    assert (answer["task"], answer["looks"], answer["labelled"]) == ("classification", "single", 200)
    assert answer["maturity"] == pytest.approx(2 / 3)
    for one in answer["metrics"]:
        assert set(one) == {"name", "value", "low", "high", "n", "method"}
        assert one["low"] <= one["value"] <= one["high"]
    by_name = {one["name"]: one["value"] for one in answer["metrics"]}
    known = [row for row in rows if "label" in row]
    truths, given = [row["label"] for row in known], [row["prediction"] for row in known]
    assert by_name["accuracy"] == pytest.approx(accuracy_score(truths, given))
    assert by_name["macro_f1"] == pytest.approx(f1_score(truths, given, average="macro"))
    assert {"calibration_error", "brier_score", "f1[login]"} <= set(by_name)


def test_at_every_look_is_wider_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = answers(tmp_path / "p.jsonl")
    widths = []
    for flags in ([], ["--at-every-look"]):
        assert driftwarden(monkeypatch, "quality", "--predictions", str(path), "--json", *flags) == 0
        answer = json.loads(capsys.readouterr().out)
        accuracy = next(one for one in answer["metrics"] if one["name"] == "accuracy")
        widths.append(accuracy["high"] - accuracy["low"])
    assert answer["looks"] == "every"
    assert widths[1] > widths[0]
    assert [one["name"] for one in answer["not_estimated"]] == ["calibration_error"]


def test_rows_drawn_with_unequal_chances_are_weighted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 60 wrong of which all were drawn, 40 right of which one in ten was: accuracy 400 / 460
    rows = [{"id": i, "prediction": "a", "label": "b", "inclusion_probability": 1.0} for i in range(60)]
    rows += [{"id": 100 + i, "prediction": "a", "label": "a", "inclusion_probability": 0.1} for i in range(40)]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert driftwarden(monkeypatch, "quality", "--predictions", str(path), "--json") == 0
    accuracy = json.loads(capsys.readouterr().out)["metrics"][0]
    assert accuracy["value"] == pytest.approx(400 / 460)
    assert accuracy["low"] < 0.83
    assert accuracy["high"] > 0.9


@pytest.mark.parametrize("content", ["", '{"id": 1, "prediction": "a"}\n'])
def test_no_label_is_too_little_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(content, encoding="utf-8")
    assert driftwarden(monkeypatch, "quality", "--predictions", str(path), "--json") == 4
    answer = json.loads(capsys.readouterr().out)
    assert answer["metrics"] == []
    assert answer["not_estimated"][0]["reason"] == "no prediction has a label"


def test_labels_outside_the_class_set_count_as_errors_and_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = answers(tmp_path / "p.jsonl")
    assert driftwarden(monkeypatch, "quality", "--predictions", str(path), "--classes", "billing,login", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert "labels are outside the class set, such as 'shipping'" in answer["warnings"][0]
    assert answer["labelled"] == 200
    assert "recall[shipping]" in {one["name"] for one in answer["metrics"]}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "quality needs either MODEL or --predictions FILE"),
        (["m@champion", "--predictions", "p.jsonl"], "quality needs either MODEL or --predictions FILE"),
        (["--predictions", "p.jsonl", "--task", "poetry"], "no task is called 'poetry'; there are classification"),
        (["--predictions", "missing.jsonl"], "missing.jsonl: no such file"),
        (["--predictions", "p.txt"], "p.txt: expected one of .jsonl, .csv, .parquet"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert driftwarden(monkeypatch, "quality", *arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_the_table_names_every_measure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = answers(tmp_path / "p.jsonl")
    assert driftwarden(monkeypatch, "quality", "--predictions", str(path)) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "200 of 300 predictions labelled (66.7%); intervals hold for this look" in told
    assert "precision[billing]" in told


def test_the_store_is_measured_by_event_time_without_a_registry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sqlite_engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRIFTWARDEN_DATABASE_URL", f"sqlite:///{tmp_path}/driftwarden.db")
    now = datetime.now(UTC)
    with store.writing(sqlite_engine) as session:
        for i, age in enumerate([timedelta(hours=1 + i % 100) for i in range(200)] + [timedelta(days=9)] * 50):
            row = store.NewPrediction(
                str(i), f"e{i}", "intents", "1", now - age, now, text="x", label="pay", confidence=0.5 + i % 2 / 4
            )
            store.insert_predictions(session, [row])
        labels = [
            store.NewLabel(f"e{i}", "intents", "pay" if i % 5 else "login", now, "desk", now, str(i))
            for i in range(150)
        ]
        store.insert_labels(session, labels)
    assert driftwarden(monkeypatch, "quality", "intents/1", "--window", "7d", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["model"], answer["version"], answer["looks"]) == ("intents", "1", "every")
    assert (answer["predictions"], answer["labelled"], answer["maturity"]) == (200, 150, pytest.approx(0.75))
    assert answer["metrics"][0]["name"] == "accuracy"
    assert answer["metrics"][0]["value"] == pytest.approx(0.8)
    assert answer["prediction_powered_accuracy"]["method"] == "prediction-powered"
    reason = "the version's baseline has no labels"
    assert answer["degradation"] == {"degraded": None, "reason": reason, "labels": 0}  # none is mature
    assert driftwarden(monkeypatch, "quality", "intents/1", "--window", "7d", "--single-look") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "degradation not judged: the version's baseline has no labels" in told
    assert "accuracy that scores promise: not estimated" in told
    assert driftwarden(monkeypatch, "quality", "intents/2", "--json") == 4
