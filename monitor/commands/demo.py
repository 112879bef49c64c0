"""`demo`: the whole job on one machine in a few minutes."""

import os
import shlex
import shutil
import socket
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.commands.common import JsonFlag, print_json, quiet_logs, read_settings, say
from monitor.commands.listening import address_of, end_on_sigterm, listen, serve_until_signalled

if TYPE_CHECKING:
    from monitor.demo.replay import Demo


def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Everything the demo makes lies here.")] = Path(
        "driftwarden-demo"
    ),
    corpus: Annotated[
        Path | None, typer.Option("--data", help="A CLINC150 folder; by default a generated ticket corpus.")
    ] = None,
    days: Annotated[int, typer.Option(help="Days of traffic to replay.", min=7, max=90)] = 14,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the pages afterwards.")] = True,
    port: Annotated[int | None, typer.Option(help="Port; DRIFTWARDEN_PORT, else 8000.", min=0, max=65535)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier demo in the folder.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run the whole job on one machine.

    Trains and registers a model, replays traffic with three incidents, judges every window, and serves what came out.

    Example: driftwarden demo --no-serve --json
    """
    _prepare_environment()
    from monitor.clock import SystemClock
    from monitor.demo.replay import prepare_folder, require_folder, run_demo
    from monitor.demo.world import make_world, read_texts

    def tell(line: str) -> None:
        if not as_json:
            say(line)

    quiet_logs()
    settings = read_settings()
    chosen = settings.port if port is None else port
    with listen(settings.host, chosen) if serve else nullcontext() as listening:
        require_folder(folder, force=force)
        texts = read_texts(corpus)
        world = make_world(texts, say=tell)
        prepare_folder(folder, force=force)
        done = run_demo(folder, world, days=days, clock=SystemClock(), say=tell)
        page = _write_report(done, folder)
        if as_json:
            print_json(done.answer)
        else:
            _print_answer(done.answer, folder, page)
        say(f"to serve it again: {_serve_command(folder, chosen)}", aside=as_json)
        if listening is not None:
            _serve(done, listening, aside=as_json)


def _prepare_environment() -> None:
    """Set what torch and transformers read while they are imported, where the user has not."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing of the demo may ask a hub for a model by its local name
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin slow a busy machine tenfold


def _serve_command(folder: Path, port: int) -> str:
    """Return the command line that serves a finished demo again, from any folder."""
    inside = folder.resolve()
    beside = Path(sys.executable).with_name("driftwarden")
    program = "driftwarden" if shutil.which("driftwarden") or not beside.exists() else str(beside)
    return " ".join(
        shlex.quote(word)
        for word in (
            "env",
            f"DRIFTWARDEN_DATABASE_URL=sqlite:///{inside / 'driftwarden.db'}",
            f"DRIFTWARDEN_POLICY_FILE={inside / 'driftwarden.toml'}",
            program,
            "serve",
            "--no-jobs",
            "--port",
            str(port),
        )
    )


def _write_report(done: "Demo", folder: Path) -> Path:
    from monitor.clock import Window
    from monitor.demo.replay import MODEL
    from monitor.reporting import write_report

    window = Window(done.begin, done.end)
    path = write_report(done.runner, MODEL, "1", window, folder / "report")
    done.runner.record_report(MODEL, "1", window, path.resolve(), done.end)
    return path


def _short(instant: str) -> str:
    return instant[:16].replace("T", " ")


def _print_answer(answer: dict[str, Any], folder: Path, page: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("incident", "started (UTC)", "detected (UTC)", "windows", "detector")
    for row in answer["incidents"]:
        table.add_row(
            row["name"],
            _short(row["started"]),
            _short(row["detected"]) if row["detected"] else "not detected",
            "–" if row["delay_windows"] is None else str(row["delay_windows"]),
            row["detector"] or "–",
        )
    console = Console(width=max(Console().width, 100))
    console.print(table)
    console.print(f"{answer['false_alarms']} false alarm(s) in {answer['windows']} windows")
    for window in answer["false_alarm_windows"]:
        console.print(f"  false alarm: window from {_short(window)}")
    console.print(f"report: {page}\nstore:  {folder / 'driftwarden.db'}")


def _serve(done: "Demo", listening: socket.socket, *, aside: bool) -> None:
    from monitor.app import create_app
    from monitor.clock import SystemClock

    end_on_sigterm()
    say(f"serving on {address_of(listening)} (Ctrl-C ends)", aside=aside)
    serve_until_signalled(create_app(done.settings, done.policy, SystemClock()), listening)


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(demo)
