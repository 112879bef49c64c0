"""driftwarden as a contender: the one file that knows how its verdict is asked for."""

import ast
import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from bench.power.outcome import Contender, Outcome
from bench.power.scenarios import Cell, Draw
from detectors.compare import compare_sketches
from detectors.results import Comparison, TooLittleData
from detectors.sketch import fit_basis
from monitor.jobs.baseline import Observations, Reference, build_reference, fold_observations

ALPHA = 0.05
ROOT = Path(__file__).parents[2]
ROOMS = ("detectors", "monitor")


def contenders() -> list[Contender]:
    """Return the whole verdict, the verdict on embeddings alone, and the verdict with a basis fitted beforehand."""
    version = _version()
    return [
        Contender("driftwarden", version, _judge),
        Contender("driftwarden_embeddings", version, _judge_embeddings, _has_answers),
        Contender("driftwarden_baseline", version, _judge_with_baseline, _fast),
    ]


def _has_answers(cell: Cell) -> bool:
    return cell.traffic != "synthetic"  # there, the embeddings are all there is


def _fast(cell: Cell) -> bool:
    return cell.n < 5000


def judge(reference: Reference, current: Observations, *, rng: np.random.Generator) -> Outcome:
    """Return the verdict on a current window against a built reference: the adapter to `compare_sketches`."""
    rows = np.arange(len(current), dtype=np.int64)
    window = fold_observations(reference.basis, current, row_ids=rows, chosen=rows)
    found = compare_sketches(reference.sketch, window, alpha=ALPHA, rng=rng)
    if isinstance(found, TooLittleData):
        return Outcome(drift=False, score=(-1.0,))
    assert isinstance(found, Comparison)
    parts = {one.name: one.p_value for one in found.detectors}
    return Outcome(found.verdict.drift, (-found.verdict.p_value,), parts)


def _judge(draw: Draw, seed: int) -> Outcome:
    """Know what every peer knows: n reference texts, of which a third fit the basis; and the model's answers."""
    rng = np.random.default_rng(seed)
    return judge(build_reference(draw.reference, rng=rng), draw.current, rng=rng)


def _judge_embeddings(draw: Draw, seed: int) -> Outcome:
    """Know the embeddings only."""
    bare = {"texts": (), "labels": None, "confidences": None}
    reference, current = (dataclasses.replace(side, **bare) for side in (draw.reference, draw.current))
    rng = np.random.default_rng(seed)
    return judge(build_reference(reference, rng=rng), current, rng=rng)


def _judge_with_baseline(draw: Draw, seed: int) -> Outcome:
    """Know n further reference texts, as a baseline in production: they fit the basis, all n others are compared."""
    rng = np.random.default_rng(seed)
    labels = draw.further.labels
    classes = [] if labels is None else sorted({label for label in labels if label is not None})
    basis = fit_basis(draw.further.vectors, rng=rng, classes=classes)
    rows = np.arange(len(draw.reference), dtype=np.int64)
    sketch = fold_observations(basis, draw.reference, row_ids=rows, chosen=rows)
    return judge(Reference(basis, sketch, ()), draw.current, rng=rng)


def _version() -> str:
    """Return a digest of what decides the verdict: results of other code are never taken for this code's."""
    found = hashlib.sha256()
    for path in sorted(sources(Path(__file__))):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def sources(start: Path) -> set[Path]:
    """Return a file and all of ours that it imports, near or far: what else stands in a folder decides nothing."""
    found, waiting = set[Path](), [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    return found


def _imported(path: Path) -> list[Path]:
    files = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ROOMS:
            base = ROOT.joinpath(*node.module.split("."))
            modules = [base, *(base / alias.name for alias in node.names)]
            files += [one.with_suffix(".py") for one in modules if one.with_suffix(".py").is_file()]
    return files
