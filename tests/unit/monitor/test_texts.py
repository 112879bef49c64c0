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
