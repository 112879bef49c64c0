"""What commands share: settings and policy, printing answers, the progress bar."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from monitor.ingest import Progress
    from monitor.policy import ModelPolicy, Policy
    from monitor.settings import Settings

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def code_version() -> str:
    """Return the installed version of driftwarden."""
    return version("driftwarden")


def read_settings() -> "Settings":
    """Read the environment; pydantic loads here and not before, so that `--help` is instant.

    Logs go to stderr from here on, so that stdout stays the command's answer.
    """
    from monitor.settings import load_settings

    quiet_logs()
    return load_settings()


def policy_or_default(settings: "Settings", *, model: str | None = None) -> "Policy":
    """Read the policy; a model that only the command line names gets the defaults when no file was named or found.

    Raises InputError when DRIFTWARDEN_POLICY_FILE names a file that does not exist.
    """
    from monitor.policy import DEFAULTS, Policy, load_policy

    if "policy_file" in settings.model_fields_set or settings.policy_file.exists():
        return load_policy(settings.policy_file)
    if model is None:
        return Policy()
    return Policy(models={model: DEFAULTS})


def model_policy(settings: "Settings", model: str) -> "ModelPolicy":
    """Return the policy of a model; the defaults where the policy file does not name it."""
    from monitor.policy import DEFAULTS

    return policy_or_default(settings, model=model).models.get(model, DEFAULTS)


def quiet_logs() -> None:
    """Let only warnings through, unless the command has configured the logs: its answer is what a user reads."""
    import logging

    import structlog

    from monitor.logs import configure_logs

    if not structlog.is_configured():
        configure_logs(level=logging.WARNING)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def say(line: str, *, aside: bool = False) -> None:
    """Print one line on stdout; `aside`, where stdout is JSON alone, on stderr."""
    stream = sys.stderr if aside else sys.stdout
    stream.write(line + "\n")
    stream.flush()


def comma_separated(given: str) -> tuple[str, ...]:
    """Return the parts of A,B,C, without blanks."""
    return tuple(part.strip() for part in given.split(",") if part.strip())


def shown(text: str) -> str:
    """Return text of a file as a table may hold it: no markup, and nothing that drives a terminal."""
    from rich.markup import escape

    return escape("".join(one for one in text if one.isprintable() or one == " "))


def warn(line: str) -> None:
    """Print one line of warning on stderr."""
    sys.stderr.write(f"driftwarden: warning: {line}\n")


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator["Progress"]:
    """Show a progress bar with rate and time left on stderr; nothing when it is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Rate(ProgressColumn):
        """How many a second."""

        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.0f} {task.description}/s")

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(label, total=None)

        def advance(done: int, total: int | None = None) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
