"""`driftwarden compare`: two files in, one verdict out, no database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detectors.errors import DetectorError
from detectors.sketch import Sketch
from monitor.baseline import observe
from monitor.errors import InputError
from monitor.jobs.baseline import Observations, Reference, build_reference, fold_observations, held_out
from monitor.jobs.drift import DriftInputs, Judgement, judge, with_second_opinions
from monitor.jobs.harm import grade_harm, known_outcomes
from monitor.jobs.segments import attribute_columns, drifted_segments
from monitor.models import load_reference
from monitor.policy import DEFAULTS
from monitor.settings import Settings
from monitor.sketchfiles import SUFFIX, read_sketch_file, require_like_sketches
from monitor.texts import TextTable, load_embeddings, load_texts

PERMUTATIONS = 999
MINIMUM = DEFAULTS.drift.minimum_texts


@dataclass(frozen=True, slots=True)
class Compared:
    """A judgement, and what makes it doubtful."""

    judgement: Judgement
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the shape that `compare --json` prints."""
        return {**self.judgement.as_json(), "warnings": list(self.warnings)}


def compare_files(
    reference: Path | None,
    current: Path,
    *,
    model: str | None,
    alpha: float,
    seed: int,
    settings: Settings,
    require_registry: Callable[[], None],
    second_opinions: bool | None = None,
) -> Compared:
    """Compare two files of embeddings, of texts or of sketches. Raises InputError naming file, field and value.

    `require_registry` is asked before a registered model is loaded, and not for what needs none. A sketch that was
    folded under a reference's basis holds that reference, and needs no second file. Second opinions are asked for
    where it drifted, or always or never where `second_opinions` says so.
    """
    sketches = {path.suffix == SUFFIX for path in (reference, current) if path is not None}
    if sketches == {True}:
        return Compared(_judge_sketches(reference, current, alpha=alpha, seed=seed, second_opinions=second_opinions))
    if reference is None:
        raise InputError(f"{current}: give --reference; only a sketch of `driftwarden backfill` can hold its own")
    if len(sketches) == 2:
        raise InputError(f"{reference} and {current} must both be sketches ({SUFFIX})")
    files = reference, current
    kinds = {path.suffix == ".npy" for path in files}
    if len(kinds) == 2:
        raise InputError(f"{reference} and {current} must both be embeddings (.npy) or both be texts")
    if kinds == {True}:
        before, now = (Observations(load_embeddings(path), texts=()) for path in files)
        if before.vectors.shape[1] != now.vectors.shape[1]:
            raise InputError(
                f"{reference} has {before.vectors.shape[1]} columns and {current} has {now.vectors.shape[1]}"
            )
        return Compared(_judge_files(before, now, files=files, alpha=alpha, seed=seed, second_opinions=second_opinions))
    if model is None:
        raise InputError(
            "texts are compared through a model: give --model NAME@ALIAS, NAME/VERSION or a checkpoint folder"
        )
    tables = _read_both(reference, current)
    warnings = tuple(line for path, table in zip(files, tables, strict=True) for line in table.warnings(path))
    few = _too_few(len(tables[0].texts), len(tables[1].texts))
    if few is not None:
        return Compared(few, warnings)
    if not Path(model).is_dir():
        require_registry()
    loaded = load_reference(
        model,
        tracking_uri=settings.mlflow_tracking_uri,
        cache_dir=settings.cache_dir,
        policy=DEFAULTS,
        threads=settings.threads,
    )
    before, now = (observe(loaded, table) for table in tables)
    labels_used = known_outcomes(before.correct, None, held=np.arange(0)).labelled > 0
    warnings = (*tables[0].warnings(reference, labels_used=labels_used), *tables[1].warnings(current))
    return Compared(
        _judge_files(before, now, files=files, alpha=alpha, seed=seed, second_opinions=second_opinions), warnings
    )


