"""What an encoder has done since it was loaded, for metrics."""

from dataclasses import dataclass


@dataclass(slots=True)
class EncoderCounts:
    """Counters of one encoder; all but `load_seconds` only grow.

    texts : asked for; duplicates : of those, equal to another of the same call; cache_hits : of the distinct ones;
    tokens : computed, padding aside; padded_tokens : padding computed beside them (0 when packed); truncated and
    nonfinite : texts asked for that were cut, or whose vector is not finite; out_of_memory_retries : batches halved;
    compute_seconds : wall time in the model.
    """

    texts: int = 0
    duplicates: int = 0
    cache_hits: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    truncated: int = 0
    nonfinite: int = 0
    out_of_memory_retries: int = 0
    compute_seconds: float = 0.0
    load_seconds: float = 0.0

    @property
    def padding_share(self) -> float:
        """Share of computed tokens that were padding, 0 to 1."""
        return self.padded_tokens / max(self.tokens + self.padded_tokens, 1)
