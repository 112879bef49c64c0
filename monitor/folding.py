"""Embed stored predictions with the registered model and fold them into hourly sketches."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from detectors.sketch import Sketch, merge
from monitor import store
from monitor.clock import floor_to
from monitor.errors import InputError
from monitor.jobs.baseline import Observations, fold_observations, known_entropies
from monitor.models import LoadedModel
from monitor.results import Loaded

HOUR = timedelta(hours=1)


def require_like(baseline: store.StoredBaseline, model: LoadedModel) -> None:
    """Refuse to compare unlike vectors. Raises InputError naming all that differs, the tokenizer first."""
    differing = [
        f"{what} mismatch: baseline {stored}, loaded {now}"
        for what, stored, now in (
            ("tokenizer digest", baseline.tokenizer_digest, model.encoder.tokenizer_digest),
            ("model digest", baseline.model_digest, model.model_digest),
            ("numeric mode", baseline.numeric_mode, model.encoder.numeric_mode),
        )
        if stored != now
    ]
    if differing:
        raise InputError(
            f"{baseline.model}/{baseline.version}: {'; '.join(differing)}; unlike embeddings are never compared"
        )


def embed_batch(
    waiting: Sequence[store.StoredPrediction], loaded: Loaded, model: LoadedModel, *, name: str, version: str
) -> list[store.NewSketch]:
    """Embed predictions of a model version and fold them into one partial sketch an hour, in the order of the hours.

    Only the uniform sample folds: texts kept for a class floor alone would shift the mix without any drift.
    """
    encoded = model.encoder.encode_in_place(
        [prediction.text or "" for prediction in waiting], [prediction.text_pair for prediction in waiting]
    )
    hours: dict[datetime, list[int]] = {}
    for position, prediction in enumerate(waiting):
        hours.setdefault(floor_to(prediction.timestamp, HOUR), []).append(position)
    observed = Observations(
        vectors=encoded.vectors,
        texts=(),
        labels=[prediction.label for prediction in waiting],
        confidences=np.array(
            [np.nan if prediction.confidence is None else prediction.confidence for prediction in waiting]
        ),
        entropies=known_entropies([prediction.scores for prediction in waiting], encoder=model.encoder),
        token_lengths=encoded.token_counts,
        truncated=encoded.truncated,
        unknown_shares=encoded.unknown_shares,
    )
    row_ids = np.array([prediction.id for prediction in waiting], dtype=np.int64)
    uniform = np.array([prediction.representative for prediction in waiting])
    checked = np.array([p.token_count is not None or p.tokenizer_digest is not None for p in waiting])
    mismatched = token_mismatches(waiting, encoded.token_counts, model)
    sketches = []
    for hour, positions in sorted(hours.items()):
        members = np.array(positions, dtype=np.int64)
        sampled = members[uniform[members]]
        folded = sampled[encoded.finite[sampled]]
        sketches.append(
            store.NewSketch(
                model=name,
                version=version,
                hour=hour,
                segment="",
                baseline_digest=loaded.stored.digest,
                n=len(folded),
                truncated=int(encoded.truncated[members].sum()),
                nonfinite=len(sampled) - len(folded),
                token_checked=int(checked[members].sum()),
                token_mismatched=int(mismatched[members].sum()),
                payload=fold_observations(loaded.basis, observed, row_ids=row_ids, chosen=folded).to_bytes(),
            )
        )
    return sketches


def token_mismatches(
    waiting: Sequence[store.StoredPrediction], token_counts: npt.NDArray[np.int64], model: LoadedModel
) -> npt.NDArray[np.bool_]:
    """Return which predictions the server tokenised otherwise than the registered tokenizer, (n,).

    A server that truncates reports the model's own maximum for a longer text: that is no mismatch.
    """
    longest = model.encoder.model_max_length
    return np.array(
        [
            (p.token_count is not None and p.token_count not in {int(count), min(int(count), longest)})
            or (p.tokenizer_digest is not None and p.tokenizer_digest != model.encoder.tokenizer_digest)
            for p, count in zip(waiting, token_counts, strict=True)
        ],
        dtype=np.bool_,
    )


def join_payloads(first: bytes, second: bytes) -> bytes:
    """Return the sketch of both sketches' rows."""
    return merge([Sketch.from_bytes(first), Sketch.from_bytes(second)]).to_bytes()
