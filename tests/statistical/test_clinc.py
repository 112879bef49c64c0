"""CLINC150: a model of 8 of its 10 domains sees its own domains' traffic, then a fifth of the other two."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the models extra")

from monitor.demo.corpus import Clinc, Ticket, load_clinc
from monitor.demo.training import train_classifier
from monitor.embed import Encoder
from monitor.jobs.baseline import Observations, build_reference, fold_observations
from monitor.jobs.drift import DriftInputs, Judgement, judge

pytestmark = pytest.mark.statistical

WINDOWS, TEXTS, UNSEEN_SHARE, ALPHA = 20, 500, 0.2, 0.01
FOLDER = Path(__file__).parents[3] / "shared" / "data" / "clinc150"


@pytest.fixture(scope="module")
def clinc() -> Clinc:
    if not FOLDER.is_dir():
        pytest.skip("CLINC150 is not at ../shared/data/clinc150")
    return load_clinc(FOLDER)


class Watch:
    """The trained model, its baseline, and windows of test traffic."""

    def __init__(self, clinc: Clinc, folder: Path) -> None:
        domains = sorted({ticket.topic for ticket in clinc.train})
        self.unseen_domains = set(domains[-2:])
        train, validation, test = (self._seen(split) for split in (clinc.train, clinc.validation, clinc.test))
        train_classifier([one.text for one in train], [one.label for one in train], seed=0, out_dir=folder)
        self.encoder = Encoder.load(folder, device="cpu")
        self.known = self._observe(test)
        self.new = self._observe([one for one in clinc.test if one.topic in self.unseen_domains])
        self.accuracy = float(np.mean([a == one.label for a, one in zip(self.known.labels or (), test, strict=True)]))
        self.reference = build_reference(self._observe(validation), rng=np.random.default_rng(0))

    def _seen(self, tickets: tuple[Ticket, ...]) -> list[Ticket]:
        return [one for one in tickets if one.topic not in self.unseen_domains]

    def _observe(self, tickets: list[Ticket]) -> Observations:
        texts = [one.text for one in tickets]
        labels, probabilities = self.encoder.predict(texts)
        return Observations(self.encoder.encode(texts).vectors, texts, labels, probabilities.max(axis=1))

    def window(self, seed: int, *, unseen: int) -> Judgement:
        rng = np.random.default_rng([seed, unseen])
        known = rng.choice(len(self.known), TEXTS - unseen, replace=False)
        new = rng.choice(len(self.new), unseen, replace=False)
        parts = [(self.known, known), (self.new, new)]
        observed = Observations(
            np.concatenate([source.vectors[chosen] for source, chosen in parts]),
            [source.texts[i] for source, chosen in parts for i in chosen],
            [(source.labels or ())[i] for source, chosen in parts for i in chosen],
            np.concatenate([np.asarray(source.confidences)[chosen] for source, chosen in parts]),
        )
        ids = np.arange(TEXTS, dtype=np.int64)
        current = fold_observations(self.reference.basis, observed, row_ids=ids, chosen=ids)
        reference = self.reference.sketch
        return judge(
            DriftInputs(
                reference=reference,
                current=current,
                reference_texts=dict(zip((int(i) for i in reference.row_ids), self.reference.texts, strict=True)),
                current_texts=dict(enumerate(observed.texts)),
            ),
            alpha=ALPHA,
            permutations=999,
            rng=rng,
        )


@pytest.fixture(scope="module")
def watch(clinc: Clinc, tmp_path_factory: pytest.TempPathFactory) -> Watch:
    return Watch(clinc, tmp_path_factory.mktemp("clinc"))


def test_the_small_model_answers_well_enough_to_be_watched(watch: Watch) -> None:
    assert watch.accuracy > 0.7


def test_traffic_of_the_same_domains_gives_no_drift(watch: Watch) -> None:
    alarms = [seed for seed in range(WINDOWS) if watch.window(seed, unseen=0).verdict.drift]
    assert len(alarms) <= 2, f"windows {alarms} alarmed without drift"


def test_every_window_with_a_fifth_unseen_is_caught_and_its_top_texts_are_the_unseen(watch: Watch) -> None:
    unseen = round(TEXTS * UNSEEN_SHARE)
    judged = [watch.window(seed, unseen=unseen) for seed in range(WINDOWS)]
    shares = [float(np.mean([one["id"] >= TEXTS - unseen for one in found.examples])) for found in judged]
    if os.environ.get("DRIFTWARDEN_SHOW"):
        print(json.dumps({"accuracy": watch.accuracy, "shares": shares}))
    assert all(found.verdict is not None and found.verdict.drift for found in judged)
    assert all(len(found.examples) == 50 for found in judged)
    assert np.mean(shares) >= 0.8, f"of the top 50 texts these shares are unseen: {shares}"
