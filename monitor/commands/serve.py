"""`serve`, `run`: the service, and its due jobs once."""

from typing import Annotated

import typer

from monitor.commands.common import (
    code_version,
    make_runner,
    open_store,
    policy_or_default,
    print_json,
    read_settings,
    say,
)


def serve(
    host: Annotated[str | None, typer.Option(help="Address; DRIFTWARDEN_HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; DRIFTWARDEN_PORT, else 8000.", min=0, max=65535)] = None,
    jobs: Annotated[bool, typer.Option("--jobs/--no-jobs", help="Run the scheduled jobs in this process.")] = True,
) -> None:
    """Serve capture, metrics and pages, and run the jobs: driftwarden serve --port 8000."""
    import uvicorn

    from monitor.app import create_app
    from monitor.clock import SystemClock
    from monitor.logs import configure_logs
    from monitor.policy import load_policy
    from monitor.schedule import Schedule

    configure_logs()
    settings = read_settings()
    policy = load_policy(settings.policy_file)
    open_store(settings).dispose()
    schedule = Schedule(make_runner(settings, policy)) if jobs else None
    app = create_app(settings, policy, SystemClock())
    address, listening = host or settings.host, settings.port if port is None else port
    if schedule is not None:
        schedule.start()
    say(f"serving on http://{address}:{listening}, {'with' if jobs else 'without'} jobs (Ctrl-C ends)")
    try:
        uvicorn.run(app, host=address, port=listening, log_level="warning")
    finally:
        if schedule is not None:
            schedule.stop()


def run(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Run every due job once and end: for cron, or to catch up by hand."""
    from monitor.schedule import Schedule

    settings = read_settings()
    policy = policy_or_default(settings)
    schedule = Schedule(make_runner(settings, policy))
    leads = schedule.lead()
    recorded = schedule.tick() if leads else 0
    if as_json:
        print_json({"leads": leads, "recorded": recorded, "version": code_version()})
    else:
        say(f"{recorded} run(s) recorded" if leads else "another replica leads and runs the jobs")


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(serve)
    app.command()(run)
