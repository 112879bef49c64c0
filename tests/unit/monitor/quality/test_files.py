"""Predictions and labels from files: what counts, what is told, and one line for every bad row."""

import json
from pathlib import Path

import pytest

from monitor.errors import InputError
from monitor.quality.classification import CLASSIFICATION, MULTI_LABEL
from monitor.quality.files import read_cohort


def lines(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_labels_in_a_file_of_their_own_meet_their_predictions_in_the_order_they_came(tmp_path: Path) -> None:
    predictions = lines(tmp_path / "p.jsonl", *({"id": i, "prediction": "a"} for i in range(4)))
    labels = lines(
        tmp_path / "l.jsonl",
        {"id": "2", "label": "b", "timestamp": "2026-01-02T00:00:00Z"},
        {"id": "0", "label": "a", "timestamp": "2026-01-01T00:00:00Z"},
    )
    read = read_cohort(predictions, labels, CLASSIFICATION)
    assert [(one.id, one.truth) for one in read.cohort.labelled] == [("0", "a"), ("2", "b")]
    assert [one.id for one in read.cohort.unlabelled] == ["1", "3"]
    assert read.warnings == []


def test_the_newest_of_timed_labels_counts_else_the_majority_and_a_tie_is_no_label(tmp_path: Path) -> None:
    predictions = lines(tmp_path / "p.jsonl", *({"id": one, "prediction": "a"} for one in "xyz"))
    timed = [("x", "b", "2026-01-02T00:00:00Z"), ("x", "a", "2026-01-01T00:00:00Z")]
    untimed = [("y", "a"), ("y", "b"), ("y", "b"), ("z", "a"), ("z", "b")]
    labels = lines(
        tmp_path / "l.jsonl",
        *({"id": one, "label": label, "timestamp": at} for one, label, at in timed),
        *({"id": one, "label": label} for one, label in untimed),
    )
    read = read_cohort(predictions, labels, CLASSIFICATION)
    assert {one.id: one.truth for one in read.cohort.labelled} == {"x": "b", "y": "b"}
    assert [one.id for one in read.cohort.unlabelled] == ["z"]
    assert "3 ids have labels that differ, such as 'x'" in read.warnings[0]
    assert "1 ids have labels without a majority, such as 'z'" in read.warnings[1]


def test_labels_of_unknown_ids_and_those_that_overrule_are_counted(tmp_path: Path) -> None:
    predictions = lines(tmp_path / "p.jsonl", {"id": "x", "prediction": "a", "label": "b"})
    labels = lines(tmp_path / "l.jsonl", {"id": "x", "label": "a"}, {"id": "nobody", "label": "a"})
    read = read_cohort(predictions, labels, CLASSIFICATION)
    assert read.cohort.labelled[0].truth == "a"
    assert any("1 labels are for ids" in line and "'nobody'" in line for line in read.warnings)
    assert any("1 labels overrule" in line and "'x'" in line for line in read.warnings)


def test_a_row_sent_twice_counts_once(tmp_path: Path) -> None:
    row: dict[str, object] = {"id": "x", "prediction": "a", "label": "a"}
    read = read_cohort(lines(tmp_path / "p.jsonl", row, row), None, CLASSIFICATION)
    assert (read.cohort.size, len(read.cohort.labelled)) == (1, 1)
    assert "1 rows repeat the id" in read.warnings[0]


def test_csv_holds_lists_and_scores_as_json(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('id,prediction,label\n1,"[""b"", ""a""]","[""a""]"\n', encoding="utf-8")
    (one,) = read_cohort(path, None, MULTI_LABEL).cohort.labelled
    assert (one.prediction, one.truth) == (("a", "b"), ("a",))
    scored = tmp_path / "s.csv"
    scored.write_text('id,prediction,label,scores\n1,a,a,"{""a"": 0.75, ""b"": 0.25}"\n2,a,a,0.5\n', encoding="utf-8")
    assert [one.confidence for one in read_cohort(scored, None, CLASSIFICATION).cohort.labelled] == [0.75, 0.5]


GOOD: dict[str, object] = {"id": "x", "prediction": "a", "label": "a"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": None}, "row 1: field id must be a string or a number, got None"),
        ({"prediction": None}, "row 1: field prediction is missing"),
        ({"prediction": ["a"]}, "row 1: field prediction must be a label or a class id, got ['a']"),
        ({"label": 1.5}, "row 1: field label must be a label or a class id, got 1.5"),
        ({"scores": {"a": 0.4}}, "row 1: field scores: probabilities must sum to 1, got 0.4000"),
        ({"scores": {"b": 1.0}}, "row 1: field scores has none for the prediction 'a'"),
        ({"confidence": 7}, "row 1: field confidence must lie in [0, 1], got 7"),
        ({"inclusion_probability": 0}, "row 1: field inclusion_probability must lie in (0, 1], got 0"),
        ({"inclusion_probability": "often"}, "row 1: field inclusion_probability must lie in (0, 1], got 'often'"),
        ({"timestamp": "2026-01-01"}, "row 1: field timestamp must be ISO 8601 with a zone"),
    ],
)
def test_bad_rows_are_named_in_one_line(tmp_path: Path, change: dict[str, object], told: str) -> None:
    path = lines(tmp_path / "p.jsonl", {**GOOD, **change})
    with pytest.raises(InputError) as error:
        read_cohort(path, None, CLASSIFICATION)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_one_id_with_two_predictions_is_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "p.jsonl", GOOD, {**GOOD, "prediction": "b"})
    with pytest.raises(InputError, match="row 2: id 'x' has another prediction than before, 'b' and 'a'"):
        read_cohort(path, None, CLASSIFICATION)
