"""What loading and embedding refuse."""


class EmbeddingError(Exception):
    """A checkpoint that cannot be loaded or run; the message names folder and file, or the value."""
