"""Event files: the same events and answers as over HTTP."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from monitor import store
from monitor.clock import ReplayedClock
from monitor.errors import InputError
from monitor.ingest import Totals, ingest_files, read_records
from monitor.policy import Policy

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def rows(count: int) -> list[dict]:
    return [
        {
            "id": f"e{i}",
            "model": "intents",
            "version": "1",
            "timestamp": "2026-05-01T11:00:00Z",
            "text": f'text, with "quotes" {i}',
            "prediction": "a",
            "scores": {"a": 0.75, "b": 0.25},
        }
        for i in range(count)
    ]


def write(folder: Path, kind: str, events: list[dict]) -> Path:
    path = folder / f"events.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    elif kind == "csv":
        import csv

        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(events[0]))
            writer.writeheader()
            for event in events:
                writer.writerow({**event, "scores": json.dumps(event["scores"])})
    else:
        pq.write_table(pa.Table.from_pylist(events), path)
    return path


def take(engine: Engine, *paths: Path, **options) -> Totals:
    return ingest_files(paths, engine=engine, policy=Policy(), clock=ReplayedClock(NOW), **options)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_every_kind_of_file_gives_the_same_rows_and_a_rerun_doubles_nothing(
    sqlite_engine: Engine, tmp_path: Path, kind: str
) -> None:
    path = write(tmp_path, kind, rows(2300))
    heard: list[tuple[int, int | None]] = []
    totals = take(sqlite_engine, path, progress=lambda done, total=None: heard.append((done, total)))
    assert (totals.accepted, totals.rejected) == (2300, 0)
    assert heard[-1] == (path.stat().st_size, path.stat().st_size)
    assert take(sqlite_engine, path).duplicate == 2300
    with Session(sqlite_engine) as session:
        first = store.unembedded(session, model="intents", version="1", before=NOW, limit=1)[0]
    assert (first.text, first.confidence, first.scores) == ('text, with "quotes" 0', 0.75, {"a": 0.75, "b": 0.25})


def test_kinds_agree_on_an_events_content(sqlite_engine: Engine, tmp_path: Path) -> None:
    paths = [write(tmp_path, kind, rows(5)) for kind in ("jsonl", "csv", "parquet")]
    totals = take(sqlite_engine, *paths)
    assert (totals.accepted, totals.duplicate, totals.rejected) == (5, 10, 0)


def test_unreadable_lines_are_dead_letters_with_their_number(sqlite_engine: Engine, tmp_path: Path) -> None:
    good = [json.dumps(row).encode() for row in rows(2)]
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b"\n".join([good[0], b'{"id": ', b"\xff\xfe", b"[1]", b"", good[1]]))
    totals = take(sqlite_engine, path)
    assert (totals.accepted, totals.rejected) == (2, 3)
    with Session(sqlite_engine) as session:
        letters = store.list_dead_letters(session)
    assert sorted((letter.index, letter.source) for letter in letters) == [(i, "mixed.jsonl") for i in (2, 3, 4)]
    assert any("not UTF-8 at byte 0" in letter.reason for letter in letters)


def test_a_csv_with_broken_rows_keeps_the_others(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    head = "id,model,version,timestamp,text,scores\n"
    stem = "intents,1,2026-05-01T11:00:00Z"
    lines = [f"a,{stem},one,\n", f"b,{stem},two,not json\n", f"c,{stem},three,,extra\n"]
    path.write_bytes((head + "".join(lines)).encode() + f"d,{stem},".encode() + b"caf\xe9,\n")
    totals = take(sqlite_engine, path)
    assert (totals.accepted, totals.rejected) == (1, 3)
    with Session(sqlite_engine) as session:
        reasons = " ".join(letter.reason for letter in store.list_dead_letters(session))
    assert "scores: not JSON" in reasons
    assert "more fields than the header" in reasons
    assert "field text: not UTF-8" in reasons


HEAD, STEM = "id,model,version,timestamp,text\n", "intents,1,2026-05-01T11:00:00Z"


@pytest.mark.parametrize(
    ("broken", "refused"),
    [
        ('"where" is it', 1),  # a quote in the middle of a quoted field
        ('"where is it', 1),  # a quote that nothing closes: it swallows the lines after it
        ('"where is it\nand ""when""\nwill it" come', 3),  # the lines after its first are no rows either
    ],
)
@pytest.mark.parametrize("quoted", [False, True])
def test_a_csv_is_read_on_after_a_malformed_quote(
    sqlite_engine: Engine, tmp_path: Path, broken: str, refused: int, quoted: bool
) -> None:
    path = tmp_path / "events.csv"
    text = '"text, ""quoted"""' if quoted else "text"
    good = [f"e{i},{STEM},{text}\n" for i in range(200)]
    path.write_text(HEAD + "".join(good[:100]) + f"bad,{STEM},{broken}\n" + "".join(good[100:]), encoding="utf-8")
    totals = take(sqlite_engine, path)
    assert (totals.accepted, totals.rejected) == (200, refused)
    with Session(sqlite_engine) as session:
        letters = store.list_dead_letters(session)
    assert [letter.index for letter in letters] == [100 + refused - i for i in range(refused)]
    assert "not CSV" in letters[-1].reason
    assert letters[-1].payload.startswith(f"bad,{STEM}")
    again = take(sqlite_engine, path)
    assert (again.duplicate, again.rejected) == (200, refused)
    with Session(sqlite_engine) as session:
        assert store.list_dead_letters(session) == letters
        assert store.counts(session)["", "events.rejected"] == refused


