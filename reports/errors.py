"""What this room refuses."""


class ReportError(Exception):
    """Base of every error of this room."""


class ReportInputError(ReportError, ValueError):
    """A report was asked for from values that cannot be shown."""
