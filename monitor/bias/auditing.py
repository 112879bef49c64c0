"""Audit rows: each attribute's groups beside its reference group, in one family of comparisons."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.bias import (
    METRICS,
    BiasAudit,
    BiasVerdict,
    Compared,
    GroupCounts,
    WorstGap,
    audit_groups,
    group_counts,
    look_alpha,
    worst_gap,
)
from detectors.estimates import Estimate, NotEstimated
from detectors.group_auc import GroupAuc, group_aucs
from detectors.impact_ratio import ImpactTable, impact_ratio_table
from monitor.bias.rows import TIMES, UNKNOWN, AuditRows
from monitor.errors import InputError

Measure = Estimate | NotEstimated


@dataclass(frozen=True, slots=True)
class Rules:
    """What an audit asks: see `detectors.bias.audit_groups`; look counts the audits of one model, this one included."""

    positive: str
    metrics: tuple[str, ...] = METRICS
    reference_groups: Mapping[str, str] | None = None
    alpha: float = 0.05
    margin: float = 0.1
    look: int | None = None


@dataclass(frozen=True, slots=True)
class AttributeAudit:
    """One attribute's audit; sizes counts all rows of each group, areas are there where rows have scores."""

    attribute: str
    audit: BiasAudit
    counts: GroupCounts
    sizes: Mapping[str, int]
    areas: tuple[GroupAuc, ...]
    gaps: tuple[WorstGap | NotEstimated, ...]
    impact: ImpactTable


@dataclass(frozen=True, slots=True)
class Audited:
    """The audits of all attributes with the verdict over them, on n rows of which so many are labelled."""

    verdict: BiasVerdict
    attributes: tuple[AttributeAudit, ...]
    rules: Rules
    n: int
    labelled: int

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "verdict": self.verdict.value,
            "positive": self.rules.positive,
            "alpha": self.rules.alpha,
            "margin": self.rules.margin,
            "look": self.rules.look,
            "n": self.n,
            "labelled": self.labelled,
            "groups": [group for one in self.attributes for group in _groups(one)],
            "gaps": [_gap(one.attribute, gap) for one in self.attributes for gap in one.gaps],
            "impact_ratios": [
                {
                    "attribute": one.attribute,
                    "unknown": one.impact.unknown,
                    "rows": [list(r.shown()) for r in one.impact.rows],
                }
                for one in self.attributes
            ],
        }


def audit_rows(rows: AuditRows, rules: Rules) -> Audited:
    """Audit every attribute. Rates that need a truth rest on the labelled rows, the selection rate on all.

    Attributes share alpha evenly, and with `look` this audit gets its share of all. Raises InputError for a reference
    group that no row is of.
    """
    alpha = rules.alpha if rules.look is None else look_alpha(rules.alpha, rules.look)
    share = alpha / max(len(rows.groups), 1)
    selected = np.array([one == rules.positive for one in rows.predictions], dtype=np.int64)
    known = np.array([one is not None for one in rows.truths], dtype=bool)
    true = np.array([one == rules.positive for one in rows.truths], dtype=np.int64)
    audits = tuple(
        _audit_attribute(name, values, rows, rules, selected=selected, known=known, true=true, alpha=share)
        for name, values in rows.groups.items()
    )
    verdicts = [one.audit.verdict for one in audits]
    return Audited(_worst(verdicts), audits, rules, len(rows), int(known.sum()))


def _worst(verdicts: Sequence[BiasVerdict]) -> BiasVerdict:
    for one in (BiasVerdict.DISPARITY, BiasVerdict.INSUFFICIENT):
        if one in verdicts:
            return one
    return BiasVerdict.NO_DISPARITY


def _audit_attribute(
    name: str,
    values: Sequence[str],
    rows: AuditRows,
    rules: Rules,
    *,
    selected: np.ndarray[Any, np.dtype[np.int64]],
    known: np.ndarray[Any, np.dtype[np.bool_]],
    true: np.ndarray[Any, np.dtype[np.int64]],
    alpha: float,
) -> AttributeAudit:
    names, codes = np.unique(np.array(values, dtype=object).astype(str), return_inverse=True)
    groups = [str(one) for one in names]
    weights = np.array(rows.inclusion_probability)
    weighed = None if (weights == 1).all() else weights
    everyone = group_counts(groups, codes, selected, inclusion_probability=weighed)
    counts = everyone
    if known.any():
        chosen = None if weighed is None else weighed[known]
        counts = group_counts(groups, codes[known], selected[known], true[known], inclusion_probability=chosen)
    reference = _reference(name, groups, codes, rules)
    metrics = [one for one in rules.metrics if one != "selection_rate" and known.any()]
    audit = _joined(everyone, counts, metrics, rules, reference=reference, alpha=alpha)
    areas = _areas(groups, codes, rows, known=known, true=true)
    asked = (["selection_rate"] if "selection_rate" in rules.metrics else []) + metrics
    gaps = tuple(worst_gap(everyone if one == "selection_rate" else counts, one) for one in asked)
    sizes = dict(zip(groups, np.bincount(codes, minlength=len(groups)).tolist(), strict=True))
    return AttributeAudit(name, audit, counts, sizes, areas, gaps, _impact(groups, codes, selected, weights))


