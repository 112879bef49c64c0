"""Label Studio's JSON export, read as label events."""

from collections.abc import Iterator
from typing import Any


class MalformedTask(ValueError):
    """A task or annotation from which no label can be read."""


def label_events(task: Any) -> Iterator[dict[str, Any] | MalformedTask]:
    """Yield a label event for every annotation of a task that stands, or why it gives none."""
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict) or not {"driftwarden_id", "model"} <= data.keys():
        yield MalformedTask("task has no data with driftwarden_id and model")
        return
    annotations = task.get("annotations")
    if not isinstance(annotations, list):
        yield MalformedTask("task has no list of annotations")
        return
    for annotation in annotations:
        if isinstance(annotation, dict) and annotation.get("was_cancelled") is True:
            continue
        try:
            yield _event(data, annotation)
        except MalformedTask as error:
            yield error


def _event(data: dict[str, Any], annotation: Any) -> dict[str, Any]:
    if not isinstance(annotation, dict) or not isinstance(annotation.get("completed_by"), int | str):
        raise MalformedTask("annotation has no completed_by")
    at = annotation.get("updated_at") or annotation.get("created_at")
    if not isinstance(at, str):
        raise MalformedTask("annotation has neither updated_at nor created_at")
    return {
        "id": data["driftwarden_id"],
        "model": data["model"],
        "label": _choice(annotation.get("result")),
        "source": f"label-studio:{annotation['completed_by']}",
        "timestamp": at,
    }


def _choice(result: Any) -> str:
    chosen = [
        one["value"].get("choices")
        for one in (result if isinstance(result, list) else [])
        if isinstance(one, dict) and one.get("type") == "choices" and isinstance(one.get("value"), dict)
    ]
    if len(chosen) != 1 or not isinstance(chosen[0], list) or len(chosen[0]) != 1 or not isinstance(chosen[0][0], str):
        raise MalformedTask("annotation must hold one result of type choices with one choice")
    return chosen[0][0]
