"""From stored results to a report: gathers a ReportInput, renders it, and puts Evidently's page beside it."""

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.orm import Session

from detectors.sketch import Sketch, empty_sketch, merge
from monitor import store
from monitor.clock import Window, floor_to
from monitor.errors import DriftwardenError
from monitor.files import write_whole
from monitor.jobs.variation import USUAL
from monitor.measured import audit_shown, measured_window
from monitor.policy import DEFAULTS, DriftPolicy
from monitor.results import Loaded, Results
from monitor.runner import JOB_BIAS, JOB_DRIFT, JOB_QUALITY, JOB_REPORT, OK, Runner
from reports.model import (
    Cost,
    Counts,
    DetectorRow,
    DriftedSegment,
    MixRow,
    MovedCell,
    Opinion,
    Projection,
    ReportInput,
    WindowVerdict,
)
from reports.render import render_report
from reports.wording import p_phrase

EMBEDDING_DETECTORS = frozenset({"kl_cells", "kl_gaussian", "cosine", "cosine_spread", "mmd_features", "novelty"})
EVIDENTLY_TEXTS = 2000
EVIDENTLY_NAME = "texts.html"
REPORT_TIME = "%Y-%m-%dT%H%MZ"

log = structlog.get_logger()


def gather(results: Results, name: str, version: str, window: Window) -> ReportInput:
    """Read everything a report shows of [start, end): the windows that ended in it, as the overview counts them."""
    loaded = results.baseline(name, version)
    policy = results.policy.models.get(name, DEFAULTS).drift
    with Session(results.engine) as session:
        runs = store.runs(session, job=JOB_DRIFT, model=name, version=version, start=window.start, end=window.end)
        runs = sorted(runs, key=lambda run: run.window_start)
        detectors = store.results_of(session, [run.id for run in runs])
        counters = store.counts(session)
        totals = store.sketch_totals(session, start=window.start, end=window.end).get((name, version))
        mix = store.prediction_mix(session, model=name, version=version, start=window.start, end=window.end)
        measured = store.runs(session, job=JOB_QUALITY, model=name, version=version, start=window.start, end=window.end)
        audits = store.runs(session, job=JOB_BIAS, model=name, version=version, start=window.start, end=window.end)
        told = _run_to_show(runs, detectors)
        shown = window if told is None else Window(told.window_start, told.window_end)
        current = _sketch(session, loaded, shown)
    return ReportInput(
        model=name,
        version=version,
        window_start=window.start,
        window_end=window.end,
        generated_at=results.clock.now(),
        verdicts=tuple(_verdict(run, detectors[run.id], alpha=policy.alpha) for run in runs),
        projection=_projection(loaded.reference, current, shown),
        cells=() if told is None else _cells(told),
        mix=_mix(loaded, mix),
        counts=_counts(counters, totals, name),
        provenance=_provenance(results, loaded, runs),
        promise=_promise(runs, policy),
        segments=() if told is None else tuple(DriftedSegment(**one) for one in told.payload.get("segments", [])),
        quality=tuple(measured_window(run) for run in measured if run.status == OK and run.payload["metrics"]),
        audit=next((audit_shown(run) for run in audits if run.status == OK), None),
        degraded=next((run.payload["degradation"]["degraded"] for run in measured if run.status == OK), None),
    )


def _run_to_show(
    runs: Sequence[store.StoredRun], detectors: dict[int, list[store.StoredResult]]
) -> store.StoredRun | None:
    """Return the latest run whose embeddings drifted, else the latest that drifted, else the latest with a verdict."""
    judged = [run for run in runs if run.drift is not None]
    drifted = [run for run in judged if run.drift]
    moved = [run for run in drifted if any(one.drift and one.name in EMBEDDING_DETECTORS for one in detectors[run.id])]
    return next((choice[-1] for choice in (moved, drifted, judged) if choice), None)


def _sketch(session: Session, loaded: Loaded, window: Window) -> Sketch:
    parts = store.sketches_in(
        session,
        model=loaded.stored.model,
        version=loaded.stored.version,
        baseline_digest=loaded.stored.digest,
        start=window.start,
        end=window.end,
    )
    return merge([Sketch.from_bytes(part.payload) for part in parts]) if parts else empty_sketch(loaded.basis)


