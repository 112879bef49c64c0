"""Bias audits over the store: a window's sampled answers, with the groups that events or a join file name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from monitor import store
from monitor.bias.auditing import Audited, Rules, audit_rows
from monitor.bias.rows import UNKNOWN, AuditRows, choose_positive, intersect, require_bounded
from monitor.clock import Window
from monitor.errors import InputError, TooLittleData
from monitor.ingest import readable_records
from monitor.policy import DEFAULTS, BiasPolicy
from monitor.results import Results
from monitor.texts import read_identity

Join = Mapping[str, Mapping[str, Any]]


def read_join(path: Path) -> dict[str, dict[str, Any]]:
    """Read groups by event id from a .jsonl, .csv or .parquet file with `id`. Raises InputError naming file and row."""
    found: dict[str, dict[str, Any]] = {}
    for number, fields in readable_records(path):
        identity = read_identity(path, number, fields.get("id"))
        if identity in found:
            raise InputError(f"{path}: row {number}: id {identity!r:.80} stands there twice")
        found[identity] = fields
    return found


def collect_rows(
    results: Results,
    name: str,
    version: str,
    window: Window,
    *,
    groups: Sequence[str],
    positive: str | None,
    join: Join,
    counts: store.Counts,
) -> AuditRows:
    """Return a window's sampled answers as columns to audit. Raises TooLittleData for a window without any."""
    rows = AuditRows({group: [] for group in groups})
    with Session(results.engine) as session:
        cohort = store.quality_cohort(
            session, model=name, version=version, start=window.start, end=window.end, counts=counts
        )
    for row in cohort:
        if row.label is None:
            continue
        rows.add(
            {**(row.attributes or {}), **join.get(row.event_id, {})},
            prediction=row.label,
            truth=row.truth,
            score=(row.scores or {}).get(positive) if positive is not None else None,
            inclusion_probability=row.inclusion_probability,
        )
    if not len(rows):
        raise TooLittleData(
            f"{name}/{version}: no sampled answer from {window.start:%F %H:%M} to {window.end:%F %H:%M}"
        )
    return rows


def audit_window(
    results: Results,
    name: str,
    version: str,
    window: Window,
    policy: BiasPolicy,
    *,
    look: int | None = None,
    join: Join | None = None,
) -> Audited:
    """Audit a window by a policy; `look` counts the audits of this version, so that all of them together keep alpha."""
    rows = collect_rows(
        results,
        name,
        version,
        window,
        groups=policy.groups,
        positive=policy.positive,
        join=join or {},
        counts=results.policy.models.get(name, DEFAULTS).labels.counts,
    )
    for attribute, values in rows.groups.items():
        if set(values) == {UNKNOWN}:
            raise InputError(f"no sampled answer has the attribute {attribute}; name another, or give --join")
    if policy.intersections:
        intersect(rows)
    require_bounded(rows)
    rules = Rules(
        positive=choose_positive(rows, policy.positive),
        metrics=policy.metrics,
        reference_groups=policy.reference_groups,
        alpha=policy.alpha,
        margin=policy.margin,
        look=look,
    )
    return audit_rows(rows, rules)
