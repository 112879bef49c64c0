"""The kernel that every engine runs: batches of texts in, one partial sketch out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from detectors.sketch import Basis, Sketch, empty_sketch, fit_basis, merge
from monitor.backfill.reading import TextBatch
from monitor.jobs.baseline import Labelled, Observations, fold_observations, known_entropies

if TYPE_CHECKING:
    from monitor.embed import Encoded

KERNEL = "2"  # counts up when the same rows would give another sketch


class TextEncoder(Labelled, Protocol):
    """What the kernel asks of an encoder; see monitor.embed.Encoder."""

    def encode(self, texts: Sequence[str], pairs: Sequence[str | None] | None = None) -> "Encoded[Any]":
        """Embed n texts or pairs of texts; the vectors come to the host."""
        ...

    def encode_in_place(self, texts: Sequence[str], pairs: Sequence[str | None] | None = None) -> "Encoded[Any]":
        """Embed n texts or pairs of texts; the vectors stay where they are folded."""
        ...

    def stream_in_place(
        self, batches: Iterable[tuple[Sequence[str], Sequence[str | None] | None]]
    ) -> "Iterator[Encoded[Any]]":
        """Embed batches as `encode_in_place` does, in order; batches may be read ahead, in a thread."""
        ...


@dataclass(frozen=True, slots=True)
class PartialSketch:
    """The sketch of a shard and what was counted; `n` rows folded, the non-finite ones left out."""

    sketch: Sketch
    tokens: int
    truncated: int
    nonfinite: int

    def counts(self) -> dict[str, int]:
        """Return what adds up over shards."""
        return {
            "n": self.sketch.n,
            "tokens": self.tokens,
            "truncated": self.truncated,
            "nonfinite": self.nonfinite,
        }


def embed_shard(
    batches: Iterable[TextBatch],
    encoder: TextEncoder,
    basis: Basis,
    *,
    advance: Callable[[int], None] | None = None,
) -> PartialSketch:
    """Embed batches and fold them; partial sketches of any cut of the rows merge to the sketch of all of them.

    Memory is that of a few batches: one folds while the next is embedded and a third is read, so that an accelerator
    need not wait.
    `advance` hears how many texts each batch had.
    """
    sketch, tokens, truncated, nonfinite = empty_sketch(basis), 0, 0, 0
    folding: list[Future[Sketch]] = []
    with ThreadPoolExecutor(1) as beside:
        for batch, encoded in _encoded(batches, encoder):
            observed, finite = _observed(batch, encoder, encoded), encoded.finite
            sketch = merge([sketch, *(part.result() for part in folding)])
            chosen = np.flatnonzero(finite)
            folding = [beside.submit(fold_observations, basis, observed, row_ids=batch.row_ids, chosen=chosen)]
            tokens += 0 if observed.token_lengths is None else int(observed.token_lengths.sum())
            truncated += 0 if observed.truncated is None else int(observed.truncated.sum())
            nonfinite += int((~finite).sum())
            if advance is not None:
                advance(len(batch.texts))
        sketch = merge([sketch, *(part.result() for part in folding)])
    return PartialSketch(sketch, tokens, truncated, nonfinite)


def fit_on(batches: Iterable[TextBatch], encoder: TextEncoder, *, seed: int) -> tuple[Basis, int]:
    """Fit a basis on batches; return it with the number of texts it was fitted on.

    Those texts must not be folded under it: they lie closer to its cells than new ones can.
    Raises DetectorInputError for too few texts or texts that are all the same.
    """
    vectors, labels = [], set()
    for batch in batches:
        encoded = encoder.encode(batch.texts, batch.pairs)
        vectors.append(encoded.vectors[encoded.finite])
        labels |= {label for label in batch.labels or () if label is not None}
    rows = np.concatenate(vectors) if vectors else np.zeros((0, 1), dtype=np.float32)
    return fit_basis(rows, rng=np.random.default_rng(seed), classes=sorted(labels)), len(rows)


def _encoded(batches: Iterable[TextBatch], encoder: TextEncoder) -> "Iterator[tuple[TextBatch, Encoded[Any]]]":
    read: deque[TextBatch] = deque()

    def given() -> Iterator[tuple[Sequence[str], Sequence[str | None] | None]]:
        for batch in batches:
            read.append(batch)
            yield batch.texts, batch.pairs

    for encoded in encoder.stream_in_place(given()):
        yield read.popleft(), encoded


def _observed(batch: TextBatch, encoder: TextEncoder, encoded: "Encoded[Any]") -> Observations:
    return Observations(
        vectors=encoded.vectors,
        texts=(),
        labels=batch.labels,
        confidences=batch.confidences,
        entropies=None if batch.scores is None else known_entropies(batch.scores, encoder=encoder),
        token_lengths=encoded.token_counts,
        truncated=encoded.truncated,
        unknown_shares=encoded.unknown_shares,
    )