def _verdict(run: store.StoredRun, results: Sequence[store.StoredResult], *, alpha: float) -> WindowVerdict:
    verdict = run.payload.get("verdict") or {}
    return WindowVerdict(
        start=run.window_start,
        end=run.window_end,
        status=run.status,
        drift=run.drift,
        p_value=run.p_value,
        alpha=float(verdict.get("alpha", alpha)),
        n=run.n,
        detectors=tuple(
            DetectorRow(one.name, one.statistic, one.unit, one.p_value, one.threshold, one.drift, one.effect)
            for one in results
        ),
        importance=str(run.payload.get("importance") or ""),
        harm=Cost(**run.payload["harm"]) if run.payload.get("harm") else None,
        usual=_usual(run.payload.get("usual_variation")),
        raw_cosine=run.payload.get("shown", {}).get("raw_cosine"),
        opinions=tuple(
            Opinion(one["name"], one["p_value"], one["drift"], one["effect"])
            for one in run.payload.get("second_opinions", [])
        ),
        detail=run.error or ("" if run.status == OK else str(run.payload.get("detail", ""))),
    )


def _promise(runs: Sequence[store.StoredRun], policy: DriftPolicy) -> str:
    """Return what the latest judged window's alarm promises, "" where it is alpha of each window."""
    alarms = [run.payload["alarm"] for run in runs if run.payload.get("alarm")]
    if not alarms or alarms[-1]["mode"] == "window":
        return ""
    if alarms[-1]["mode"] == "anytime":
        return f"Were nothing to change, the probability of ever alarming is at most {policy.alpha:g}."
    note = alarms[-1].get("note", "")
    often = f"Were nothing to change, one window in about {policy.windows_between_alarms:g} would alarm"
    return f"{often}, {note}." if note else f"{often}."


def _usual(variation: dict[str, Any] | None) -> str:
    if not variation:
        return ""
    straying = "No further than" if variation["p_value"] > USUAL else "Further than"
    return f"{straying} the reference's own hours and weekdays stray ({p_phrase(variation['p_value'])})"


def _projection(reference: Sketch, current: Sketch, shown: Window) -> Projection | None:
    if reference.rows.shape[1] < 2 or not current.rows.shape[0]:
        return None
    span = f"{shown.start:%Y-%m-%d %H:%M} to {shown.end:%Y-%m-%d %H:%M} UTC"
    return Projection(
        reference_xy=reference.rows[:, :2].astype(float),
        current_xy=current.rows[:, :2].astype(float),
        axis_labels=(f"first principal component (current: {span})", "second principal component"),
    )


def _cells(run: store.StoredRun) -> tuple[MovedCell, ...]:
    return tuple(
        MovedCell(
            cell=int(cell["cell"]),
            reference_share=float(cell["reference_share"]),
            current_share=float(cell["current_share"]),
            contribution_nats=float(cell["contribution_nats"]),
            keywords=tuple(cell["keywords"]),
            examples=tuple(cell["examples"]),
        )
        for cell in run.payload.get("cells", [])
    )


def _mix(loaded: Loaded, counts: dict[str, int]) -> tuple[MixRow, ...]:
    classes = (*loaded.basis.classes, "other")
    before = dict(zip(classes, (int(count) for count in loaded.reference.class_counts), strict=True))
    whole_before, whole_now = sum(before.values()), sum(counts.values())
    if not whole_now:
        return ()
    folded: dict[str, int] = {}
    for label, count in counts.items():
        folded[label if label in before else "other"] = folded.get(label if label in before else "other", 0) + count
    rows = [
        MixRow(
            label=label,
            reference_share=before.get(label, 0) / whole_before if whole_before else None,
            current_share=folded.get(label, 0) / whole_now,
            count=folded.get(label, 0),
        )
        for label in classes
        if before.get(label, 0) or folded.get(label, 0)
    ]
    return tuple(sorted(rows, key=lambda row: (-row.current_share, row.label)))


def _counts(counters: dict[tuple[str, str], int], totals: store.SketchTotals | None, name: str) -> Counts:
    held = totals or store.SketchTotals(0, 0, 0, 0, 0)
    return Counts(
        accepted=counters.get((name, "events.accepted"), 0),
        duplicate=counters.get((name, "events.duplicate"), 0),
        sampled_out=counters.get((name, "events.sampled_out"), 0),
        rejected=counters.get((name, "events.rejected"), 0),
        sketched=held.n,
        truncated=held.truncated,
        nonfinite=held.nonfinite,
        token_checked=held.token_checked,
        token_mismatched=held.token_mismatched,
    )


