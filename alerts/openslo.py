"""OpenSLO documents to objectives and back. Source: github.com/OpenSLO/OpenSLO, specification v1."""

import re
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from alerts.errors import SloRefused
from alerts.promql import dump
from alerts.slo import Slo

API_VERSION = "openslo/v1"
_PERIOD = re.compile(r"(\d+)([dw])")
_RATE = re.compile(r"\b(?:i?rate)\(")


def read_openslo(document: str) -> list[Slo]:
    """Return the objectives of a YAML file of OpenSLO documents; kinds other than SLO are passed over.

    Queries are Prometheus' own. `rate(` becomes `increase(`: ratios stay as they are, and events are counted. Several
    objectives of one SLO get a number behind its name. Raises SloRefused naming document and field.
    """
    try:
        parts = [part for part in yaml.safe_load_all(document) if part is not None]
    except yaml.YAMLError as error:
        raise SloRefused(f"not readable YAML ({' '.join(str(error).split())[:200]})") from None
    found: list[Slo] = []
    for number, part in enumerate(parts, start=1):
        if not isinstance(part, dict) or part.get("apiVersion") != API_VERSION:
            told = part.get("apiVersion") if isinstance(part, dict) else None
            got = repr(told[:80]) if isinstance(told, str) else type(part).__name__
            raise SloRefused(f"document {number}: apiVersion must be {API_VERSION}, got {got}")
        if part.get("kind") == "SLO":
            try:
                found += _objectives(part, where=f"document {number}")
            except (AttributeError, IndexError, KeyError, TypeError) as error:
                raise SloRefused(f"document {number}: not laid out as OpenSLO ({type(error).__name__})") from None
    if not found:
        raise SloRefused("no document of kind SLO")
    return found


def _objectives(part: dict[str, Any], *, where: str) -> list[Slo]:
    name = _at(part, "metadata.name", where)
    spec = _at(part, "spec", where)
    ratio = _at(part, "spec.indicator.spec.ratioMetric", where)
    if spec.get("budgetingMethod", "Occurrences") != "Occurrences":
        raise SloRefused(f"{where}: budgetingMethod must be Occurrences, got {spec['budgetingMethod']!r}")
    objectives = _at(part, "spec.objectives", where)
    common = {
        "service": _at(part, "spec.service", where),
        "period_days": _period(spec, where),
        "total": _query(ratio, "total", where),
        "description": " ".join(str(spec.get("description", "")).split()),
        "labels": {key: str(value) for key, value in (part["metadata"].get("labels") or {}).items()},
        **{kind: _query(ratio, kind, where) for kind in ("bad", "good") if kind in ratio},
    }
    try:
        return [
            Slo(**common, name=name if len(objectives) == 1 else f"{name}-{place}", objective=_target(one, where))
            for place, one in enumerate(objectives)
        ]
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(one) for one in first["loc"]) or "indicator"
        raise SloRefused(f"{where}: {field}: {first['msg'].removeprefix('Value error, ')}") from None


def _at(part: Any, path: str, where: str) -> Any:
    held = part
    for key in path.split("."):
        held = held.get(key) if isinstance(held, dict) else None
        if held is None:
            raise SloRefused(f"{where}: {path} is missing")
    return held


def _target(objective: Any, where: str) -> float:
    if isinstance(objective, dict) and "targetPercent" in objective:
        return round(_number(objective["targetPercent"], where) / 100, 12)
    return _number(_at(objective, "target", f"{where}: objectives"), where)


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SloRefused(f"{where}: a target is a number, got {type(value).__name__}") from None


def _period(spec: dict[str, Any], where: str) -> float:
    windows = spec.get("timeWindow") or [{"duration": "30d", "isRolling": True}]
    found = _PERIOD.fullmatch(str(windows[0].get("duration")))
    if found is None or not windows[0].get("isRolling", False):
        raise SloRefused(f"{where}: timeWindow must be rolling, in days or weeks, got {windows[0]}")
    return float(found[1]) * (7 if found[2] == "w" else 1)


def _query(ratio: dict[str, Any], kind: str, where: str) -> str:
    path = f"{kind}.metricSource.spec.query"
    query = str(_at(ratio, path, f"{where}: ratioMetric"))
    if "#" in query:
        raise SloRefused(f"{where}: ratioMetric: {path} holds a comment (#): leave it out")
    return _RATE.sub("increase(", " ".join(line.strip() for line in query.strip().splitlines()))


def write_openslo(slos: Sequence[Slo]) -> str:
    """Return objectives as OpenSLO documents; `read_openslo` gives them back, but for page and confidence."""
    return "---\n".join(dump(_document(slo)) for slo in slos)


def _document(slo: Slo) -> dict[str, Any]:
    part = "bad" if slo.bad is not None else "good"
    return {
        "apiVersion": API_VERSION,
        "kind": "SLO",
        "metadata": {"name": slo.name, **({"labels": slo.labels} if slo.labels else {})},
        "spec": {
            "description": slo.description,
            "service": slo.service,
            "indicator": {
                "metadata": {"name": f"{slo.id}-events"},
                "spec": {
                    "ratioMetric": {
                        "counter": True,
                        part: _source(slo.bad or slo.good or ""),
                        "total": _source(slo.total),
                    }
                },
            },
            "timeWindow": [{"duration": f"{slo.period_days:g}d", "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [{"target": slo.objective}],
        },
    }


def _source(query: str) -> dict[str, Any]:
    return {"metricSource": {"type": "Prometheus", "spec": {"query": query}}}
