"""What runs beside a model, on this machine or another: tasks in, answers out, errors of ours told as answers."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from detectors.basis import MINIMUM_TEXTS
from detectors.errors import DetectorError
from detectors.sketch import Basis, empty_sketch
from monitor.backfill.kernel import embed_shard, fit_on
from monitor.backfill.reading import Reject, Rejects, TextBatch, UnreadableShard, read_windows
from monitor.backfill.shards import Shard
from monitor.errors import DriftwardenError, InputError, TooLittleData, TryAgainLater
from monitor.models import LoadedModel, load_reference
from monitor.policy import ModelPolicy
from monitor.sketchfiles import SketchFile

Advance = Callable[[int], None]
TASKS = pa.schema([("task", pa.string())])
ANSWERS = pa.schema([("header", pa.string()), ("payload", pa.large_binary())])
FIT = "basis"
_ERRORS = (InputError, TooLittleData, TryAgainLater)


@dataclass(frozen=True, slots=True)
class Setup:
    """How a worker loads the model, and what it must then be; `frame` is empty where the basis is yet to be fitted."""

    reference: str
    tracking_uri: str
    cache_dir: str
    pooling: str
    max_length: int | None
    device: str
    model_digest: str
    frame: bytes = b""
    arithmetic: str = "native"
    threads: int | None = None
    tokenizer_workers: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a task: the shard's key, its counts, its refused rows, and its sketch or basis."""

    key: str
    counts: dict[str, int]
    rejects: tuple[Reject, ...]
    payload: bytes

    def header(self) -> str:
        """Return all but the payload as JSON."""
        return json.dumps({"key": self.key, "counts": self.counts, "rejects": self.rejects})


def shard_task(shard: Shard) -> str:
    """Return the task of folding a shard."""
    return json.dumps({"shard": shard.to_json()})


def fit_task(shards: Sequence[Shard], *, seed: int) -> str:
    """Return the task of fitting a basis on the shards' chosen rows."""
    return json.dumps({"fit": [shard.to_json() for shard in shards if shard.fitted], "seed": seed})


def read_answer(header: str, payload: bytes) -> Answer:
    """Read an answer. Raises the error that the worker told."""
    found = json.loads(header)
    if "error" in found:
        raise next(kind for kind in _ERRORS if kind.__name__ == found["kind"])(found["error"])
    rejects = tuple((str(file), int(row), str(reason)) for file, row, reason in found["rejects"])
    return Answer(found["key"], found["counts"], rejects, payload)


class Worker:
    """A loaded model with the frame it folds under."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._model: LoadedModel | None = None
        self._frame = SketchFile.from_bytes(setup.frame) if setup.frame else None

    def answer(self, task: str, advance: Advance | None = None) -> tuple[str, bytes]:
        """Return the header and payload of a task's answer."""
        asked = json.loads(task)
        try:
            model = self._load()
            if "fit" in asked:
                shards = [Shard.from_json(one) for one in asked["fit"]]
                done = _fit(shards, model, seed=asked["seed"], advance=advance)
            else:
                assert self._frame is not None  # noqa: S101 the driver fits before it folds
                done = _fold(Shard.from_json(asked["shard"]), model, self._frame.basis, advance=advance)
        except DriftwardenError as error:
            kind = next((one for one in _ERRORS if isinstance(error, one)), TryAgainLater)
            return json.dumps({"error": str(error), "kind": kind.__name__}), b""
        return done.header(), done.payload

    def answers(self, tasks: Iterable[str]) -> Any:
        """Return the answers of tasks as a record batch of ANSWERS."""
        done = [self.answer(task) for task in tasks]
        return pa.RecordBatch.from_arrays(
            [
                pa.array([header for header, _ in done], pa.string()),
                pa.array([payload for _, payload in done], pa.large_binary()),
            ],
            schema=ANSWERS,
        )

    def _load(self) -> LoadedModel:
        if self._model is None:
            setup = self._setup
            policy = ModelPolicy.model_validate(
                {
                    "version": "0",
                    "pooling": setup.pooling,
                    "max_length": setup.max_length,
                    "arithmetic": setup.arithmetic,
                }
            )
            loaded = load_reference(
                setup.reference,
                tracking_uri=setup.tracking_uri,
                cache_dir=Path(setup.cache_dir),
                policy=policy,
                device=setup.device,
                threads=setup.threads,
                tokenizer_workers=setup.tokenizer_workers,
            )
            _require_like(loaded, setup, self._frame)
            self._model = loaded
        return self._model


@lru_cache(maxsize=1)
def worker_for(setup: Setup) -> Worker:
    """Return this process's worker: a model is loaded once, however many tasks come."""
    return Worker(setup)


def _require_like(model: LoadedModel, setup: Setup, frame: SketchFile | None) -> None:
    wanted = [("model digest", setup.model_digest, model.model_digest)]
    if frame is not None:
        wanted += [
            ("tokenizer digest", frame.tokenizer_digest, model.encoder.tokenizer_digest),
            ("numeric mode", frame.numeric_mode, model.encoder.numeric_mode),
        ]
    differing = [f"{what} mismatch: wanted {asked}, loaded {found}" for what, asked, found in wanted if asked != found]
    if differing:
        raise InputError(
            f"{setup.reference}: {'; '.join(differing)}; unlike embeddings are never put together "
            "(use the same device, or --restart)"
        )


def _fold(shard: Shard, model: LoadedModel, basis: Basis, *, advance: Advance | None) -> Answer:
    rejects = Rejects()
    try:
        partial = embed_shard(read_windows(shard, rejects), model.encoder, basis, advance=advance)
        counts, sketch = partial.counts(), partial.sketch
    except UnreadableShard as error:
        rejects = Rejects()
        last = shard.first_row + shard.rows
        left_out = shard.rows - len(shard.fitted)
        rejects.add(shard.name, shard.first_row + 1, f"rows up to {last}: {error}", rows=left_out)
        counts, sketch = {"n": 0, "tokens": 0, "truncated": 0, "nonfinite": 0}, empty_sketch(basis)
    counts |= {"rejected": rejects.count}
    return Answer(shard.key, counts, tuple(rejects.listed), sketch.to_bytes())


def _fit(shards: Sequence[Shard], model: LoadedModel, *, seed: int, advance: Advance | None) -> Answer:
    rejects, seen = Rejects(), Counter[str]()

    def batches() -> Iterator[TextBatch]:
        for shard in shards:
            before = seen["texts"] + rejects.count
            try:
                for batch in read_windows(shard, rejects, fitted=True):
                    seen["texts"] += len(batch.texts)
                    yield batch
                    if advance is not None:
                        advance(len(batch.texts))
            except UnreadableShard as error:
                unread = len(shard.fitted) - (seen["texts"] + rejects.count - before)
                rejects.add(shard.name, shard.first_row + 1, f"{unread} rows of the basis: {error}", rows=unread)

    try:
        basis, texts = fit_on(batches(), model.encoder, seed=seed)
    except DetectorError as error:
        kind = TooLittleData if seen["texts"] < MINIMUM_TEXTS else InputError
        raise kind(f"no basis can be fitted on the input: {error}") from error
    frame = SketchFile(
        model=model.name,
        version=model.version,
        model_digest=model.model_digest,
        tokenizer_digest=model.encoder.tokenizer_digest,
        numeric_mode=model.encoder.numeric_mode,
        basis=basis,
        sketch=empty_sketch(basis),
    )
    counts = {"fitted": texts, "rejected": rejects.count, "nonfinite": seen["texts"] - texts}
    return Answer(FIT, counts, tuple(rejects.listed), frame.to_bytes())
