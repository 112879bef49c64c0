"""When jobs run: APScheduler in one process, a leader lease among replicas."""

import os
import socket
import uuid
from contextlib import suppress
from datetime import timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import SQLAlchemyError

from monitor import store
from monitor.assessing import assess_due
from monitor.auditing import audit_due
from monitor.errors import DriftwardenError
from monitor.reporting import drop_old_reports, write_due_reports
from monitor.runner import LeadershipLost, Runner, one_line

LEASE = "scheduler"
LEASE_TTL = timedelta(seconds=90)
HEARTBEAT_SECONDS = 20
TICK_SECONDS = 60
RETENTION_SECONDS = 6 * 3600

log = structlog.get_logger()


class Schedule:
    """Runs the due jobs while this replica holds the lease; every write checks the lease's term."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        runner.fenced = True
        self.holder = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        # one worker each: the jobs of one runner share its encoder, and the heartbeat must not wait for them
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={
                "default": {"type": "threadpool", "max_workers": 1},
                "heartbeat": {"type": "threadpool", "max_workers": 1},
            },
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Start the heartbeat and the jobs; retention too is due at once, however often the service restarts."""
        self._start_heartbeat()
        now = self.runner.clock.now()
        self._scheduler.add_job(self.tick, "interval", seconds=TICK_SECONDS, id="tick", next_run_time=now)
        self._scheduler.add_job(
            self.retention, "interval", seconds=RETENTION_SECONDS, id="retention", next_run_time=now
        )

    def stop(self) -> None:
        """Stop after the batch or window in hand, and give the lease back."""
        self.runner.stopping.set()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
        lease, self.runner.lease = self.runner.lease, None
        if lease is None:
            return
        with suppress(SQLAlchemyError, store.StoreError), store.writing(self.runner.engine) as session:
            store.release_lease(session, lease, now=self.runner.clock.now())

    def run_once(self) -> list[store.StoredRun] | None:
        """Do everything that is due, then stop; return the recorded runs, or None when another replica leads."""
        try:
            self._start_heartbeat()
            if self.runner.lease is None:
                return None
            recorded = self.tick()
            self.retention()
            return recorded
        finally:
            self.stop()

    def _start_heartbeat(self) -> None:
        self.lead()
        self._scheduler.add_job(self.lead, "interval", seconds=HEARTBEAT_SECONDS, id="lease", executor="heartbeat")
        self._scheduler.start()

    def lead(self) -> bool:
        """Renew the lease, or take it when it is free; return whether this replica leads."""
        now = self.runner.clock.now()
        try:
            with store.writing(self.runner.engine) as session:
                lease = self.runner.lease
                if lease is not None and store.renew_lease(session, lease, now=now, ttl=LEASE_TTL):
                    return True
                self.runner.lease = store.take_lease(session, name=LEASE, holder=self.holder, now=now, ttl=LEASE_TTL)
        except (SQLAlchemyError, store.StoreError) as error:
            log.warning("lease_unreachable", error=type(error).__name__)
            self.runner.lease = None
        return self.runner.lease is not None

    def tick(self) -> list[store.StoredRun]:
        """Run what is due for every model of the policy; return the recorded runs."""
        recorded: list[store.StoredRun] = []
        for name in self.runner.policy.models:
            if self.runner.lease is None or self.runner.stopping.is_set():
                break
            try:
                recorded += self.runner.tick(name)
                recorded += assess_due(self.runner, name)
                recorded += audit_due(self.runner, name)
                recorded += write_due_reports(self.runner, name)
            except LeadershipLost as error:
                log.warning("leadership_lost", model=name, error=str(error))
            except (SQLAlchemyError, store.StoreError) as error:  # even the failure could not be recorded
                log.error("tick_failed", model=name, error=type(error).__name__)
        return recorded

    def retention(self) -> None:
        """Drop what the policy no longer keeps: rows, and the reports that quote them."""
        if self.runner.lease is None or self.runner.stopping.is_set():
            return
        try:
            log.info("retention_done", **self.runner.retention(), reports=drop_old_reports(self.runner))
        except (DriftwardenError, SQLAlchemyError, OSError) as error:
            log.error("retention_failed", error=one_line(error))
