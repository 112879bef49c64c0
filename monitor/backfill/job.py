"""Backfill: plan shards, run those that are not done, merge all of them into one file."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from detectors.sketch import Basis, Sketch, empty_sketch, merge
from monitor import store
from monitor.backfill.engines import ENGINES
from monitor.backfill.kernel import KERNEL
from monitor.backfill.reading import Reject
from monitor.backfill.shards import ROWS_PER_SHARD, Shard, choose_fitted, cut_shards
from monitor.backfill.sources import absolute, find_sources, public
from monitor.backfill.worker import FIT, Answer, Setup, fit_task, read_answer, shard_task
from monitor.clock import Clock, SystemClock
from monitor.errors import InputError, TooLittleData, TryAgainLater
from monitor.files import require_writable, write_failed, write_whole
from monitor.ingest import Progress
from monitor.models import PinnedModel
from monitor.policy import ModelPolicy
from monitor.sketchfiles import SketchFile, read_sketch_file

FIT_TEXTS = 8192
FIT_SHARDS = 64
MERGED_AT_ONCE = 16
LISTED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for; `basis` is auto (the stored baseline's, else a new one), new, or a sketch file."""

    inputs: Sequence[str]
    model: PinnedModel
    out: Path
    policy: ModelPolicy
    tracking_uri: str
    cache_dir: Path
    engine: str = "local"
    basis: str = "auto"
    device: str = "auto"
    threads: int | None = None
    tokenizer_workers: int | None = None
    workers: int = 0
    seed: int = 0
    rows_per_shard: int = ROWS_PER_SHARD
    restart: bool = False

    @property
    def run(self) -> str:
        """What the manifest knows this work by: the same inputs and model go on where they stopped."""
        return _digest([sorted(public(absolute(one)) for one in self.inputs), self.model.reference])

    @property
    def shown_inputs(self) -> str:
        """The inputs for a message, without secrets."""
        return ", ".join(public(one) for one in self.inputs)


@dataclass(frozen=True, slots=True)
class Backfilled:
    """The file as it was written, and how it came about; rejects are (file, row, reason), the first of them."""

    file: SketchFile
    shards: int
    reused: int
    rejects: tuple[Reject, ...]
    seconds: float
    embedded: int

    def as_json(self, request: Request) -> dict[str, Any]:
        """Return the shape that `backfill --json` prints."""
        return {
            "out": str(request.out),
            "engine": request.engine,
            "model": self.file.model,
            "version": self.file.version,
            "model_digest": self.file.model_digest,
            "numeric_mode": self.file.numeric_mode,
            "basis": self.file.sketch.basis_digest,
            "baseline": self.file.baseline_digest,
            "shards": self.shards,
            "shards_reused": self.reused,
            "counts": dict(self.file.counts),
            "rejects": [{"file": file, "row": row, "reason": reason} for file, row, reason in self.rejects],
            "embedded": self.embedded,
            "seconds": round(self.seconds, 3),
            "texts_per_second": round(self.embedded / self.seconds, 1) if self.seconds > 0 else 0.0,
        }


def backfill(
    request: Request, *, engine: Engine, progress: Progress | None = None, clock: Clock | None = None
) -> Backfilled:
    """Embed the inputs, fold them, and write the sketch whole or not at all.

    Every finished shard is kept in the database: after any end the same call computes the others alone, and writes the
    same bytes. Raises InputError, TooLittleData or TryAgainLater with one line.
    """
    started = time.monotonic()
    require_writable(request.out)
    shards = cut_shards(find_sources(request.inputs), rows_per_shard=request.rows_per_shard)
    if not shards:
        raise TooLittleData(f"{request.shown_inputs}: no rows")
    book = _Book(engine, request.run, clock or SystemClock())
    if request.restart:
        book.forget()
    frame = _known_frame(request, engine)
    fitted: Answer | None = None
    if frame is None:
        shards = choose_fitted(shards, texts=FIT_TEXTS, at_most_shards=FIT_SHARDS, seed=request.seed)
        fitted = _fitted(request, shards, book, progress=progress)
        frame = SketchFile.from_bytes(fitted.payload)
    kernel = _digest(
        [KERNEL, frame.model_digest, frame.tokenizer_digest, frame.numeric_mode, frame.sketch.basis_digest]
    )
    done = book.finished(kernel)
    waiting = [shard for shard in shards if shard.key not in done]
    advance = _Counting(progress, sum(shard.rows - len(shard.fitted) for shard in waiting))
    by_key = {shard.key: shard for shard in waiting}
    bare = replace(frame, sketch=empty_sketch(frame.basis), reference=None)
    setup = _setup(request, bare.to_bytes())
    for answer in _run(request, setup, [shard_task(shard) for shard in waiting], advance=advance.texts):
        book.record(answer, kernel)
        advance.shard(by_key[answer.key])
    done = book.finished(kernel)
    sketch = _merged(book.payload(shard.key, kernel) for shard in shards)
    counts, rejects = _summed(shards, done, fitted)
    if not sketch.n:
        raise TooLittleData(f"{request.shown_inputs}: no row could be folded, {counts['rejected']} were refused")
    written = replace(frame, sketch=sketch, counts=counts)
    try:
        write_whole(request.out, written.to_bytes())
    except OSError as error:
        raise write_failed(
            request.out, error, remedy="every shard is kept: run the same command again with a place that has room"
        ) from error
    embedded = sum(shard.rows - len(shard.fitted) for shard in waiting)
    return Backfilled(written, len(shards), len(shards) - len(waiting), rejects, time.monotonic() - started, embedded)


