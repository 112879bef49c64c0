"""The view model: everything as it is read, so that templates compute nothing."""

from dataclasses import dataclass

from reports.bias import BiasView, bias_view
from reports.explained import MEANING, explained, opinion_text
from reports.model import Counts, DetectorRow, DriftedSegment, MovedCell, ReportInput, WindowVerdict
from reports.plots import detector_names, detector_plots, mix_plot, projection_plot, verdicts_plot
from reports.quality import QualityView, quality_view
from reports.wording import (
    DRIFT,
    FAILED,
    JUDGED,
    LITTLE,
    WORDS,
    kind_of,
    p_phrase,
    p_text,
    raw_cosine_text,
    segment_name,
    share_text,
    significant,
    when,
)

WINDOW_LINE = "marks on or above the dashed line are drift."
STREAM_LINE = "a triangle is drift: it is found by all windows so far, and not by the dashed line."


@dataclass(frozen=True, slots=True)
class WindowView:
    """A row of the table of windows; kind is drifted, calm, unknown or failed."""

    start: str
    end: str
    kind: str
    word: str
    p_value: str
    n: str
    detectors: tuple[str, ...]
    explained: str
    shown: str
    opinions: tuple[str, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class DetectorView:
    """One of the small multiples, with what an alarm of it means."""

    plot: str
    meaning: str


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
class SegmentView:
    """A drifted segment as it is read."""

    name: str
    before: str
    after: str
    effect: str
    p_value: str


@dataclass(frozen=True, slots=True)
class CountView:
    """A count, its share of what, and nothing more."""

    name: str
    count: str
    share: str


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report as it is read; plots are finished SVG, None where there is nothing to show."""

    name: str
    span: str
    generated: str
    kind: str
    headline: str
    line: str
    chance: str
    verdicts_plot: str
    windows: tuple[WindowView, ...]
    detectors: tuple[DetectorView, ...]
    projection_plot: str | None
    cells: tuple[CellView, ...]
    mix_plot: str | None
    events: tuple[CountView, ...]
    texts: tuple[CountView, ...]
    provenance: tuple[tuple[str, str], ...]
    evidently_href: str | None
    evidently_label: str
    overview_href: str | None
    segments: tuple[SegmentView, ...]
    quality: QualityView | None
    bias: BiasView | None


def report_view(report: ReportInput) -> ReportView:
    """Lay a report out."""
    newest_first = sorted(report.verdicts, key=lambda one: (one.end, one.start), reverse=True)
    names = detector_names(reversed(newest_first))
    plots = detector_plots(report.verdicts)
    return ReportView(
        name=f"{report.model}/{report.version}",
        span=f"{when(report.window_start)} to {when(report.window_end)}",
        generated=when(report.generated_at),
        kind=kind_of(newest_first[0]) if newest_first else LITTLE,
        headline=headline(newest_first),
        line=STREAM_LINE if report.promise else WINDOW_LINE,
        chance=report.promise or _chance(newest_first),
        verdicts_plot=verdicts_plot(report.verdicts),
        windows=tuple(_window(one) for one in newest_first),
        detectors=tuple(DetectorView(plot, MEANING.get(name, "")) for name, plot in zip(names, plots, strict=True)),
        projection_plot=None if report.projection is None else projection_plot(report.projection),
        cells=tuple(_cell(cell) for cell in report.cells),
        mix_plot=mix_plot(report.mix) if report.mix else None,
        events=_events(report.counts),
        texts=_texts(report.counts),
        provenance=report.provenance,
        evidently_href=report.evidently_href,
        evidently_label=report.evidently_label,
        overview_href=report.overview_href,
        segments=tuple(_segment(one) for one in report.segments),
        quality=quality_view(report.quality, degraded=report.degraded),
        bias=bias_view(report.audit),
    )


def headline(newest_first: list[WindowVerdict]) -> str:
    """Return the whole report in one or two sentences; windows without a verdict are never counted as calm."""
    if not newest_first:
        return "No window was compared in this span: there is no evidence either way."
    kinds = [kind_of(one) for one in newest_first]
    judged = sum(kind in JUDGED for kind in kinds)
    latest = f"latest window (to {when(newest_first[0].end)}): {WORDS[kinds[0]]}"
    beside = [
        f"{kinds.count(kind)} {words}"
        for kind, words in ((LITTLE, "had too little data for a verdict"), (FAILED, "failed"))
        if kind in kinds
    ]
    if not judged:
        return f"Insufficient evidence: none of {_counted(len(kinds))} has a verdict; {' and '.join(beside)}."
    whole = f"{judged} judged windows" if beside else f"{judged} windows"
    first = f"{kinds.count(DRIFT)} of {whole} drifted" if judged > 1 else _only(kinds, beside)
    return f"{'; '.join([first, latest, *beside])}."


def _only(kinds: list[str], beside: list[str]) -> str:
    which = "The only judged window" if beside else "The only window"
    return f"{which} {'drifted' if DRIFT in kinds else 'did not drift'}"


def _counted(windows: int) -> str:
    return f"{windows} windows" if windows != 1 else "1 window"


def _chance(verdicts: list[WindowVerdict]) -> str:
    """Return how many drifted windows chance alone would give: the sum of the judged windows' alphas."""
    judged = [one for one in verdicts if kind_of(one) in JUDGED]
    if not judged:
        return ""
    expected = significant(sum(one.alpha for one in judged), digits=2)
    return (
        f"Were nothing to change, chance alone would mark at most about {expected} of {_counted(len(judged))} as drift."
    )


def _window(one: WindowVerdict) -> WindowView:
    kind = kind_of(one)
    return WindowView(
        start=when(one.start),
        end=when(one.end),
        kind=kind,
        word="DRIFT" if kind == DRIFT else WORDS[kind],
        p_value="–" if one.p_value is None else p_text(one.p_value),
        n=f"{one.n:,}",
        detectors=tuple(_alarm(row) for row in sorted(one.detectors, key=lambda row: row.p_value) if row.drift),
        explained=explained(one),
        shown=raw_cosine_text(one.raw_cosine) if kind == DRIFT and one.raw_cosine is not None else "",
        opinions=tuple(opinion_text(opinion) for opinion in one.opinions),
        detail=one.detail,
    )


def _alarm(row: DetectorRow) -> str:
    return f"{row.name} {significant(row.statistic)} > {significant(row.threshold)} {row.unit}, {p_phrase(row.p_value)}"


def _cell(cell: MovedCell) -> CellView:
    return CellView(
        cell=str(cell.cell),
        before=share_text(cell.reference_share),
        after=share_text(cell.current_share),
        contribution=f"{cell.contribution_nats:+.3f}",
        keywords=", ".join(cell.keywords),
        examples=cell.examples,
    )


def _segment(one: DriftedSegment) -> SegmentView:
    return SegmentView(
        name=segment_name(one.segment),
        before=f"{one.reference_n:,}",
        after=f"{one.current_n:,}",
        effect=significant(one.effect),
        p_value=p_text(one.adjusted_p_value),
    )


def _events(counts: Counts) -> tuple[CountView, ...]:
    seen = counts.accepted + counts.duplicate + counts.sampled_out + counts.rejected
    return (
        _count("events since the service first started", seen),
        _count("accepted", counts.accepted, seen),
        _count("left out by sampling", counts.sampled_out, seen),
        _count("sent twice, kept once", counts.duplicate, seen),
        _count("rejected", counts.rejected, seen),
    )


def _texts(counts: Counts) -> tuple[CountView, ...]:
    return (
        _count("texts embedded in this span", counts.sketched),
        _count("truncated to the model's length", counts.truncated, counts.sketched),
        _count("left out: embedding not finite", counts.nonfinite, counts.sketched + counts.nonfinite),
        _count("token counts checked", counts.token_checked, counts.sketched),
        _count("token counts that differ", counts.token_mismatched, counts.token_checked),
    )


def _count(name: str, count: int, whole: int = 0) -> CountView:
    return CountView(name, f"{count:,}", share_text(count / whole) if whole else "")
