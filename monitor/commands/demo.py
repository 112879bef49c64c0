"""`demo`: the whole job on one machine in a few minutes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.commands.common import print_json, quiet_logs, say

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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train, register, replay traffic with three incidents, judge every window, and serve what came out.

    Example: driftwarden demo --no-serve --json
    """
    # before transformers is imported: nothing of the demo may ask a hub for a model under its local name
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from monitor.clock import SystemClock
    from monitor.demo.replay import prepare_folder, run_demo
    from monitor.demo.world import make_world

    def tell(line: str) -> None:
        if not as_json:
            say(line)

    quiet_logs()
    prepare_folder(folder)
    world = make_world(corpus, say=tell)
    done = run_demo(folder, world, days=days, clock=SystemClock(), say=tell)
    page = _write_report(done, folder)
    if as_json:
        print_json(done.answer)
    else:
        _print_answer(done.answer, folder, page)
    if serve:
        _serve(done)


def _write_report(done: "Demo", folder: Path) -> Path:
    from monitor.clock import Window
    from monitor.demo.replay import MODEL
    from monitor.reporting import write_report

    return write_report(done.runner, MODEL, "1", Window(done.begin, done.end), folder / "report")


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


def _serve(done: "Demo") -> None:
    import uvicorn

    from monitor.app import create_app
    from monitor.clock import SystemClock

    say(f"serving on http://{done.settings.host}:{done.settings.port} (Ctrl-C ends)")
    app = create_app(done.settings, done.policy, SystemClock())
    uvicorn.run(app, host=done.settings.host, port=done.settings.port, log_level="warning")


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(demo)
