"""Build and store a model version's baseline."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from detectors.errors import DetectorError
from monitor import store
from monitor.clock import Clock, SystemClock
from monitor.errors import InputError
from monitor.jobs.arithmetic import grade_arithmetic
from monitor.jobs.baseline import Observations, build_reference, entropy_nats
from monitor.jobs.harm import correctness, known_outcomes
from monitor.jobs.segments import attribute_columns
from monitor.jobs.stream import ReferenceStream, reference_stream
from monitor.models import LoadedModel, require_pinned
from monitor.policy import DEFAULTS, DriftPolicy
from monitor.sketchfiles import SketchFile
from monitor.texts import TextTable

CHUNK = 4096
GATE_TEXTS = 2048


def observe(model: LoadedModel, table: TextTable, *, progress: Any = None) -> Observations:
    """Embed a table's texts; the model's own answers stand in where the table has no predictions."""
    encoded, answered = [], []
    for start in range(0, len(table.texts), CHUNK):
        texts = table.texts[start : start + CHUNK]
        pairs = None if table.pairs is None else table.pairs[start : start + CHUNK]
        if table.labels is None and model.encoder.has_head:
            vectors, predicted = model.encoder.encode_and_predict(texts, pairs)
            encoded.append(vectors)
            answered.append(predicted)
        else:
            encoded.append(model.encoder.encode(texts, pairs))
        if progress is not None:
            progress(start + len(texts), len(table.texts))
    labels: Sequence[str] | None = table.labels
    confidences, entropies = table.confidences, None
    if answered:
        labels = [label for part in answered for label in part.labels]
        probabilities = np.concatenate([part.probabilities for part in answered])
        confidences, entropies = probabilities.max(axis=1), entropy_nats(probabilities)
    correct = correctness(labels, table.truths)
    kept = np.flatnonzero(np.concatenate([one.finite for one in encoded]))
    return Observations(
        vectors=np.concatenate([one.vectors for one in encoded])[kept],
        texts=[table.texts[int(i)] for i in kept],
        labels=None if labels is None else [labels[int(i)] for i in kept],
        confidences=None if confidences is None else confidences[kept],
        entropies=None if entropies is None else entropies[kept],
        token_lengths=np.concatenate([one.token_counts for one in encoded])[kept],
        truncated=np.concatenate([one.truncated for one in encoded])[kept],
        unknown_shares=np.concatenate([one.unknown_shares for one in encoded])[kept],
        correct=None if correct is None else correct[kept],
        pairs=None if table.pairs is None else [table.pairs[int(i)] for i in kept],
        hours=None if table.hours is None else table.hours[kept],
        attributes=None if table.attributes is None else [table.attributes[int(i)] for i in kept],
    )


def build_baseline(
    model: LoadedModel,
    table: TextTable,
    *,
    engine: Engine,
    seed: int,
    minimum: int = DEFAULTS.drift.minimum_texts,
    run_length: DriftPolicy | None = None,
    native: LoadedModel | None = None,
    minimum_cosine: float = DEFAULTS.int8_minimum_cosine,
    accept_new_digest: bool = False,
    progress: Any = None,
    clock: Clock | None = None,
) -> store.StoredBaseline:
    """Embed the reference, fit the basis, and store both under their content digest.

    `native` is the same model in full precision, for a `model` in int8: the baseline keeps how far they agree on up to
    2,048 of its texts. Raises InputError when their median centred cosine is below `minimum_cosine`, for constant
    texts, for fewer than twice `minimum` texts, and for a model whose digest
    is not the one recorded for its version, unless the new one is accepted.
    A `run_length` policy has the reference's own windows judged and kept beside it: about 0.05 s each.
    """
    _require_enough(model, len(table.texts), minimum=minimum)
    if not accept_new_digest:
        _require_recorded_digest(engine, model)
    observed = observe(model, table, progress=progress)
    _require_enough(model, len(observed), minimum=minimum)
    agreement = None if native is None else _agreement(native, observed, seed=seed, minimum_cosine=minimum_cosine)
    try:
        reference = build_reference(observed, rng=np.random.default_rng(seed))
        stream = None if run_length is None else _stream(observed, run_length, seed=seed)
    except DetectorError as error:
        raise InputError(f"no baseline for {model.name}/{model.version}: {error}") from error
    basis, sketch = reference.basis.to_bytes(), reference.sketch.to_bytes()
    built = store.StoredBaseline(
        model=model.name,
        version=model.version,
        digest=_digest(model.model_digest, model.encoder.tokenizer_digest, model.encoder.numeric_mode, basis, sketch),
        numeric_mode=model.encoder.numeric_mode,
        model_digest=model.model_digest,
        tokenizer_digest=model.encoder.tokenizer_digest,
        basis=basis,
        reference=sketch,
        reference_texts=list(reference.texts),
        summary={
            "texts": len(observed),
            "distinct_texts": len(table.times_seen()),
            "repeated_ids": table.repeated_ids,
            "held_out": int(reference.sketch.n),
            "seed": seed,
            **known_outcomes(observed.correct, observed.confidences, held=reference.sketch.row_ids).as_summary(),
            "hourly": reference.hourly,
            "stream": None if stream is None else stream.as_summary(),
            "arithmetic": agreement,
            "attributes": attribute_columns(observed.attributes_of(reference.sketch.row_ids)),
        },
        created_at=(clock or SystemClock()).now().astimezone(UTC),
    )
    _save(engine, built)
    return built


def baseline_of_sketch(
    file: SketchFile,
    model: LoadedModel,
    *,
    engine: Engine,
    minimum: int = DEFAULTS.drift.minimum_texts,
    accept_new_digest: bool = False,
    clock: Clock | None = None,
) -> store.StoredBaseline:
    """Store a backfilled reference as a baseline. It holds no texts, labels or times: verdicts name fewer reasons.

    Raises InputError for a sketch of another model, one that was folded under an older reference's basis, or too few
    texts; and as `build_baseline` does for a digest that is not the recorded one.
    """
    name = f"{model.name}/{model.version}"
    if (file.model_digest, file.tokenizer_digest) != (model.model_digest, model.encoder.tokenizer_digest):
        raise InputError(
            f"the sketch is of {file.model}/{file.version} {file.model_digest} with tokenizer {file.tokenizer_digest}, "
            f"{name} has {model.model_digest} and {model.encoder.tokenizer_digest}"
        )
    if file.reference is not None:
        raise InputError(f"no baseline for {name}: the sketch was folded for another; backfill with --basis new")
    if file.sketch.n < minimum:
        raise InputError(f"no baseline for {name}: the sketch holds {file.sketch.n} texts, it needs {minimum} or more")
    if not accept_new_digest:
        _require_recorded_digest(engine, model)
    basis, sketch = file.basis.to_bytes(), file.sketch.to_bytes()
    built = store.StoredBaseline(
        model=model.name,
        version=model.version,
        digest=_digest(file.model_digest, file.tokenizer_digest, file.numeric_mode, basis, sketch),
        numeric_mode=file.numeric_mode,
        model_digest=file.model_digest,
        tokenizer_digest=file.tokenizer_digest,
        basis=basis,
        reference=sketch,
        reference_texts=[""] * len(file.sketch.row_ids),
        summary={
            "texts": int(file.sketch.n) + int(file.counts.get("fitted", 0)),
            "held_out": int(file.sketch.n),
            **known_outcomes(None, None, held=np.arange(0)).as_summary(),
            "hourly": None,
            "attributes": {},
        },
        created_at=(clock or SystemClock()).now().astimezone(UTC),
    )
    _save(engine, built)
    return built


def _digest(model_digest: str, tokenizer_digest: str, numeric_mode: str, basis: bytes, sketch: bytes) -> str:
    identity = f"{model_digest}\x1f{tokenizer_digest}\x1f{numeric_mode}"
    return "sha256:" + hashlib.sha256(identity.encode() + basis + sketch).hexdigest()


def _save(engine: Engine, built: store.StoredBaseline) -> None:
    with store.writing(engine) as session:
        store.upsert_version(
            session,
            store.StoredVersion(
                model=built.model,
                version=built.version,
                model_digest=built.model_digest,
                tokenizer_digest=built.tokenizer_digest,
            ),
        )
        store.save_baseline(session, built)
        judged = store.latest_run(session, job="drift", model=built.model, version=built.version)
        since = datetime.min.replace(tzinfo=UTC) if judged is None else judged.window_end
        store.release_embedded(
            session, model=built.model, version=built.version, baseline_digest=built.digest, since=since
        )  # windows without a verdict are judged by the new baseline, with all their texts


def _stream(observed: Observations, policy: DriftPolicy, *, seed: int) -> ReferenceStream:
    return reference_stream(
        observed,
        window_hours=policy.window_hours,
        alpha=policy.alpha,
        permutations=policy.permutations,
        minimum=policy.minimum_texts,
        rng=np.random.default_rng([seed, 1]),
    )


def _agreement(native: LoadedModel, observed: Observations, *, seed: int, minimum_cosine: float) -> dict[str, Any]:
    """Return how far the vectors agree with the native ones. Raises InputError below `minimum_cosine`."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(observed), size=min(len(observed), GATE_TEXTS), replace=False)
    pairs = None if observed.pairs is None else [observed.pairs[int(i)] for i in chosen]
    wanted = native.encoder.encode([observed.texts[int(i)] for i in chosen], pairs).vectors
    try:
        gate = grade_arithmetic(wanted, observed.vectors[chosen], rng=rng)
    except DetectorError as error:
        raise InputError(f"int8 of {native.name}/{native.version} cannot be graded: {error}") from error
    if gate.centred_cosine_median < minimum_cosine:
        raise InputError(
            f"no baseline for {native.name}/{native.version} in int8: the median centred cosine with fp32 is "
            f"{gate.centred_cosine_median:.4f}, int8_minimum_cosine = {minimum_cosine:g} is needed"
        )
    return gate.as_summary()


def _require_enough(model: LoadedModel, texts: int, *, minimum: int) -> None:
    if texts < 2 * minimum:
        raise InputError(
            f"no baseline for {model.name}/{model.version}: {texts} usable reference texts, at least {2 * minimum} are "
            f"needed, twice drift.minimum_texts = {minimum}: a third of them fixes the basis"
        )


def _require_recorded_digest(engine: Engine, model: LoadedModel) -> None:
    with Session(engine) as session:
        recorded = [one for one in store.versions(session) if (one.model, one.version) == (model.name, model.version)]
    for one in recorded:
        require_pinned(model.name, model.version, pinned=one.model_digest, found=model.model_digest)