def _judge_sketches(
    reference: Path | None, current: Path, *, alpha: float, seed: int, second_opinions: bool | None
) -> Judgement:
    now = read_sketch_file(current)
    if reference is None:
        if now.reference is None:
            raise InputError(f"{current} made its own basis and holds no reference: give --reference")
        before = now.reference
    else:
        given = read_sketch_file(reference)
        require_like_sketches(given, now, names=(str(reference), str(current)))
        before = given.sketch
    rng = np.random.default_rng(seed)
    judgement = judge(
        DriftInputs(reference=before, current=now.sketch, reference_texts={}, current_texts={}),
        alpha=alpha,
        permutations=PERMUTATIONS,
        minimum=MINIMUM,
        rng=rng,
    )
    return with_second_opinions(
        judgement,
        reference=before,
        current=now.sketch,
        names=DEFAULTS.drift.second_opinions,
        asked=second_opinions,
        rng=rng,
    )


def _read_both(reference: Path, current: Path) -> tuple[TextTable, TextTable]:
    before, now = load_texts(reference), load_texts(current)
    if (before.pairs is None) != (now.pairs is None) and before.texts and now.texts:
        raise InputError(f"{reference} and {current} must both have text_pair or neither")
    return before, now


def _judge_files(
    before: Observations,
    now: Observations,
    *,
    files: tuple[Path, Path],
    alpha: float,
    seed: int,
    second_opinions: bool | None,
) -> Judgement:
    """Fit a basis on a third of `before`, then judge `now` against its other texts."""
    few = _too_few(len(before), len(now))
    if few is not None:
        return few
    rng = np.random.default_rng(seed)
    row_ids = np.arange(len(now), dtype=np.int64)
    with _named(files[0]):
        reference = build_reference(before, rng=rng)
    with _named(files[1]):
        current = fold_observations(reference.basis, now, row_ids=row_ids, chosen=row_ids)
    judgement = judge(
        DriftInputs(
            reference=reference.sketch,
            current=current,
            reference_texts={int(i): text for i, text in zip(reference.sketch.row_ids, reference.texts, strict=False)},
            current_texts=dict(enumerate(now.texts)),
            basis=reference.basis,
        ),
        alpha=alpha,
        permutations=PERMUTATIONS,
        minimum=MINIMUM,
        rng=rng,
    )
    return with_second_opinions(
        _explained(judgement, before, now, reference=reference, current=current, rng=rng),
        reference=reference.sketch,
        current=current,
        names=DEFAULTS.drift.second_opinions,
        asked=second_opinions,
        rng=rng,
    )


def _explained(
    judgement: Judgement,
    before: Observations,
    now: Observations,
    *,
    reference: Reference,
    current: Sketch,
    rng: np.random.Generator,
) -> Judgement:
    """Return the judgement with what its drift costs and where it is, as far as the files' columns tell."""
    if judgement.verdict is None or not judgement.verdict.drift:
        return judgement
    known = known_outcomes(before.correct, before.confidences, held=reference.sketch.row_ids)
    losses = [] if now.correct is None else (1 - now.correct[~np.isnan(now.correct)]).tolist()
    harm = grade_harm(
        known, losses=losses, confidences=current.row_confidences, tolerance=DEFAULTS.drift.harm_tolerance
    )
    segments = drifted_segments(
        reference.sketch,
        current,
        reference_attributes=attribute_columns(before.attributes_of(reference.sketch.row_ids)),
        current_attributes=attribute_columns(now.attributes_of(current.row_ids)),
        rng=rng,
    )
    return replace(judgement, harm=harm, segments=segments)


def _too_few(before: int, now: int) -> Judgement | None:
    """Return "too little data" when either side has too few rows for any verdict."""
    for side, got, enough, needed in (
        ("reference texts", before, before >= 2 * MINIMUM, 2 * MINIMUM),
        ("current texts", now, now >= MINIMUM, MINIMUM),
    ):
        if not enough:
            return Judgement(
                status="too_little_data",
                reference_n=held_out(before),
                current_n=now,
                detectors=(),
                verdict=None,
                cells=(),
                examples=(),
                detail=f"{side}: {got} of at least {needed}",
            )
    return None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before what a detector says of its rows."""
    try:
        yield
    except DetectorError as error:
        raise InputError(f"{path}: {error}") from error
