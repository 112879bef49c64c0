"""What the jobs on labels share: the windows of a model's watched version, one after another, each recorded."""

from collections.abc import Callable, Iterable

from monitor import store
from monitor.clock import Window
from monitor.errors import DriftwardenError
from monitor.runner import LeadershipLost, Runner


def record_each(
    runner: Runner,
    job: str,
    name: str,
    *,
    due: Callable[[str], Iterable[Window]],
    record: Callable[[str, Window], store.StoredRun],
) -> list[store.StoredRun]:
    """Run a job over the windows that are due for a version, until the runner is asked to stop; return the runs.

    A window that fails is recorded as failed and does not stop the others. Raises LeadershipLost.
    """
    try:
        version = runner.watched(name)
    except DriftwardenError:
        return []  # the tick before has recorded it
    recorded = []
    for window in due(version):
        if runner.stopping.is_set():
            break
        started = runner.clock.now()
        try:
            recorded.append(record(version, window))
        except LeadershipLost:
            raise
        except Exception as error:  # noqa: BLE001 the runner's boundary: recorded, counted and logged
            recorded.append(runner.record_failure(job, name, version, window, started=started, error=error))
    return recorded
