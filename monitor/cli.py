"""The `driftwarden` command: parses, calls one function, prints, and turns errors into one line and an exit code."""

import sys
import traceback
from typing import Annotated

import typer

from monitor.commands import capture, demo, governance, judge, serve
from monitor.errors import EXIT_FAILURE, EXIT_INTERRUPTED, DriftwardenError

app = typer.Typer(
    name="driftwarden",
    help="Drift monitoring and governance for RoBERTa-family text models.",
    epilog="Exit codes: 0 fine, 1 unexpected failure, 2 usage or input error, 3 drift found, 4 too little data, "
    "75 try again later, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_shown = {"traceback": False}


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected failure.")] = False,
) -> None:
    _shown["traceback"] = debug


for _room in (demo, capture, judge, serve, governance):
    _room.register(app)


def main() -> None:
    """Run the command line; the only place where an unexpected error is caught and named."""
    try:
        app()
    except DriftwardenError as error:
        sys.exit(_say(error, error.exit_code))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the outermost boundary: one line, exit 1, traceback on demand
        if _shown["traceback"]:
            traceback.print_exc()
        sys.exit(_say(f"unexpected {type(error).__name__}: {error} (--debug shows the traceback)", EXIT_FAILURE))


def _say(error: object, code: int) -> int:
    print(f"driftwarden: {' '.join(str(error).split())}", file=sys.stderr)
    return code
