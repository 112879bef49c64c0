"""What loading and embedding refuse."""

from monitor.errors import InputError, TryAgainLater


class EmbeddingError(InputError):
    """A checkpoint that cannot be loaded or run; the message names folder and file, or the value."""


class OutOfMemory(TryAgainLater):
    """One text alone needs more memory than there is now."""
