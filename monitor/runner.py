"""The one way a job runs: load, judge, insert one row. Seeds are made here and nowhere else."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from sqlalchemy.orm import Session

from detectors.errors import DetectorError
from detectors.sketch import Sketch, empty_sketch, merge
from monitor import store
from monitor.clock import Window, complete_windows, floor_to
from monitor.errors import DriftwardenError, TryAgainLater
from monitor.explaining import explain
from monitor.folding import HOUR, embed_batch, join_payloads, require_like
from monitor.jobs.calibration import Alarm, JudgedWindow, ever_alarm, run_length_alarm, stream_rule, window_alarm
from monitor.jobs.drift import DriftInputs, Judgement, TokenCheck, judge, with_second_opinions
from monitor.jobs.stream import ReferenceStream
from monitor.models import ModelSource
from monitor.policy import DriftPolicy
from monitor.results import Loaded, Results

BATCH = 8192
JOB_EMBED, JOB_DRIFT, JOB_REPORT, JOB_QUALITY, JOB_BIAS = "embed", "drift", "report", "quality", "bias"
OK, FAILED, TOO_LITTLE_DATA = "ok", "failed", "too_little_data"

log = structlog.get_logger()


class LeadershipLost(TryAgainLater):
    """Another replica leads now; what this one was about to write is dropped."""


@dataclass(slots=True, kw_only=True)
class Runner(Results):
    """Adds to the results what jobs share: the models, and the lease that fences every write."""

    models: ModelSource
    fenced: bool = False  # a scheduler's runner writes under a lease or not at all
    lease: store.Lease | None = None
    stopping: threading.Event = field(default_factory=threading.Event)

    # -- reading -----------------------------------------------------------------------------

    def watched(self, name: str) -> str:
        """Return the version that the policy watches; an alias is resolved through the registry now."""
        policy = self.policy.model(name)
        return policy.version or self.models.version_of(policy.reference(name))

    # -- embed -------------------------------------------------------------------------------

    def embed(self, name: str, version: str, *, until: datetime) -> int:
        """Embed every stored sample before `until` that no sketch holds yet; return how many.

        Each batch is one transaction: its sketches and the marks on its predictions stand or fall together, so a
        crash neither loses nor doubles a text.
        """
        embedded = 0
        loaded: Loaded | None = None
        while not self.stopping.is_set():
            with Session(self.engine) as session:
                waiting = store.unembedded(session, model=name, version=version, before=until, limit=BATCH)
            if not waiting:
                break
            if loaded is None:  # once a call: the registry is asked, and the checkpoint's digest taken
                loaded = self.baseline(name, version)
                model = self.models.load(name, version, self.policy.model(name))
                require_like(loaded.stored, model)
            sketches = embed_batch(waiting, loaded, model, name=name, version=version)
            with store.writing(self.engine) as session:
                self._require_lease(session)
                store.require_newest_baseline(session, model=name, version=version, digest=loaded.stored.digest)
                store.record_embedded(
                    session,
                    sketches=sketches,
                    prediction_ids=[prediction.id for prediction in waiting],
                    join=join_payloads,
                )
            embedded += len(waiting)
        return embedded

    # -- judge -------------------------------------------------------------------------------

    def judge_window(
        self,
        name: str,
        version: str,
        window: Window,
        *,
        alpha: float | None = None,
        seed: int | None = None,
        second_opinions: bool | None = None,
    ) -> tuple[Judgement, Loaded, int]:
        """Judge a window from its sketches, writing nothing; return the verdict, the baseline and the seed.

        Second opinions are asked for where it drifted, or always or never where `second_opinions` says so.
        """
        policy = self.policy.model(name)
        loaded = self.baseline(name, version)
        with Session(self.engine) as session:
            parts = store.sketches_in(
                session,
                model=name,
                version=version,
                baseline_digest=loaded.stored.digest,
                start=window.start,
                end=window.end,
            )
            current = (
                merge([Sketch.from_bytes(part.payload) for part in parts]) if parts else empty_sketch(loaded.basis)
            )
            held = store.predictions_by_id(session, [int(i) for i in current.row_ids])
            before = self._judged_before(session, name, version, window, baseline_digest=loaded.stored.digest)
        chosen_seed = window_seed(JOB_DRIFT, name, version, window) if seed is None else seed
        chosen_alpha = policy.drift.alpha if alpha is None else alpha
        inputs = DriftInputs(
            reference=loaded.reference,
            current=current,
            reference_texts=loaded.reference_texts,
            current_texts={identity: prediction.text or "" for identity, prediction in held.items()},
            tokens=TokenCheck(
                checked=sum(part.token_checked for part in parts),
                mismatched=sum(part.token_mismatched for part in parts),
                tolerance=policy.drift.token_mismatch_tolerance,
            ),
            basis=loaded.basis,
        )
        rng = np.random.default_rng(chosen_seed)
        judgement = judge(
            inputs,
            alpha=chosen_alpha,
            permutations=policy.drift.permutations,
            minimum=policy.drift.minimum_texts,
            rng=rng,
            baseline_confidence=policy.drift.baseline_confidence or None,
            floor=policy.drift.practical_difference,
            calibrate=partial(
                _alarm,
                policy.drift,
                before,
                window=window,
                texts=current.n,
                seed=chosen_seed,
                alpha=chosen_alpha,
                reference=ReferenceStream.from_summary(loaded.stored.summary.get("stream")),
            ),
        )
        with Session(self.engine) as session:
            judgement = explain(
                session,
                judgement,
                loaded=loaded,
                current=current,
                parts=parts,
                held=held,
                window=window,
                policy=policy.drift,
                rng=rng,
            )
        judgement = with_second_opinions(
            judgement,
            reference=loaded.reference,
            current=current,
            names=policy.drift.second_opinions,
            asked=second_opinions,
            rng=rng,
        )
        return judgement, loaded, chosen_seed

    def _judged_before(
        self, session: Session, name: str, version: str, window: Window, *, baseline_digest: str
    ) -> list[JudgedWindow]:
        """Return the windows of this length judged by this baseline before a window, oldest first."""
        if self.policy.model(name).drift.calibration == "window":
            return []
        runs = store.runs(session, job=JOB_DRIFT, model=name, version=version, end=window.start)
        return [
            JudgedWindow(run.window_start, float(run.payload["comparison_p_value"]), run.seed, run.n)
            for run in reversed(runs)
            if run.status == OK
            and run.payload.get("comparison_p_value") is not None
            and run.baseline_digest == baseline_digest
            and run.window_end - run.window_start == window.end - window.start
        ]

    def drift(self, name: str, version: str, window: Window) -> store.StoredRun:
        """Judge a window once: a rerun returns the verdict that stands; a failure or too little data is no verdict."""
        with Session(self.engine) as session:
            done = store.run_for(
                session, job=JOB_DRIFT, model=name, version=version, start=window.start, end=window.end
            )
        if done is not None and done.status == OK:
            return done
        started = self.clock.now()
        try:
            judgement, loaded, seed = self.judge_window(name, version, window)
        except Exception as error:  # noqa: BLE001 the runner's boundary: recorded, counted and logged
            return self.record_failure(JOB_DRIFT, name, version, window, started=started, error=error)
        verdict, answer = judgement.verdict, judgement.as_json()
        run = self._run(
            JOB_DRIFT,
            name,
            version,
            window,
            started,
            status=judgement.status,
            drift=None if verdict is None else verdict.drift,
            p_value=None if verdict is None else verdict.p_value,
            n=judgement.current_n,
            seed=seed,
            baseline_digest=loaded.stored.digest,
            payload=answer,
        )
        return self._record(run, [store.StoredResult(run_id=0, **result) for result in answer["detectors"]])

    def due_windows(self, name: str, version: str, *, until: datetime, empty: bool = True) -> list[Window]:
        """Return every complete window without a verdict, oldest first: those missed while we were down too.

        A window that failed is due again, and one with too little data once its sketches hold more. Windows that
        overlap a verdict of another length (the policy changed) are not. Without `empty`, only those that hold texts.
        """
        step = timedelta(hours=self.policy.model(name).drift.window_hours)
        kept_since = until - timedelta(days=self.policy.retention.retain_text_days)
        with Session(self.engine) as session:
            first = store.first_event_at(session, model=name, version=version)
            runs = store.runs(session, job=JOB_DRIFT, model=name, version=version, start=kept_since)
            texts = store.sketched_texts(session, model=name, version=version, since=kept_since)
        begins = [moment for moment in (first, *(run.window_start for run in runs)) if moment is not None]
        if not begins:
            return []
        done = {(run.window_start, run.window_end): run for run in runs}
        verdicts = [run for run in runs if run.status == OK and run.window_end - run.window_start != step]
        due = []
        for window in complete_windows(first_event=max(min(begins), kept_since), until=until, step=step):
            run = done.get((window.start, window.end))
            held = sum(n for hour, n in texts.items() if window.start <= hour < window.end)
            settled = run is not None and (run.status == OK or (run.status == TOO_LITTLE_DATA and held <= run.n))
            overlaps = any(one.window_start < window.end and window.start < one.window_end for one in verdicts)
            if not settled and not overlaps and (empty or held or run is not None):
                due.append(window)
        return due

    def record_report(self, name: str, version: str, window: Window, path: Path, started: datetime) -> store.StoredRun:
        """Record that a report was written."""
        return self._record(
            self._run(JOB_REPORT, name, version, window, started, status="ok", payload={"path": str(path)}), ()
        )

    def record_restated(
        self, job: str, name: str, version: str, window: Window, *, started: datetime, **fields: Any
    ) -> store.StoredRun:
        """Record a run in the place of any other of its window."""
        return self._record(self._run(job, name, version, window, started, **fields), (), restates=True)

    def retention(self) -> dict[str, int]:
        """Drop what the policy no longer keeps, a transaction a table; return rows by table."""
        now = self.clock.now()
        text_before = now - timedelta(days=self.policy.retention.retain_text_days)
        results_before = now - timedelta(days=self.policy.retention.retain_results_days)
        unmatched_before = {
            name: now - timedelta(days=one.labels.expire_unknown_days) for name, one in self.policy.models.items()
        }
        changed: dict[str, int] = {}
        steps = store.retention_steps(
            text_before=text_before, results_before=results_before, unmatched_before=unmatched_before
        )
        for name, step in steps.items():
            with store.writing(self.engine) as session:
                self._require_lease(session)
                changed[name] = step(session)
        return changed

    def tick(self, name: str) -> list[store.StoredRun]:
        """Do everything that is due for a model: embed what arrived, then judge every complete window.

        Every version with a baseline is looked after: texts sent before an alias moved still get their verdict.
        """
        started, policy = self.clock.now(), self.policy.model(name)
        hour = floor_to(started, HOUR)
        try:
            watched = self.watched(name)
        except Exception as error:  # noqa: BLE001 the runner's boundary: recorded, counted and logged
            unknown = policy.version or f"@{policy.alias}"
            window = Window(hour, hour + HOUR)
            return [self.record_failure(JOB_EMBED, name, unknown, window, started=started, error=error)]
        with Session(self.engine) as session:
            known = store.baselined(session)
        others = [version for model, version in known if model == name and version != watched]
        recorded = self._tick_version(name, watched, until=started, empty=True)
        for version in others:
            recorded += self._tick_version(name, version, until=started, empty=False)
        return recorded

    def _tick_version(self, name: str, version: str, *, until: datetime, empty: bool) -> list[store.StoredRun]:
        hour = floor_to(until, HOUR)
        try:
            self.embed(name, version, until=until)
        except LeadershipLost:
            raise
        except Exception as error:  # noqa: BLE001 the runner's boundary: recorded, counted and logged
            window = Window(hour, hour + HOUR)
            return [self.record_failure(JOB_EMBED, name, version, window, started=until, error=error)]
        grace = timedelta(minutes=self.policy.model(name).drift.grace_minutes)
        recorded = []
        for window in self.due_windows(name, version, until=until - grace, empty=empty):
            if self.stopping.is_set():
                break
            recorded.append(self.drift(name, version, window))
        return recorded

    # -- writing -----------------------------------------------------------------------------

    def _require_lease(self, session: Session) -> None:
        lease = self.lease
        if lease is None:
            if self.fenced:
                raise LeadershipLost("the lease is lost; another replica may lead")
        elif not store.holds_lease(session, lease, now=self.clock.now()):
            raise LeadershipLost(f"term {lease.term} of lease {lease.name!r} is over; another replica leads")

    def record_failure(
        self, job: str, name: str, version: str, window: Window, *, started: datetime, error: Exception
    ) -> store.StoredRun:
        """Record a run that ended in an error, and log it; the next one of its window takes its place."""
        told = one_line(error)
        log.error("run_failed", job=job, model=name, version=version, error=told)
        return self._record(self._run(job, name, version, window, started, status=FAILED, error=told), ())

    def _run(self, job: str, name: str, version: str, window: Window, started: datetime, **fields: Any) -> store.NewRun:
        values: dict[str, Any] = {
            "drift": None,
            "p_value": None,
            "n": 0,
            "seed": window_seed(job, name, version, window),
            "baseline_digest": None,
            "payload": {},
            "error": None,
            **fields,
        }
        return store.NewRun(
            job=job,
            model=name,
            version=version,
            window_start=window.start,
            window_end=window.end,
            policy_digest=self.policy.digest,
            code_version=self.code_version,
            started_at=started,
            finished_at=self.clock.now(),
            **values,
        )

    def _record(
        self, run: store.NewRun, results: Sequence[store.StoredResult], *, restates: bool = False
    ) -> store.StoredRun:
        with store.writing(self.engine) as session:
            self._require_lease(session)
            store.record_run(session, run, results, restates=restates)
            stored = store.run_for(
                session, job=run.job, model=run.model, version=run.version, start=run.window_start, end=run.window_end
            )
        if stored is None:
            raise DriftwardenError(f"{run.job} of {run.model}/{run.version} was recorded and cannot be read back")
        log.info("run_recorded", job=run.job, model=run.model, status=stored.status, drift=stored.drift)
        return stored


def _alarm(
    policy: DriftPolicy,
    before: Sequence[JudgedWindow],
    p_value: float,
    drift: bool,
    *,
    window: Window,
    texts: int,
    seed: int,
    alpha: float,
    reference: ReferenceStream | None,
) -> Alarm:
    """Return the alarm at a window of this p-value, by the promise of the policy."""
    now = JudgedWindow(window.start, p_value, seed, texts)
    if policy.calibration == "run_length":
        stream, step = [*before, now], window.end - window.start
        rule = stream_rule(reference, stream, expected_windows=policy.windows_between_alarms, step=step)
        return run_length_alarm(stream, calibrated=rule, step=step)
    if policy.calibration == "anytime":
        return ever_alarm([*before, now], alpha=alpha, rng_of=np.random.default_rng)
    return window_alarm(now, alpha=alpha, drift=drift)


def one_line(error: Exception) -> str:
    """Return an error in one line; of errors that are not ours only what holds no text of a prediction."""
    ours = isinstance(error, DriftwardenError | DetectorError | store.StoreError)
    told = ours or isinstance(error, OSError | MemoryError | RuntimeError)
    line = " ".join(str(error).split())[:300] if told else ""
    if ours:
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def window_seed(job: str, model: str, version: str, window: Window) -> int:
    """Return the seed of a (job, model version, window): the same rerun draws the same permutations."""
    key = f"{job}\x1f{model}\x1f{version}\x1f{window.start.isoformat()}\x1f{window.end.isoformat()}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big")  # 48 bits: exact in every JSON reader
