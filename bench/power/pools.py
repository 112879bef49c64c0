"""The embedded texts that scenarios draw from: made once by a model the bench trains itself, then cached."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.power.perturb import PERTURBATIONS
from monitor.demo.corpus import load_clinc
from monitor.jobs.baseline import Observations

LAYERS, HIDDEN, EPOCHS = 3, 192, 8
NATIVE = "native"
NAMES = ("banking77", "oos", "clinc150", "restaurant", *PERTURBATIONS, "tokenizer")

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pool:
    """Embedded texts with the model's answers; topics name each text's domain where the corpus does."""

    observed: Observations
    topics: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.observed)

    def take(self, rows: np.ndarray) -> Observations:
        labels, confidences = self.observed.labels, self.observed.confidences
        return Observations(
            self.observed.vectors[rows],
            [self.observed.texts[int(i)] for i in rows],
            None if labels is None else [labels[int(i)] for i in rows],
            None if confidences is None else confidences[rows],
        )


def joined(parts: Sequence[Observations]) -> Observations:
    """Return the observations of all parts, in order."""
    return Observations(
        np.concatenate([part.vectors for part in parts]),
        [text for part in parts for text in part.texts],
        [label for part in parts for label in part.labels or ()],
        np.concatenate([np.asarray(part.confidences) for part in parts]),
    )


def load_pools(cache: Path, *, corpora: Path, tell: Tell, arithmetic: str = NATIVE) -> dict[str, Pool]:
    """Return every pool, from the cache or made now (minutes: trains the model, embeds 55,000 texts).

    Each arithmetic has pools of its own, of the same model and texts in the same order.
    """
    folder = cache if arithmetic == NATIVE else cache / arithmetic
    if not are_cached(folder):
        _make(cache, folder, corpora=corpora, tell=tell, arithmetic=arithmetic)
    return {name: _read(folder, name) for name in NAMES}


def are_cached(folder: Path) -> bool:
    return all(_path(folder, name).is_file() for name in NAMES)


def digest(pools: dict[str, Pool]) -> str:
    """Return what identifies these embeddings: results on others are never mixed with results on these."""
    found = hashlib.sha256()
    for name in sorted(pools):
        found.update(name.encode() + np.ascontiguousarray(pools[name].observed.vectors).tobytes())
    return found.hexdigest()[:12]


def accuracy(pools: dict[str, Pool], *, corpora: Path) -> float:
    """Return the model's accuracy on CLINC150's test split, a ratio."""
    clinc = load_clinc(corpora / "clinc150")
    answered = list(pools["clinc150"].observed.labels or ())[len(clinc.validation) :]
    return float(np.mean([ticket.label == label for ticket, label in zip(clinc.test, answered, strict=True)]))


def _make(cache: Path, folder: Path, *, corpora: Path, tell: Tell, arithmetic: str) -> None:
    from monitor.embed import Encoder

    folder.mkdir(parents=True, exist_ok=True)
    model = _trained(cache, corpora=corpora, tell=tell)
    encoder = Encoder.load(model, device="cpu", arithmetic=arithmetic)
    clinc = load_clinc(corpora / "clinc150")
    tickets = [*clinc.validation, *clinc.test]  # the model was trained on the other split
    topics = [ticket.topic for ticket in tickets]
    texts = {
        "banking77": _banking(corpora),
        "oos": _out_of_scope(corpora),
        "clinc150": [ticket.text for ticket in tickets],
        "restaurant": _restaurant(corpora),
    }
    for name, perturb in PERTURBATIONS.items():
        rng = np.random.default_rng(0)
        texts[name] = [perturb(text, rng) for text in texts["clinc150"]]
    for name, found in texts.items():
        tell(f"embedding {len(found)} texts of {name}")
        _write(folder, name, _observe(encoder, found), topics if len(found) == len(topics) else [])
    tell("embedding CLINC150 with another tokenizer")
    other_model = _with_other_tokenizer(cache, model, texts["banking77"])
    other = Encoder.load(other_model, device="cpu", arithmetic=arithmetic)
    _write(folder, "tokenizer", _observe(other, texts["clinc150"]), topics)


def _trained(cache: Path, *, corpora: Path, tell: Tell) -> Path:
    from monitor.demo.training import train_classifier

    folder = cache / "model"
    if folder.is_dir():
        return folder
    train = load_clinc(corpora / "clinc150").train
    unfinished = cache / "model.part"
    train_classifier(
        [ticket.text for ticket in train],
        [ticket.label for ticket in train],
        seed=0,
        out_dir=unfinished,
        layers=LAYERS,
        hidden=HIDDEN,
        epochs=EPOCHS,
        progress=lambda done, of: tell(f"training on CLINC150: epoch {done} of {of}"),
    )
    return unfinished.rename(folder)


def _with_other_tokenizer(cache: Path, model: Path, texts: Sequence[str]) -> Path:
    """Return a copy of the checkpoint whose tokenizer was trained on other texts: same ids, other meanings."""
    from monitor.demo.training import train_tokenizer

    folder = cache / "other-tokenizer"
    shutil.copytree(model, folder, dirs_exist_ok=True)
    train_tokenizer(texts).save_pretrained(folder)
    return folder


def _observe(encoder: object, texts: Sequence[str]) -> Observations:
    encoded = encoder.encode(texts)  # type: ignore[attr-defined]  # an Encoder; its module loads torch
    labels, probabilities = encoder.predict(texts)  # type: ignore[attr-defined]  # likewise
    return Observations(encoded.vectors, list(texts), labels, probabilities.max(axis=1))


def _banking(corpora: Path) -> list[str]:
    texts: list[str] = []
    for name in ("train.csv", "test.csv"):
        with (corpora / "banking77" / name).open(encoding="utf-8", newline="") as stream:
            texts += [row["text"] for row in csv.DictReader(stream)]
    return texts


def _out_of_scope(corpora: Path) -> list[str]:
    splits = json.loads((corpora / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    return [text for split in ("oos_train", "oos_val", "oos_test") for text, _ in splits[split]]


def _restaurant(corpora: Path) -> list[str]:
    """Return RESTAURANTS-8K's distinct test texts of three words or more: bare answers ("13") would be no contest."""
    turns = json.loads((corpora / "restaurant8k" / "test.json").read_text(encoding="utf-8"))
    texts = dict.fromkeys(turn["userInput"]["text"] for turn in turns)
    return [text for text in texts if len(text.split()) >= 3]


def _path(folder: Path, name: str) -> Path:
    return folder / f"pool-{name}.npz"


def _write(folder: Path, name: str, observed: Observations, topics: Sequence[str]) -> None:
    words = {"texts": list(observed.texts), "labels": list(observed.labels or ()), "topics": list(topics)}
    (folder / f"pool-{name}.json").write_text(json.dumps(words), encoding="utf-8")
    np.savez(_path(folder, name), vectors=observed.vectors, confidences=np.asarray(observed.confidences))


def _read(folder: Path, name: str) -> Pool:
    words = json.loads((folder / f"pool-{name}.json").read_text(encoding="utf-8"))
    with np.load(_path(folder, name)) as arrays:
        observed = Observations(arrays["vectors"], words["texts"], words["labels"], arrays["confidences"])
    return Pool(observed, tuple(words["topics"]))
