"""When jobs run: APScheduler in one process, a leader lease among replicas."""

import os
import socket
import uuid
from datetime import timedelta

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import SQLAlchemyError

from monitor import store
from monitor.errors import DriftwardenError
from monitor.reporting import write_due_report
from monitor.runner import Runner

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
        """Start the heartbeat and the jobs."""
        self.lead()
        self._scheduler.add_job(self.lead, "interval", seconds=HEARTBEAT_SECONDS, id="lease", executor="heartbeat")
        self._scheduler.add_job(
            self.tick, "interval", seconds=TICK_SECONDS, id="tick", next_run_time=self.runner.clock.now()
        )
        self._scheduler.add_job(self.retention, "interval", seconds=RETENTION_SECONDS, id="retention")
        self._scheduler.start()

    def stop(self) -> None:
        """Stop after the job in hand."""
        self._scheduler.shutdown(wait=True)

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

    def tick(self) -> int:
        """Run what is due for every model of the policy; return how many runs were recorded."""
        if self.runner.lease is None:
            return 0
        recorded = 0
        for name in self.runner.policy.models:
            try:
                recorded += len(self.runner.tick(name))
                write_due_report(self.runner, name)
            except DriftwardenError as error:
                log.error("tick_failed", model=name, error=str(error))
            except Exception:
                log.exception("tick_failed", model=name)
        return recorded

    def retention(self) -> None:
        """Drop what the policy no longer keeps."""
        if self.runner.lease is None:
            return
        try:
            log.info("retention_done", **self.runner.retention())
        except (DriftwardenError, SQLAlchemyError) as error:
            log.error("retention_failed", error=str(error))
