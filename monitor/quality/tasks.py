"""Every task by its name in the policy; what ranks and tags loads its library when asked for."""

from importlib import import_module

from monitor.errors import InputError
from monitor.quality.cascade import CASCADE
from monitor.quality.classification import CLASSIFICATION, MULTI_LABEL, PAIR
from monitor.quality.examples import Task
from monitor.quality.extractive import EXTRACTIVE

TASKS = {task.name: task for task in (CLASSIFICATION, PAIR, MULTI_LABEL, EXTRACTIVE, CASCADE)}
WITH_LIBRARY = {"tagging": "nervaluate", "ranking": "ir_measures"}


def task_named(name: str) -> Task:
    """Return a task. Raises InputError naming those there are, or the library that is missing."""
    if name in TASKS:
        return TASKS[name]
    if name not in WITH_LIBRARY:
        raise InputError(f"no task is called {name!r}; there are {', '.join((*TASKS, *WITH_LIBRARY))}")
    try:
        found: Task = getattr(import_module(f"monitor.quality.{name}"), name.upper())
    except ModuleNotFoundError as error:
        if error.name != WITH_LIBRARY[name]:
            raise
        raise InputError(f"task {name} needs {error.name}; install driftwarden[quality]") from None
    return found
