import json
from pathlib import Path
from typing import Any

import pytest

from monitor.errors import InputError
from monitor.ingest import read_label_studio

DATA = {"driftwarden_id": "a1", "model": "m"}


def annotation(**changes: Any) -> dict[str, Any]:
    return {
        "completed_by": 7,
        "result": [{"type": "choices", "value": {"choices": ["login"]}}],
        "created_at": "2026-11-01T00:00:00Z",
        "updated_at": "2026-11-02T00:00:00Z",
    } | changes


def test_annotations_become_label_events_and_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    given = [annotation(), annotation(was_cancelled=True), annotation(result=[])]
    path.write_text(json.dumps([{"data": DATA, "annotations": given}, {"data": {}}]))

    good, empty, malformed = read_label_studio(path)

    assert good.fields == {
        "id": "a1",
        "model": "m",
        "label": "login",
        "source": "label-studio:7",
        "timestamp": "2026-11-02T00:00:00Z",
    }
    assert empty.error == "task 1: annotation must hold one result of type choices with one choice"
    assert malformed.error == "task 2: task has no data with driftwarden_id and model"
    assert json.loads(malformed.raw) == {"data": {}}


def test_json_that_is_no_list_of_tasks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text("{}")
    with pytest.raises(InputError, match="a list of tasks"):
        list(read_label_studio(path))
