"""Tokenise in processes of their own, where a GPU is faster than one process can tokenise for it."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog

from monitor.embed.loading import load_tokenizer, quiet
from monitor.embed.tokenising import Key, Tokeniser, Tokens
from monitor.signals import end_with_parent, interrupts_held

GPU_WORKERS = 5  # 2.3 million tokens a second, at half a million a core
LEAST_TEXTS = 1024  # fewer are tokenised here: a worker would cost more than it spares
PARTS_PER_WORKER = 2
LEAST_PART = 256

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PackedTokens:
    """Tokens in the form that crosses between processes: ids int32 end to end, lengths int32 (n,)."""

    ids: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    unknown_shares: npt.NDArray[np.float64]


class PooledTokeniser:
    """A tokeniser that shares its texts among processes; the ids are those of the tokeniser it is given.

    Processes start with the first call that is worth it, and end with this object or this process. When one is killed
    its texts, and all later ones, are tokenised here: slower, and nothing is lost.
    """

    def __init__(self, here: Tokeniser, *, folder: Path, vocabulary_size: int, workers: int) -> None:
        self._here, self._folder, self._vocabulary_size = here, folder, vocabulary_size
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __call__(self, keys: Sequence[Key], *, max_length: int) -> Tokens:
        """Tokenise n inputs, each to at most `max_length` ids."""
        if not self._workers or len(keys) < LEAST_TEXTS:
            return self._here(keys, max_length=max_length)
        size = max(LEAST_PART, -(-len(keys) // (self._workers * PARTS_PER_WORKER)))
        parts = [keys[start : start + size] for start in range(0, len(keys), size)]
        try:
            with interrupts_held():  # Ctrl-C is the main process's to answer
                coming = [self._started().submit(_tokenise, part, max_length) for part in parts]
            return unpacked([one.result() for one in coming])
        except (BrokenProcessPool, OSError) as error:
            log.warning("tokenizer_workers_lost", workers=self._workers, reason=str(error))
            self.close()
            return self._here(keys, max_length=max_length)

    def close(self) -> None:
        """End the processes; later texts are tokenised here."""
        self._workers = 0
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=multiprocessing.get_context("spawn"),  # a forked process would share threads and CUDA
                initializer=_open,
                initargs=(str(self._folder), self._vocabulary_size),
            )
        return self._pool


def packed(tokens: Tokens) -> PackedTokens:
    """Return tokens in the form that crosses between processes."""
    lengths = np.array([len(one) for one in tokens.ids], dtype=np.int32)
    ids = np.concatenate([*tokens.ids, np.zeros(0, dtype=np.int64)]).astype(np.int32)
    return PackedTokens(ids, lengths, tokens.counts, tokens.unknown_shares)


def unpacked(parts: Sequence[PackedTokens]) -> Tokens:
    """Return the tokens of all parts in their order; the ids are views of one array."""
    ids = np.concatenate([part.ids for part in parts]).astype(np.int64)
    ends = np.cumsum(np.concatenate([part.lengths for part in parts]), dtype=np.int64).tolist()
    return Tokens(
        [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)],
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.unknown_shares for part in parts]),
    )


def default_workers(device_type: str, *, sharing: int = 1) -> int:
    """Return how many processes tokenise for a device, where so many (`sharing`) use this machine: none for a CPU."""
    cores = len(os.sched_getaffinity(0)) // sharing
    return max(min(GPU_WORKERS, cores - 1), 0) if device_type == "cuda" else 0


_opened: list[Tokeniser] = []  # this process's own, where it is a worker


def _open(folder: str, vocabulary_size: int) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a worker is a core
    end_with_parent()
    quiet()
    _opened.append(Tokeniser(load_tokenizer(Path(folder), vocabulary_size=vocabulary_size)))


def _tokenise(keys: Sequence[Key], max_length: int) -> PackedTokens:
    return packed(_opened[0](keys, max_length=max_length))
