"""A run without drift: two draws of the same synthetic traffic, and every detector of ours that may judge them."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from bench.power.outcome import Outcome
from bench.power.synthetic import DIMENSION, anisotropic
from detectors.classifier import ClassifierResult, classifier
from detectors.compare import compare_sketches
from detectors.mmd import MmdResult, mmd
from detectors.neighbours import knn_kl_test
from detectors.results import Comparison, DetectorResult
from detectors.sketch import fit_basis, fold
from monitor.jobs.baseline import class_indexes, entropy_nats, held_out

ROOT = Path(__file__).parents[1]
ALPHA = 0.05
PERMUTATIONS = 199  # of the tests beside the verdict: alpha (B + 1) is whole, so their size is that of any larger B
KNN_DIMENSION = 32
CLASS_OFFSETS = np.array([0.8, 0.5, 0.2, 0.0, 0.0, -4.0])  # logits: the last class is rare, about one text in 200
LONGEST = 32  # tokens; about one text in thirty is longer and truncated

Texts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judge:
    """One test, or one family of tests that cost one run, with a digest of the code that decides it."""

    name: str
    judge: Callable[[Texts, Texts, np.random.Generator], Outcome]
    module: str

    @property
    def version(self) -> str:
        return _digest(self.module)


def judges() -> list[Judge]:
    """Return all, the cheap ones first."""
    return [
        Judge("verdict", _verdict, "compare"),
        Judge("kl_knn", _knn, "neighbours"),
        Judge("classifier", _classifier, "classifier"),
        Judge("mmd", _mmd, "mmd"),
    ]


def texts(n: int, rng: np.random.Generator) -> Texts:
    """Return n anisotropic embeddings and what a model makes of them: each quantity hangs on its own directions."""
    vectors = anisotropic(n, rng)
    z = vectors @ _directions() - _centre()
    logits = 1.5 * z[:, : CLASS_OFFSETS.size] + CLASS_OFFSETS
    probabilities = softmax(logits, axis=1)
    tokens = np.clip(np.rint(np.exp(2.5 + 0.5 * z[:, -2])), 1, 512)
    unknown = np.clip(np.floor(2 * (z[:, -1] - 1)), 0, tokens)
    return {
        "embeddings": vectors,
        "classes": probabilities.argmax(axis=1),
        "confidences": probabilities.max(axis=1),
        "entropies": entropy_nats(probabilities),
        "token_lengths": tokens,
        "unknown_shares": unknown / tokens,
        "truncated": tokens > LONGEST,
    }


@cache
def _directions() -> np.ndarray:
    """Return directions (d, 8) along which the embeddings have about unit variance."""
    drawn = np.random.default_rng(1).standard_normal((DIMENSION, CLASS_OFFSETS.size + 2))
    sample = anisotropic(4000, np.random.default_rng(2)) @ drawn
    return np.asarray(drawn / sample.std(axis=0), dtype=np.float32)


@cache
def _centre() -> np.ndarray:
    return np.asarray((anisotropic(4000, np.random.default_rng(2)) @ _directions()).mean(axis=0))


def _verdict(reference: Texts, current: Texts, rng: np.random.Generator) -> Outcome:
    """Judge as in production: a third of the reference fits the basis and names the classes, the rest is compared."""
    fitted, held = _parted(reference, rng)
    classes = sorted({str(label) for label in fitted["classes"]})
    basis = fit_basis(fitted["embeddings"], rng=rng, classes=classes)
    sides = []
    for side in (held, current):
        labels = class_indexes([str(label) for label in side["classes"]], classes)
        sides.append(fold(basis, row_ids=np.arange(labels.size), **(side | {"classes": labels})))
    found = compare_sketches(sides[0], sides[1], alpha=ALPHA, rng=rng)
    assert isinstance(found, Comparison)
    parts = {one.name: one.p_value for one in found.detectors}
    return Outcome(found.verdict.drift, (-found.verdict.p_value,), parts)


def _knn(reference: Texts, current: Texts, rng: np.random.Generator) -> Outcome:
    """Test in 32 whitened directions that a third of the reference fixes; the rest is compared."""
    fitted, held = _parted(reference, rng)
    basis = fit_basis(fitted["embeddings"], rng=rng, dimension=KNN_DIMENSION)
    sides = [basis.project(side["embeddings"]) for side in (held, current)]
    found = knn_kl_test(*sides, alpha=ALPHA, rng=rng, permutations=PERMUTATIONS)
    assert isinstance(found, DetectorResult)
    return _alone(found.p_value)


def _classifier(reference: Texts, current: Texts, rng: np.random.Generator) -> Outcome:
    found = classifier(reference["embeddings"], current["embeddings"], rng=rng, permutations=PERMUTATIONS)
    assert isinstance(found, ClassifierResult)
    return _alone(found.p_value)


def _mmd(reference: Texts, current: Texts, rng: np.random.Generator) -> Outcome:
    found = mmd(reference["embeddings"], current["embeddings"], rng=rng, permutations=PERMUTATIONS)
    assert isinstance(found, MmdResult)
    return _alone(found.p_value)


def _alone(p_value: float) -> Outcome:
    return Outcome(p_value <= ALPHA, (-p_value,))


def _parted(side: Texts, rng: np.random.Generator) -> tuple[Texts, Texts]:
    order = rng.permutation(len(side["embeddings"]))
    kept = held_out(order.size)
    parts = order[kept:], order[:kept]
    first, second = ({name: values[part] for name, values in side.items()} for part in parts)
    return first, second


@cache
def _digest(module: str) -> str:
    """Return a digest of a detector's module, of all it imports from detectors, and of this file."""
    found, waiting = {Path(__file__), ROOT / "bench/power/synthetic.py"}, [ROOT / "detectors" / f"{module}.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            names = re.findall(r"^from detectors\.(\w+) import", path.read_text(encoding="utf-8"), re.MULTILINE)
            waiting += [ROOT / "detectors" / f"{name}.py" for name in names]
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
