"""The `driftwarden` command: parses, calls one function, prints, and turns errors into one line and an exit code."""

import sys
import traceback
from typing import Annotated

import typer

from monitor.commands import audit, backfill, capture, demo, governance, judge, quality, serve, slo, suites
from monitor.commands.common import code_version, say
from monitor.commands.opening import told
from monitor.errors import EXIT_FAILURE, EXIT_INPUT, EXIT_INTERRUPTED, EXIT_OK, DriftwardenError

app = typer.Typer(
    name="driftwarden",
    help="Drift monitoring and governance for RoBERTa-family text models.",
    epilog="Exit codes: 0 fine, 1 unexpected failure, 2 usage or input error, 3 drift found, 4 too little data, "
    "75 try again later, 130 interrupted.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: no boxes, and flags without a type
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
_shown = {"traceback": False}


def _version(asked: bool) -> None:
    if asked:
        say(f"driftwarden {code_version()}")
        raise typer.Exit(EXIT_OK)


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected failure.")] = False,
    version: Annotated[  # noqa: ARG001 its callback answers
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    _shown["traceback"] = debug
    if context.invoked_subcommand is None:
        sys.stderr.write(context.get_help() + "\n")
        raise typer.Exit(EXIT_INPUT)


for _room in (demo, capture, judge, quality, suites, audit, backfill, serve, governance, slo):
    _room.register(app)


def main() -> None:
    """Run the command line; the only place where an unexpected error is caught and named."""
    try:
        ended = app(prog_name="driftwarden", standalone_mode=False)
    except typer.TyperException as error:
        sys.exit(_say(_usage(error), error.exit_code))
    except DriftwardenError as error:
        sys.exit(_say(error, error.exit_code))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the outermost boundary: one line, exit 1, traceback on demand
        if _shown["traceback"]:
            traceback.print_exc()
        ours = told(error)
        if ours is not None:
            sys.exit(_say(ours, ours.exit_code))
        sys.exit(_say(f"unexpected {type(error).__name__}: {error} (--debug shows the traceback)", EXIT_FAILURE))
    sys.exit(ended if isinstance(ended, int) else EXIT_OK)


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = "driftwarden" if context is None else context.command_path
    return f"{error.format_message()} ({command} --help shows the usage)"


def _say(error: object, code: int) -> int:
    print(f"driftwarden: {' '.join(str(error).split())}", file=sys.stderr)
    return code
