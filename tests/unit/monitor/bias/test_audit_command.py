"""`driftwarden audit bias --predictions`."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.errors import InputError

RUN = CliRunner()
COMPAS = {"African-American": (805, 990, 532, 1369), "Caucasian": (349, 1139, 461, 505), "": (2, 3, 1, 1)}


@pytest.fixture
def compas(tmp_path: Path) -> Path:
    path = tmp_path / "compas.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "prediction", "label", "race", "sex", "score"])
        number = 0
        for race, (fp, tn, fn, tp) in COMPAS.items():
            for n, prediction, label in ((fp, 1, 0), (tn, 0, 0), (fn, 0, 1), (tp, 1, 1)):
                for _ in range(n):
                    number += 1
                    score = 0.3 + 0.4 * prediction + 0.01 * (number % 10)
                    writer.writerow([number, prediction, label, race, ("m", "f")[number % 2], score])
    return path


def audit(path: Path, *arguments: str) -> tuple[int, dict]:
    done = RUN.invoke(app, ["audit", "bias", "--predictions", str(path), "--json", *arguments])
    assert done.exit_code in (0, 3, 4), done.exception
    return done.exit_code, json.loads(done.stdout)


def test_the_published_figures_come_out_of_a_file(compas: Path) -> None:
    code, told = audit(compas, "--groups", "race", "--reference-group", "Caucasian")
    assert code == 3
    assert told["verdict"] == "disparity"
    groups = {one["group"]: one for one in told["groups"]}
    assert list(groups) == ["Caucasian", "African-American", "unknown"]
    fpr = groups["African-American"]["metrics"]["fpr"]
    assert round(fpr["value"], 4) == 0.4485
    assert fpr["low"] < fpr["value"] < fpr["high"]
    assert round(fpr["ratio"]["value"], 2) == 1.91
    assert fpr["ratio"]["low"] > 1
    assert groups["Caucasian"]["reference"]
    assert groups["unknown"]["n"] == 7
    assert groups["unknown"]["metrics"]["fpr"]["verdict"] == "insufficient evidence"
    assert groups["unknown"]["metrics"]["fpr"]["needed"] > 100
    assert groups["Caucasian"]["metrics"]["subgroup_auc"]["value"] > 0.5


def test_crossed_groups_and_impact_ratios_are_written(compas: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "out"
    code, told = audit(compas, "--groups", "race,sex", "--intersections", "--out", str(out))
    assert code == 3
    assert {one["attribute"] for one in told["groups"]} == {"race", "sex", "race × sex"}
    assert json.loads((out / "bias.json").read_text(encoding="utf-8")) == told
    table = list(csv.reader((out / "impact_ratio.csv").read_text(encoding="utf-8").splitlines()))
    assert ["race", "African-American", "3696", "2174", "0.59", "1.00"] in table
    assert ["race", "unknown", "7", "", "", "not included"] in table
    assert ["race × sex", "unknown", "7", "", "", "not included"] in table


def test_without_labels_selection_rates_are_audited_alone(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    lines = [
        {"prediction": "hire" if i % 2 else "no", "attributes": {"sex": ("f", "m")[i % 3 == 0]}} for i in range(3000)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    code, told = audit(path, "--groups", "sex", "--positive", "hire")
    assert code == 0
    assert told["verdict"] == "no disparity beyond the margin"
    assert {name for one in told["groups"] for name in one["metrics"]} == {"selection_rate"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--groups", "nope"), "no column nope; it has id, label, prediction, race, score, sex"),
        (("--groups", "race", "--positive", "maybe"), "the positive label 'maybe' never occurs; there are '0', '1'"),
        (("--groups", "race", "--reference-group", "Martian"), "no row is of the reference group 'Martian'"),
        (("--groups", "race,sex", "--reference-group", "m"), "of several columns say COLUMN=VALUE"),
        (("--groups", "id"), "id has 6,157 groups; an audit takes at most 1,000"),
        (("--groups", "race", "--metrics", "f7"), "--metrics are of selection_rate, tpr"),
        (("--groups", "race", "--label-column", "gold"), "no column gold"),
        (("--groups", ","), "--groups needs a column"),
    ],
)
def test_bad_input_is_named(compas: Path, arguments: tuple[str, ...], said: str) -> None:
    done = RUN.invoke(app, ["audit", "bias", "--predictions", str(compas), *arguments])
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"race": "a"}, "row 1: field prediction is missing"),
        ({"prediction": "1", "race": "a", "score": "high"}, "field score must be a number, got 'high'"),
        ({"prediction": "1", "race": "a", "inclusion_probability": 0}, "must lie in (0, 1], got 0"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict, said: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    done = RUN.invoke(app, ["audit", "bias", "--predictions", str(path), "--groups", "race"])
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)


def test_groups_that_drive_a_spreadsheet_or_a_terminal_are_shown_as_text(tmp_path: Path) -> None:
    path, out = tmp_path / "p.jsonl", tmp_path / "out"
    lines = [{"prediction": str(i % 2), "team": ("=1+1", "\x1b]0;x\x07red")[i % 3 == 0]} for i in range(60)]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    done = RUN.invoke(app, ["audit", "bias", "--predictions", str(path), "--groups", "team", "--out", str(out)])
    assert done.exit_code == 4, done.exception
    assert "\x1b]" not in done.stdout
    cells = [cell for row in csv.reader((out / "impact_ratio.csv").read_text("utf-8").splitlines()) for cell in row]
    assert "'=1+1" in cells
    assert "=1+1" not in cells