def _provenance(results: Results, loaded: Loaded, runs: Sequence[store.StoredRun]) -> tuple[tuple[str, str], ...]:
    stored = loaded.stored
    seeds = [str(run.seed) for run in runs]
    return (
        ("model version", f"{stored.model}/{stored.version}"),
        ("model digest", stored.model_digest),
        ("tokenizer digest", stored.tokenizer_digest),
        ("baseline digest", stored.digest),
        ("baseline texts", str(stored.summary.get("texts", ""))),
        ("numeric mode", stored.numeric_mode),
        ("policy digest", ", ".join(dict.fromkeys(run.policy_digest for run in runs)) or results.policy.digest),
        ("code version", ", ".join(dict.fromkeys(run.code_version for run in runs)) or results.code_version),
        ("seeds of the windows", ", ".join(seeds) or "none"),
    )


def write_report(runner: Runner, name: str, version: str, window: Window, out: Path) -> Path:
    """Write report.html, with Evidently's page beside it; return the path of the report.

    Each file is written whole or not at all. Raises InputError when the version has no baseline.
    """
    report = gather(runner, name, version, window)
    out.mkdir(parents=True, exist_ok=True)
    if _write_evidently(runner, name, version, window, out / EVIDENTLY_NAME):
        report = replace(report, evidently_href=EVIDENTLY_NAME)
    path = out / "report.html"
    write_whole(path, render_report(report).encode())
    return path


def _write_evidently(runner: Runner, name: str, version: str, window: Window, path: Path) -> bool:
    """Write Evidently's summary of reference and current texts; False where it is not installed or there is nothing."""
    loaded = runner.baseline(name, version)
    with Session(runner.engine) as session:
        parts = _sketch(session, loaded, window)
        held = store.predictions_by_id(session, [int(i) for i in parts.row_ids[:EVIDENTLY_TEXTS]])
    reference = [{"text": text} for text in loaded.stored.reference_texts[:EVIDENTLY_TEXTS] if text]
    current: list[dict[str, Any]] = [{"text": one.text} for one in held.values() if one.text]
    if not reference or not current:
        return False
    try:
        from reports.evidently_page import write_evidently_page
    except ImportError:
        log.info("evidently_not_installed")
        return False
    write_evidently_page(reference, current, path)
    return True


def latest_evidently_page(results: Results, name: str, version: str) -> tuple[Path, Window] | None:
    """Return Evidently's page beside the version's latest written report, with that report's window.

    None when no report was written, its page is gone, or it lies on another machine.
    """
    with Session(results.engine) as session:
        run = store.latest_run(session, job=JOB_REPORT, model=name, version=version)
    if run is None:
        return None
    page = Path(str(run.payload["path"])).with_name(EVIDENTLY_NAME)
    return (page, Window(run.window_start, run.window_end)) if page.is_file() else None


def write_due_reports(runner: Runner, name: str) -> list[store.StoredRun]:
    """Write the scheduled report of the last complete cadence, once; return the run that tells so, or none.

    It is due when its last window has had its grace and its verdict. A report that fails is recorded and tried again.
    """
    policy, started = runner.policy.model(name), runner.clock.now()
    step = timedelta(hours=policy.report.every_hours)
    end = floor_to(started - timedelta(minutes=policy.drift.grace_minutes), step)
    window = Window(end - step, end)
    try:
        version = runner.watched(name)
    except DriftwardenError:
        return []  # the tick before has recorded it
    with Session(runner.engine) as session:
        done = store.run_for(session, job=JOB_REPORT, model=name, version=version, start=window.start, end=window.end)
        judged = store.runs(session, job=JOB_DRIFT, model=name, version=version, start=window.start, end=window.end)
    if (done is not None and done.status == OK) or not judged:
        return []
    folder = _report_folder(runner, name, version) / f"{end:{REPORT_TIME}}"
    try:
        path = write_report(runner, name, version, window, folder)
    except Exception as error:  # noqa: BLE001 the runner's boundary: recorded, counted and logged
        return [runner.record_failure(JOB_REPORT, name, version, window, started=started, error=error)]
    return [runner.record_report(name, version, window, path, started)]


def _report_folder(runner: Runner, name: str, version: str) -> Path:
    return Path(runner.policy.model(name).report.directory) / re.sub(r"[^\w.-]+", "_", f"{name}-{version}")


def drop_old_reports(runner: Runner) -> int:
    """Delete scheduled reports older than the texts they quote may be kept; return how many."""
    before = runner.clock.now() - timedelta(days=runner.policy.retention.retain_text_days)
    dropped = 0
    for policy in runner.policy.models.values():
        for folder in sorted(Path(policy.report.directory).glob("*/*")):
            with suppress(ValueError):  # not a folder of ours
                if datetime.strptime(folder.name, REPORT_TIME).replace(tzinfo=UTC) < before:
                    shutil.rmtree(folder)
                    dropped += 1
    return dropped
