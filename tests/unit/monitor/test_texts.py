"""Files of texts: the columns beside the text are whole or refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitor.errors import InputError
from monitor.texts import load_texts


def jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_second_texts_are_read_beside_the_first(tmp_path: Path) -> None:
    table = load_texts(jsonl(tmp_path, {"text": "a", "text_pair": "b"}, {"text": "c", "text_pair": ""}))
    assert (table.texts, table.pairs) == (("a", "c"), ("b", ""))
    assert load_texts(jsonl(tmp_path, {"text": "a"}, {"text": "c", "text_pair": None})).pairs is None


@pytest.mark.parametrize(
    ("prediction", "label"),
    [
        ("billing", "billing"),
        (3, "3"),
        (0, "0"),
        ({"label": "billing"}, "billing"),
        ({"label": 7}, "7"),
        ("x" * 300, "x" * 200),
    ],
)
def test_a_class_is_known_by_its_name_or_by_its_number(tmp_path: Path, prediction: Any, label: str) -> None:
    assert load_texts(jsonl(tmp_path, {"text": "a", "prediction": prediction})).labels == (label,)


def test_class_numbers_are_read_from_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b"], "prediction": [2, 0]}), tmp_path / "texts.parquet")
    assert load_texts(tmp_path / "texts.parquet").labels == ("2", "0")


@pytest.mark.parametrize(
    ("field", "value", "missing"),
    [
        ("text_pair", "b", None),
        ("prediction", "billing", None),
        ("prediction", "billing", ""),
        ("confidence", 0.5, None),
    ],
)
def test_a_column_that_only_some_rows_fill_is_refused(tmp_path: Path, field: str, value: Any, missing: Any) -> None:
    rows = [{"text": "a", field: value}, {"text": "b", field: missing}, {"text": "c", field: value}]
    with pytest.raises(InputError, match=f"row 2: field {field} is missing, as in 1 of 3 rows"):
        load_texts(jsonl(tmp_path, *rows))


@pytest.mark.parametrize(
    ("field", "value"),
    [("text_pair", 7), ("prediction", 1.5), ("prediction", True), ("prediction", ["a"]), ("confidence", 1.5)],
)
def test_a_value_of_another_kind_is_refused_by_row_and_value(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        load_texts(jsonl(tmp_path, {"text": "a", field: value}))
    assert f"row 1: field {field} must" in str(caught.value)
    assert str(value) in str(caught.value)


def test_texts_are_cleaned_as_capture_cleans_them(tmp_path: Path) -> None:
    table = load_texts(jsonl(tmp_path, {"text": "nul\x00 and \ud800", "text_pair": "\x00", "prediction": "\x00"}))
    assert table.texts == ("nul\ufffd and \ufffd",)
    assert (table.pairs, table.labels) == (("\ufffd",), ("\ufffd",))


def test_of_rows_with_one_id_the_first_counts(tmp_path: Path) -> None:
    rows = [{"id": i, "text": f"text {i}"} for i in (1, 2, "2", 3, 1)]
    fanned_out = [{**row, "text": f"{row['text']}, {number}"} for number, row in enumerate(rows)]
    path = jsonl(tmp_path, *fanned_out, {"text": "no id"}, {"text": "nor here"})
    table = load_texts(path)
    assert table.texts == ("text 1, 0", "text 2, 1", "text 3, 3", "no id", "nor here")
    assert table.repeated_ids == 2
    assert table.warnings(path) == [f"{path}: 2 rows repeat the id of an earlier row and were left out"]


@pytest.mark.parametrize(("copied", "warned"), [(0, False), (50, False), (52, True), (100, True)])
def test_copies_are_warned_about_when_they_are_more_than_half_of_the_rows(
    tmp_path: Path, copied: int, warned: bool
) -> None:
    texts = [f"text {i // 2 if i < copied else i}" for i in range(100)]
    path = jsonl(tmp_path, *({"text": text} for text in texts))
    lines = load_texts(path).warnings(path)
    assert bool(lines) == warned
    assert all(f"{copied} of 100 rows have exactly the text of another row" in line for line in lines)


def test_a_text_with_different_second_texts_is_no_copy(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *({"text": "same", "text_pair": f"other {i}"} for i in range(10)))
    assert load_texts(path).warnings(path) == []


def test_the_truth_may_be_known_of_some_rows_alone_and_needs_a_class(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "billing"}, {"text": "b", "label": ""}, {"text": "c"}, {"text": "d", "label": 3}]
    table = load_texts(jsonl(tmp_path, *rows))
    assert table.truths == ("billing", None, None, "3")
    assert table.warnings(tmp_path) == []
    assert "labels, such as 'billing', are not used" in table.warnings(tmp_path, labels_used=False)[0]
    with pytest.raises(InputError, match=r"row 1: field label must be a label or a class id, got 0\.5"):
        load_texts(jsonl(tmp_path, {"text": "a", "label": 0.5}))


def test_attributes_are_read_as_those_of_an_event(tmp_path: Path) -> None:
    rows = [{"text": "a", "attributes": {"language": "de", "premium": True, "tier": 2, "gone": None}}, {"text": "b"}]
    read = ({"language": "de", "premium": "true", "tier": "2"}, None)
    assert load_texts(jsonl(tmp_path, *rows)).attributes == read
    written = tmp_path / "texts.csv"
    written.write_text('text,attributes\na,"{""language"": ""de""}"\nb,\n', encoding="utf-8")
    assert load_texts(written).attributes == ({"language": "de"}, None)
    with pytest.raises(InputError, match="row 1: field attributes"):
        load_texts(jsonl(tmp_path, {"text": "a", "attributes": ["de"]}))


def test_times_are_read_with_their_zone(tmp_path: Path) -> None:
    rows = [{"text": "a", "timestamp": "1970-01-02T03:59:00Z"}, {"text": "b", "timestamp": "1970-01-02T03:00:00+02:00"}]
    hours = load_texts(jsonl(tmp_path, *rows)).hours
    assert hours is not None
    assert hours.tolist() == [27, 25]
    for wrong in ("1970-01-02T03:59:00", "yesterday", 5):
        with pytest.raises(InputError, match="row 1: field timestamp must be ISO 8601 with a zone"):
            load_texts(jsonl(tmp_path, {"text": "a", "timestamp": wrong}))
