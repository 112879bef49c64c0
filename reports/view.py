"""The view model: every number as it is read, so that templates compute nothing."""

from dataclasses import dataclass
from datetime import datetime

from reports.model import Counts, MovedCell, ReportInput, WindowVerdict
from reports.plots import detector_plot, mix_plot, projection_plot, verdicts_plot

MEANING = {
    "kl_cells": "texts moved between the baseline's cells",
    "kl_gaussian": "the spread of the embeddings changed",
    "cosine": "the mean of the embeddings turned",
    "js_classes": "the mix of predicted classes changed",
    "js_confidence": "the model is more, or less, sure than it was",
    "tokenizer": "the server's tokens are not those of the registered tokenizer",
}


def when(instant: datetime) -> str:
    """Return 2026-01-31 09:30 UTC."""
    return f"{instant:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class WindowView:
    """A row of the table of windows."""

    start: str
    end: str
    word: str
    kind: str
    p_value: str
    n: str
    alarming: str
    detail: str


@dataclass(frozen=True, slots=True)
class DetectorView:
    """A small multiple with what an alarm of it means."""

    meaning: str
    plot: str


@dataclass(frozen=True, slots=True)
class CellView:
    """A moved cell as it is read."""

    cell: str
    before: str
    after: str
    contribution: str
    keywords: str
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report as it is read."""

    title: str
    span: str
    generated: str
    sentence: str
    kind: str
    verdicts_plot: str
    windows: tuple[WindowView, ...]
    detectors: tuple[DetectorView, ...]
    projection_plot: str
    cells: tuple[CellView, ...]
    mix_plot: str
    counts: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]
    evidently_href: str | None


def view(report: ReportInput) -> ReportView:
    """Lay a report out."""
    start, end = report.window_start, report.window_end
    names = sorted({row.name for one in report.verdicts for row in one.detectors})
    sentence, kind = _sentence(report.verdicts)
    return ReportView(
        title=f"{report.model}/{report.version}",
        span=f"{when(start)} to {when(end)}",
        generated=when(report.generated_at),
        sentence=sentence,
        kind=kind,
        verdicts_plot=verdicts_plot(report.verdicts, start=start, end=end) if report.verdicts else "",
        windows=tuple(_window(one) for one in sorted(report.verdicts, key=lambda one: one.start, reverse=True)),
        detectors=tuple(
            DetectorView(MEANING.get(name, ""), detector_plot(name, report.verdicts, start=start, end=end))
            for name in names
        ),
        projection_plot="" if report.projection is None else projection_plot(report.projection),
        cells=tuple(_cell(cell) for cell in report.cells),
        mix_plot=mix_plot(report.mix) if report.mix else "",
        counts=_counts(report.counts),
        provenance=report.provenance,
        evidently_href=report.evidently_href,
    )


def _sentence(verdicts: tuple[WindowVerdict, ...]) -> tuple[str, str]:
    if not verdicts:
        return "No window was judged in this span: there is no evidence either way.", "unknown"
    judged = [one for one in verdicts if one.drift is not None]
    drifted = [one for one in judged if one.drift]
    little = sum(one.status == "too_little_data" for one in verdicts)
    failed = sum(one.status == "failed" for one in verdicts)
    parts = [f"{len(drifted)} of {len(verdicts)} windows drifted"]
    if little:
        parts.append(f"{little} had too little data for a verdict")
    if failed:
        parts.append(f"{failed} failed")
    latest = max(verdicts, key=lambda one: one.start)
    now = "drifted" if latest.drift else "did not drift" if latest.drift is not None else "has no verdict"
    kind = "drifted" if latest.drift else "calm" if latest.drift is not None else "unknown"
    return f"{'; '.join(parts)}. The latest window (to {when(latest.end)}) {now}.", kind


def _window(one: WindowVerdict) -> WindowView:
    words = {"too_little_data": ("insufficient evidence", "unknown"), "failed": ("failed", "failed")}
    word, kind = words.get(one.status, ("DRIFT", "drifted") if one.drift else ("no drift", "calm"))
    alarming = sorted((row for row in one.detectors if row.drift), key=lambda row: row.p_value)
    return WindowView(
        start=when(one.start),
        end=when(one.end),
        word=word,
        kind=kind,
        p_value="–" if one.p_value is None else f"{one.p_value:.2g}",
        n=f"{one.n:,}",
        alarming=", ".join(row.name for row in alarming),
        detail=one.detail,
    )


def _cell(cell: MovedCell) -> CellView:
    return CellView(
        cell=str(cell.cell),
        before=f"{cell.reference_share:.1%}",
        after=f"{cell.current_share:.1%}",
        contribution=f"{cell.contribution_nats:+.3f}",
        keywords=", ".join(cell.keywords),
        examples=cell.examples,
    )


def _counts(counts: Counts) -> tuple[tuple[str, str], ...]:
    def share(part: int, whole: int) -> str:
        return f"{part:,}" if not whole else f"{part:,} ({part / whole:.2%})"

    seen = counts.accepted + counts.duplicate + counts.sampled_out + counts.rejected
    return (
        ("events since the beginning", f"{seen:,}"),
        ("kept", share(counts.accepted, seen)),
        ("duplicate", share(counts.duplicate, seen)),
        ("sampled out", share(counts.sampled_out, seen)),
        ("rejected", share(counts.rejected, seen)),
        ("texts embedded in this span", f"{counts.sketched:,}"),
        ("truncated", share(counts.truncated, counts.sketched)),
        ("embeddings not finite, kept out", share(counts.nonfinite, counts.sketched)),
        ("token counts checked", f"{counts.token_checked:,}"),
        ("token counts that differ", share(counts.token_mismatched, counts.token_checked)),
    )
