"""`serve`, `run`: the service, and its due jobs once."""

from typing import Annotated

import typer

from monitor.commands.common import JsonFlag, code_version, print_json, read_settings, say
from monitor.commands.listening import address_of, end_on_sigterm, listen, serve_until_signalled
from monitor.commands.opening import make_runner, open_models, open_store
from monitor.errors import DriftwardenError, TryAgainLater


def serve(
    host: Annotated[str | None, typer.Option(help="Address; DRIFTWARDEN_HOST, else 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; DRIFTWARDEN_PORT, else 8000.", min=0, max=65535)] = None,
    jobs: Annotated[bool, typer.Option("--jobs/--no-jobs", help="Run the scheduled jobs in this process.")] = True,
) -> None:
    """Serve capture, metrics and pages, and run the jobs.

    Example: driftwarden serve --port 8000. SIGTERM ends with 0, Ctrl-C with 130.
    """
    from monitor.app import create_app
    from monitor.clock import SystemClock
    from monitor.logs import configure_logs
    from monitor.policy import load_policy
    from monitor.schedule import Schedule

    configure_logs()
    settings = read_settings()
    policy = load_policy(settings.policy_file)
    open_store(settings, first_use=True).dispose()
    with listen(host or settings.host, settings.port if port is None else port) as listening:
        models = open_models(settings, first_use=True) if jobs else None
        schedule = None if models is None else Schedule(make_runner(settings, policy, models=models))
        encoders = None if models is None else models.encoder_counts
        app = create_app(settings, policy, SystemClock(), encoders=encoders)
        end_on_sigterm()
        say(f"serving on {address_of(listening)}, {'with' if jobs else 'without'} jobs (Ctrl-C ends)")
        try:
            if schedule is not None:
                schedule.start()
            serve_until_signalled(app, listening)
        finally:
            if schedule is not None:
                schedule.stop()


def run(as_json: JsonFlag = False) -> None:
    """Run every due job once and end.

    For cron, or to catch up by hand. Exits 1 when a run failed, with its error on stderr, and 75 when another
    replica leads.
    """
    from monitor.policy import load_policy
    from monitor.schedule import Schedule

    settings = read_settings()
    recorded = Schedule(make_runner(settings, load_policy(settings.policy_file))).run_once()
    failed = [] if recorded is None else [one for one in recorded if one.status == "failed"]
    if as_json:
        print_json(
            {
                "leads": recorded is not None,
                "recorded": len(recorded or ()),
                "failed": [
                    {"job": one.job, "model": one.model, "version": one.version, "error": one.error} for one in failed
                ],
                "version": code_version(),
            }
        )
    if recorded is None:
        raise TryAgainLater("another replica leads and runs the jobs")
    if not as_json:
        say(f"{len(recorded)} run(s) recorded, {len(failed)} failed")
    if failed:
        told = "; ".join(dict.fromkeys(f"{one.job} of {one.model}/{one.version}: {one.error}" for one in failed))
        raise DriftwardenError(told)


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(serve)
    app.command()(run)
