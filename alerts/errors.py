"""What this room raises."""


class AlertingError(Exception):
    """Base of every error of this room."""


class SloRefused(AlertingError, ValueError):
    """An objective or a window that could never alarm or never reset; the message says which and why."""
