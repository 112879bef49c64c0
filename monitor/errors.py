"""The errors driftwarden shows its users: one line, the offending value named, an exit code."""

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_INPUT = 2
EXIT_DRIFT = 3
EXIT_TOO_LITTLE_DATA = 4
EXIT_TRY_AGAIN = 75
EXIT_INTERRUPTED = 130


class DriftwardenError(Exception):
    """An error with a one-line message and the exit code a command ends with."""

    exit_code = EXIT_FAILURE


class InputError(DriftwardenError):
    """The user's input or configuration is wrong; the message names file, field and value."""

    exit_code = EXIT_INPUT


class TooLittleData(DriftwardenError):
    """The input is right and holds too little to answer."""

    exit_code = EXIT_TOO_LITTLE_DATA


class TryAgainLater(DriftwardenError):
    """Something outside (registry, database) is not there now."""

    exit_code = EXIT_TRY_AGAIN


def one_line(error: BaseException) -> str:
    """Return what an error says in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200]