def test_a_csv_whose_quotes_are_all_broken_gives_a_letter_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(HEAD + f'e,{STEM},"open\n' * 50, encoding="utf-8")
    found = list(read_records(path))
    assert [(one.number, one.error is None) for one in found] == [(i, False) for i in range(1, 51)]


def test_blank_lines_of_a_csv_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text(HEAD + f'\n\na,{STEM},x\n\nb,{STEM},"y\n\nc,{STEM},z\n', encoding="utf-8")
    assert [(one.number, one.fields.get("id")) for one in read_records(path)] == [(1, "a"), (2, None), (3, "c")]


def test_a_csv_without_a_readable_header_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text('"id"x,model\na,b\n')
    with pytest.raises(InputError, match=r"events\.csv: the header is not CSV"):
        list(read_records(path))


def test_a_parquet_row_whose_scores_are_not_json_is_refused_alone(sqlite_engine: Engine, tmp_path: Path) -> None:
    events = [{**row, "scores": "not json" if i == 1 else json.dumps(row["scores"])} for i, row in enumerate(rows(3))]
    totals = take(sqlite_engine, write(tmp_path, "parquet", events))
    assert (totals.accepted, totals.rejected) == (2, 1)
    with Session(sqlite_engine) as session:
        (letter,) = store.list_dead_letters(session)
    assert (letter.index, "field scores: not JSON" in letter.reason) == (2, True)
    assert json.loads(letter.payload)["id"] == "e1"


@pytest.mark.parametrize(("name", "said"), [("none.jsonl", "no such file"), ("events.txt", "expected one of")])
def test_a_missing_or_unknown_file_is_named_before_anything_is_written(
    sqlite_engine: Engine, tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "events.txt").write_text("x")
    with pytest.raises(InputError, match=said):
        take(sqlite_engine, write(tmp_path, "jsonl", rows(1)), tmp_path / name)
    with Session(sqlite_engine) as session:
        assert store.counts(session) == {}


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match=r"broken\.parquet: not readable Parquet"):
        list(read_records(path))


def test_labels_come_from_files_too(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"id": "e1", "model": "intents", "label": "a"}) + "\n")
    assert take(sqlite_engine, path, kind="labels").accepted == 1
