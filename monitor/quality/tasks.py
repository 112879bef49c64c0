"""Every task by its name in the policy."""

from monitor.errors import InputError
from monitor.quality.classification import CLASSIFICATION, MULTI_LABEL, PAIR
from monitor.quality.examples import Task

TASKS = {task.name: task for task in (CLASSIFICATION, PAIR, MULTI_LABEL)}


def task_named(name: str) -> Task:
    """Return a task. Raises InputError naming those there are."""
    try:
        return TASKS[name]
    except KeyError:
        raise InputError(f"no task is called {name!r}; there are {', '.join(TASKS)}") from None