class _Book:
    """The manifest of one run."""

    def __init__(self, engine: Engine, run: str, clock: Clock) -> None:
        self._engine, self._run, self._clock = engine, run, clock

    def finished(self, kernel: str) -> dict[str, store.FinishedShard]:
        with Session(self._engine) as session:
            return store.finished_shards(session, run=self._run, kernel_digest=kernel)

    def payload(self, key: str, kernel: str) -> bytes:
        with Session(self._engine) as session:
            return store.shard_payload(session, run=self._run, shard=key, kernel_digest=kernel)

    def record(self, answer: Answer, kernel: str) -> None:
        finished = store.FinishedShard(answer.key, kernel, answer.counts, answer.rejects)
        with store.writing(self._engine) as session:
            store.record_shard(session, run=self._run, finished=finished, payload=answer.payload, at=self._clock.now())

    def forget(self) -> None:
        with store.writing(self._engine) as session:
            store.forget_shards(session, run=self._run)


class _Counting:
    """Counts texts towards a progress bar: as they are embedded here, or else by whole shards."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done, self._here = progress, total, 0, False

    def texts(self, count: int) -> None:
        self._here = True
        self._add(count)

    def shard(self, shard: Shard) -> None:
        if not self._here:
            self._add(shard.rows - len(shard.fitted))

    def _add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _known_frame(request: Request, engine: Engine) -> SketchFile | None:
    """Return the basis that is there already, with the identity of its vectors; None where one must be fitted."""
    if request.basis == "new":
        return None
    if request.basis != "auto":
        given = read_sketch_file(Path(request.basis))
        if given.model_digest != request.model.model_digest:
            raise InputError(
                f"{request.basis} was made with the model {given.model}/{given.version} {given.model_digest}, "
                f"{request.model.reference} holds {request.model.model_digest}"
            )
        return replace(given, reference=given.reference or given.sketch)
    with Session(engine) as session:
        stored = store.latest_baseline(session, model=request.model.name, version=request.model.version)
    if stored is None:
        return None
    basis, reference = Basis.from_bytes(stored.basis), Sketch.from_bytes(stored.reference)
    return SketchFile(
        model=stored.model,
        version=stored.version,
        model_digest=stored.model_digest,
        tokenizer_digest=stored.tokenizer_digest,
        numeric_mode=stored.numeric_mode,
        basis=basis,
        sketch=reference,
        reference=reference,
        baseline_digest=stored.digest,
    )


def _setup(request: Request, frame: bytes) -> Setup:
    return Setup(
        reference=request.model.reference,
        tracking_uri=request.tracking_uri,
        cache_dir=str(request.cache_dir.absolute()),
        pooling=request.policy.pooling,
        max_length=request.policy.max_length,
        device=request.device,
        model_digest=request.model.model_digest,
        frame=frame,
        arithmetic=request.policy.arithmetic,
        threads=request.threads,
        tokenizer_workers=request.tokenizer_workers,
    )


def _run(request: Request, setup: Setup, tasks: Sequence[str], *, advance: Any) -> Iterable[Answer]:
    if not tasks:
        return
    for header, payload in ENGINES[request.engine](setup, tasks, workers=request.workers, advance=advance):
        yield read_answer(header, payload)


def _fitted(request: Request, shards: Sequence[Shard], book: _Book, *, progress: Progress | None) -> Answer:
    """Return the basis that these shards were or are fitted on, by the same engine that will fold them."""
    model, policy = request.model.model_digest, request.policy
    rows = [[shard.key, *shard.fitted] for shard in shards]
    kernel = _digest([KERNEL, FIT, model, policy.pooling, policy.max_length, policy.arithmetic, request.seed, rows])
    kept = book.finished(kernel).get(FIT)
    if kept is None:
        advance = _Counting(progress, sum(len(shard.fitted) for shard in shards))
        task = fit_task(shards, seed=request.seed)
        (answer,) = _run(request, _setup(request, b""), [task], advance=advance.texts)
        book.record(answer, kernel)
        kept = book.finished(kernel).get(FIT)  # another process may have been first: all go on with that one
    if kept is None:
        raise TryAgainLater("the basis is gone from the database; run the same command again")
    return Answer(FIT, dict(kept.counts), tuple(kept.rejects), book.payload(FIT, kernel))


def _merged(payloads: Iterable[bytes]) -> Sketch:
    """Merge in the order of the shards, some at a time: the same bytes, whoever computed them when."""
    held: list[Sketch] = []
    for payload in payloads:
        held.append(Sketch.from_bytes(payload))
        if len(held) == MERGED_AT_ONCE:
            held = [merge(held)]
    return merge(held)


def _summed(
    shards: Sequence[Shard], done: dict[str, store.FinishedShard], fitted: Answer | None
) -> tuple[dict[str, int], tuple[Reject, ...]]:
    totals: Counter[str] = Counter(texts=sum(shard.rows for shard in shards), fitted=0)
    rejects: list[Reject] = []
    parts: list[Answer | store.FinishedShard] = [done[shard.key] for shard in shards]
    for part in [*parts, *([] if fitted is None else [fitted])]:
        totals.update(part.counts)
        rejects += part.rejects
    return dict(sorted(totals.items())), tuple(sorted(rejects)[:LISTED])


def _digest(parts: Any) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