def _impact(groups: Sequence[str], codes: Any, selected: Any, weights: Any) -> ImpactTable:
    """Return the impact ratios, with every category that is unknown in part counted as unknown.

    A row counts as often as the rows it stands for, 1 / its inclusion probability, to a whole number a category.
    """
    applicants, chosen = Counter[str](), Counter[str]()
    stands_for = 1 / weights
    sizes = np.bincount(codes, stands_for, len(groups)), np.bincount(codes, selected * stands_for, len(groups))
    for name, n, k in zip(groups, *sizes, strict=True):
        category = UNKNOWN if UNKNOWN in name.split(TIMES) else name
        applicants[category] += round(n)
        chosen[category] += min(round(k), round(n))
    return impact_ratio_table(list(applicants), list(applicants.values()), list(chosen.values()))


def _joined(
    everyone: GroupCounts, counts: GroupCounts, metrics: Sequence[str], rules: Rules, *, reference: str, alpha: float
) -> BiasAudit:
    """Audit selection rates on all rows and the rest on labelled ones; each half gets its part of alpha."""
    parts = []
    asked = ["selection_rate"] if "selection_rate" in rules.metrics or not metrics else []
    comparisons = len(asked) + len(metrics)
    for held, some in ((everyone, asked), (counts, metrics)):
        if some:
            part = alpha * len(some) / comparisons
            parts.append(audit_groups(held, reference=reference, metrics=some, alpha=part, margin=rules.margin))
    return BiasAudit(
        reference,
        _worst([one.verdict for one in parts]),
        alpha,
        rules.margin,
        tuple(one for part in parts for one in part.references),
        tuple(one for part in parts for one in part.comparisons),
    )


def _reference(name: str, groups: Sequence[str], codes: Any, rules: Rules) -> str:
    named = (rules.reference_groups or {}).get(name)
    if named is not None:
        if named not in groups:
            raise InputError(f"{name}: no row is of the reference group {named!r}; there are {', '.join(groups[:20])}")
        return named
    sizes = Counter({groups[code]: int(n) for code, n in enumerate(np.bincount(codes)) if groups[code] != UNKNOWN})
    return sizes.most_common(1)[0][0] if sizes else groups[0]


def _areas(groups: list[str], codes: Any, rows: AuditRows, *, known: Any, true: Any) -> tuple[GroupAuc, ...]:
    scores = np.array([np.nan if one is None else one for one in rows.scores], dtype=np.float64)
    scored = known & np.isfinite(scores)
    alike = len(set(rows.inclusion_probability)) <= 1  # areas of unequally drawn rows would be of the sample alone
    return group_aucs(groups, codes[scored], scores[scored], true[scored]) if scored.any() and alike else ()


def _groups(one: AttributeAudit) -> list[dict[str, Any]]:
    """Return each group of an attribute, the reference first, with its rates and comparisons."""
    areas = {area.group: area for area in one.areas}
    told: dict[str, dict[str, Any]] = {}
    for name in sorted(one.counts.names, key=lambda name: name != one.audit.reference):
        told[name] = {
            "attribute": one.attribute,
            "group": name,
            "reference": name == one.audit.reference,
            "n": one.sizes[name],
            "metrics": {},
        }
        area = areas.get(name)
        if area is not None:
            for kind, measure in (("subgroup_auc", area.subgroup), ("bpsn_auc", area.bpsn), ("bnsp_auc", area.bnsp)):
                told[name]["metrics"][kind] = _measure(measure)
    for measure in one.audit.references:
        told[one.audit.reference]["metrics"][measure.name.split("[")[0]] = _measure(measure)
    for compared in one.audit.comparisons:
        told[compared.group]["metrics"][compared.metric] = _compared(compared)
    return list(told.values())


def _compared(one: Compared) -> dict[str, Any]:
    return {
        **_measure(one.rate),
        "difference": _measure(one.difference),
        "ratio": _measure(one.ratio),
        "p_value": one.p_value,
        "adjusted_p_value": one.adjusted_p_value,
        "verdict": one.verdict.value,
        "needed": one.needed,
    }


def _measure(one: Measure) -> dict[str, Any]:
    if isinstance(one, NotEstimated):
        return {"value": None, "low": None, "high": None, "n": one.got, "method": None, "reason": one.reason}
    return {"value": one.value, "low": one.low, "high": one.high, "n": one.n, "method": one.method}


def _gap(attribute: str, gap: WorstGap | NotEstimated) -> dict[str, Any]:
    if isinstance(gap, NotEstimated):
        return {"attribute": attribute, "name": gap.name, **_measure(gap)}
    told = {"attribute": attribute, "name": gap.gap.name, **_measure(gap.gap)}
    return {**told, "highest": gap.highest, "lowest": gap.lowest}


def sentence(one: Compared, *, reference: str, margin: float) -> str:
    """Return what a comparison came to, in words."""
    if one.verdict is BiasVerdict.DISPARITY and isinstance(one.difference, Estimate):
        side = "above" if one.difference.value > 0 else "below"
        interval = f"{100 * one.difference.low:+.1f} to {100 * one.difference.high:+.1f}"
        return f"{100 * abs(one.difference.value):.1f} points {side} {reference}'s ({interval})"
    if one.verdict is BiasVerdict.NO_DISPARITY:
        return f"no disparity beyond {100 * margin:g} points"
    if isinstance(one.difference, NotEstimated):
        return f"insufficient evidence: {one.difference.reason}"
    if one.needed is None:
        return f"insufficient evidence: {reference} itself has too few rows to show a gap of {100 * margin:g} points"
    return f"insufficient evidence: n ≥ {one.needed:,} would show a gap of {100 * margin:g} points"
