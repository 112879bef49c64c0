"""The one way a job runs: load, judge, insert one row. Seeds are made here and nowhere else."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from sqlalchemy.orm import Session

from detectors.errors import DetectorError
from detectors.sketch import Sketch, empty_sketch, merge
from monitor import store
from monitor.clock import Window, complete_windows, floor_to
from monitor.errors import DriftwardenError, InputError, TryAgainLater
from monitor.jobs.baseline import Observations, fold_observations
from monitor.jobs.drift import DriftInputs, Judgement, TokenCheck, judge
from monitor.models import LoadedModel, ModelSource
from monitor.results import Loaded, Results

HOUR = timedelta(hours=1)
BATCH = 8192
JOB_EMBED, JOB_DRIFT, JOB_REPORT = "embed", "drift", "report"

log = structlog.get_logger()


class LeadershipLost(TryAgainLater):
    """Another replica leads now; what this one was about to write is dropped."""


@dataclass(slots=True, kw_only=True)
class Runner(Results):
    """Adds to the results what jobs share: the models, and the lease that fences every write."""

    models: ModelSource
    lease: store.Lease | None = None

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
        while True:
            with Session(self.engine) as session:
                waiting = store.unembedded(session, model=name, version=version, before=until, limit=BATCH)
            if not waiting:
                return embedded
            if loaded is None:  # once a call: the registry is asked, and the checkpoint's digest taken
                loaded = self.baseline(name, version)
                model = self.models.load(name, version, self.policy.model(name))
                require_like(loaded.stored, model)
            sketches = embed_batch(waiting, loaded, model)
            with store.writing(self.engine) as session:
                self._require_lease(session)
                store.record_embedded(
                    session, sketches=sketches, prediction_ids=[prediction.id for prediction in waiting]
                )
            embedded += len(waiting)

    # -- judge -------------------------------------------------------------------------------

    def judge_window(
        self, name: str, version: str, window: Window, *, alpha: float | None = None, seed: int | None = None
    ) -> tuple[Judgement, Loaded, int]:
        """Judge a window from its sketches, writing nothing; return the verdict, the baseline and the seed."""
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
        chosen_seed = window_seed(JOB_DRIFT, name, version, window) if seed is None else seed
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
        )
        judgement = judge(
            inputs,
            alpha=policy.drift.alpha if alpha is None else alpha,
            permutations=policy.drift.permutations,
            minimum=policy.drift.minimum_texts,
            rng=np.random.default_rng(chosen_seed),
        )
        return judgement, loaded, chosen_seed

    def drift(self, name: str, version: str, window: Window) -> store.StoredRun:
        """Judge a window once: a rerun returns the row that stands."""
        with Session(self.engine) as session:
            done = store.run_for(
                session, job=JOB_DRIFT, model=name, version=version, start=window.start, end=window.end
            )
        if done is not None and done.status != "failed":
            return done
        started = self.clock.now()
        try:
            judgement, loaded, seed = self.judge_window(name, version, window)
        except (DetectorError, DriftwardenError) as error:
            return self._record(
                self._run(JOB_DRIFT, name, version, window, started, status="failed", error=str(error)), ()
            )
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

    def due_windows(self, name: str, version: str, *, until: datetime) -> list[Window]:
        """Return every complete window not judged yet, oldest first: those missed while we were down too."""
        step = timedelta(hours=self.policy.model(name).drift.window_hours)
        with Session(self.engine) as session:
            first = store.first_event_at(session, model=name, version=version)
            last = store.latest_run(session, job=JOB_DRIFT, model=name, version=version)
        if first is None and last is None:
            return []
        begin = first if last is None else last.window_end
        if begin is None:
            return []
        return list(complete_windows(first_event=begin, until=until, step=step))

    def record_report(self, name: str, version: str, window: Window, path: Path, started: datetime) -> store.StoredRun:
        """Record that a report was written."""
        return self._record(
            self._run(JOB_REPORT, name, version, window, started, status="ok", payload={"path": str(path)}), ()
        )

    def retention(self) -> dict[str, int]:
        """Drop what the policy no longer keeps; return rows dropped by table."""
        now = self.clock.now()
        with store.writing(self.engine) as session:
            self._require_lease(session)
            return store.apply_retention(
                session,
                text_before=now - timedelta(days=self.policy.retention.retain_text_days),
                results_before=now - timedelta(days=self.policy.retention.retain_results_days),
            )

    def tick(self, name: str) -> list[store.StoredRun]:
        """Do everything that is due for a model: embed what arrived, then judge every complete window."""
        version, until = self.watched(name), self.clock.now()
        try:
            self.embed(name, version, until=until)
        except DriftwardenError as error:
            hour = floor_to(until, HOUR)
            run = self._run(
                JOB_EMBED, name, version, Window(hour, hour + HOUR), until, status="failed", error=str(error)
            )
            log.error("embed_failed", model=name, version=version, error=str(error))
            return [self._record(run, ())]
        grace = timedelta(minutes=self.policy.model(name).drift.grace_minutes)
        return [self.drift(name, version, window) for window in self.due_windows(name, version, until=until - grace)]

    # -- writing -----------------------------------------------------------------------------

    def _require_lease(self, session: Session) -> None:
        if self.lease is not None and not store.holds_lease(session, self.lease, now=self.clock.now()):
            raise LeadershipLost(f"term {self.lease.term} of lease {self.lease.name!r} is over; another replica leads")

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

    def _record(self, run: store.NewRun, results: Sequence[store.StoredResult]) -> store.StoredRun:
        with store.writing(self.engine) as session:
            self._require_lease(session)
            store.record_run(session, run, results)
            stored = store.run_for(
                session, job=run.job, model=run.model, version=run.version, start=run.window_start, end=run.window_end
            )
        if stored is None:
            raise DriftwardenError(f"{run.job} of {run.model}/{run.version} was recorded and cannot be read back")
        log.info("run_recorded", job=run.job, model=run.model, status=stored.status, drift=stored.drift)
        return stored


def window_seed(job: str, model: str, version: str, window: Window) -> int:
    """Return the seed of a (job, model version, window): the same rerun draws the same permutations."""
    key = f"{job}\x1f{model}\x1f{version}\x1f{window.start.isoformat()}\x1f{window.end.isoformat()}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big")  # 48 bits: exact in every JSON reader


def require_like(baseline: store.StoredBaseline, model: LoadedModel) -> None:
    """Refuse to compare unlike vectors. Raises InputError naming what differs."""
    for what, stored, now in (
        ("model digest", baseline.model_digest, model.model_digest),
        ("tokenizer digest", baseline.tokenizer_digest, model.encoder.tokenizer_digest),
        ("numeric mode", baseline.numeric_mode, model.encoder.numeric_mode),
    ):
        if stored != now:
            raise InputError(
                f"{what} mismatch for {baseline.model}/{baseline.version}: baseline {stored}, loaded {now}; "
                "embeddings of unlike kinds are never compared"
            )


def embed_batch(waiting: Sequence[store.StoredPrediction], loaded: Loaded, model: LoadedModel) -> list[store.NewSketch]:
    """Embed predictions and fold them into one partial sketch an hour."""
    encoded = model.encoder.encode(
        [prediction.text or "" for prediction in waiting], [prediction.text_pair for prediction in waiting]
    )
    hours: dict[datetime, list[int]] = {}
    for position, prediction in enumerate(waiting):
        hours.setdefault(floor_to(prediction.timestamp, HOUR), []).append(position)
    observed = Observations(
        vectors=encoded.vectors,
        texts=(),
        labels=[prediction.label for prediction in waiting],
        confidences=np.array(
            [np.nan if prediction.confidence is None else prediction.confidence for prediction in waiting]
        ),
    )
    row_ids = np.array([prediction.id for prediction in waiting], dtype=np.int64)
    checked = np.array([p.token_count is not None or p.tokenizer_digest is not None for p in waiting])
    mismatched = np.array(
        [
            (p.token_count is not None and p.token_count != int(count))
            or (p.tokenizer_digest is not None and p.tokenizer_digest != model.encoder.tokenizer_digest)
            for p, count in zip(waiting, encoded.token_counts, strict=True)
        ]
    )
    sketches = []
    for hour, positions in sorted(hours.items()):
        members = np.array(positions, dtype=np.int64)
        finite = members[encoded.finite[members]]
        sketch = fold_observations(loaded.basis, observed, row_ids=row_ids, chosen=finite)
        sketches.append(
            store.NewSketch(
                model=loaded.stored.model,
                version=loaded.stored.version,
                hour=hour,
                segment="",
                baseline_digest=loaded.stored.digest,
                n=len(finite),
                truncated=int(encoded.truncated[members].sum()),
                nonfinite=len(members) - len(finite),
                token_checked=int(checked[members].sum()),
                token_mismatched=int(mismatched[members].sum()),
                payload=sketch.to_bytes(),
            )
        )
    return sketches
