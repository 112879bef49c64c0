"""`driftwarden compare`: two files in, one verdict out, no database."""

from pathlib import Path

import numpy as np

from detectors.errors import DetectorError
from monitor.baseline import observe
from monitor.errors import InputError
from monitor.jobs.baseline import Observations, build_reference, fold_observations
from monitor.jobs.drift import DriftInputs, Judgement, judge
from monitor.models import load_reference
from monitor.policy import DEFAULTS
from monitor.settings import Settings
from monitor.texts import load_embeddings, load_texts

PERMUTATIONS = 1999


def compare_files(
    reference: Path, current: Path, *, model: str | None, alpha: float, seed: int, settings: Settings
) -> Judgement:
    """Compare two files of embeddings or of texts. Raises InputError naming file, field and value."""
    kinds = {reference.suffix == ".npy", current.suffix == ".npy"}
    if len(kinds) == 2:
        raise InputError(f"{reference} and {current} must both be embeddings (.npy) or both be texts")
    if kinds == {True}:
        before, now = (Observations(load_embeddings(path), texts=()) for path in (reference, current))
        if before.vectors.shape[1] != now.vectors.shape[1]:
            raise InputError(
                f"{reference} has {before.vectors.shape[1]} columns and {current} has {now.vectors.shape[1]}"
            )
    else:
        before, now = _embed_both(reference, current, model=model, settings=settings)
    return compare_observations(before, now, alpha=alpha, seed=seed)


def _embed_both(
    reference: Path, current: Path, *, model: str | None, settings: Settings
) -> tuple[Observations, Observations]:
    if model is None:
        raise InputError(
            "texts are compared through a model: give --model NAME@ALIAS, NAME/VERSION or a checkpoint folder"
        )
    tables = load_texts(reference), load_texts(current)
    if len({table.pairs is None for table in tables}) == 2:
        raise InputError(f"{reference} and {current} must both have text_pair or neither")
    loaded = load_reference(
        model,
        tracking_uri=settings.mlflow_tracking_uri,
        cache_dir=settings.cache_dir,
        policy=DEFAULTS,
    )
    before, now = (observe(loaded, table) for table in tables)
    return before, now


def compare_observations(
    before: Observations,
    now: Observations,
    *,
    alpha: float,
    seed: int,
    permutations: int = PERMUTATIONS,
    minimum: int = 50,
) -> Judgement:
    """Fit a basis on half of `before`, then judge `now` against its other half."""
    rng = np.random.default_rng(seed)
    try:
        reference = build_reference(before, rng=rng)
        row_ids = np.arange(len(now), dtype=np.int64)
        current = fold_observations(reference.basis, now, row_ids=row_ids, chosen=row_ids)
        return judge(
            DriftInputs(
                reference=reference.sketch,
                current=current,
                reference_texts={
                    int(i): text for i, text in zip(reference.sketch.row_ids, reference.texts, strict=False)
                },
                current_texts=dict(enumerate(now.texts)),
            ),
            alpha=alpha,
            permutations=permutations,
            minimum=minimum,
            rng=rng,
        )
    except DetectorError as error:
        raise InputError(str(error)) from error
