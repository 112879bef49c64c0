"""Prediction-powered accuracy: coverage and width beside labels only, on synthetic scores and on CLINC150.

`python -m bench.prediction_powered` measures (about 15 minutes on one core); `--golden` writes the values of the public
ppi-python package that the tests hold us to, and needs it installed (an environment of its own will do).
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench import machine

ALPHA = 0.05
SIZES = (30, 100, 300, 1000)
OTHERS = 3000
CLINC_OTHERS = 20_000
GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "prediction_powered.json"
CLINC = Path(__file__).parents[2] / "shared" / "data" / "clinc150"
Population = tuple[np.ndarray, np.ndarray]


def synthetic(accuracy: float, spread: float, *, rng: np.random.Generator, size: int = 200_000) -> Population:
    """Return scores, calibrated but for a power, and outcomes; a small spread is a score that knows."""
    chance = rng.beta(accuracy * spread, (1 - accuracy) * spread, size)
    return np.sqrt(chance), (rng.random(size) < chance).astype(np.float64)


def clinc(unseen_domains: int, *, folder: Path = CLINC) -> Population:
    """Return confidence and outcome of TF-IDF and logistic regression that knows 10 - unseen domains of CLINC150.

    All 8,600 validation, test and out-of-scope queries are asked; an out-of-scope answer is always wrong.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_union

    texts = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))
    domains = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    known = {intent for name in sorted(domains)[: len(domains) - unseen_domains] for intent in domains[name]}
    train = [row for row in texts["train"] if row[1] in known]
    asked = [row for split in ("val", "test", "oos_val", "oos_test") for row in texts[split]]
    words = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=2),
    )
    model = LogisticRegression(C=10.0).fit(words.fit_transform([text for text, _ in train]), [y for _, y in train])
    chances = model.predict_proba(words.transform([text for text, _ in asked]))
    right = model.classes_[chances.argmax(axis=1)] == np.array([label for _, label in asked])
    return chances.max(axis=1), right.astype(np.float64)


def _judged(found: object, truth: float) -> tuple[bool, float, float]:
    """Return whether an estimate's interval holds the truth, its width, and how far its value is off."""
    from detectors.estimates import Estimate

    assert isinstance(found, Estimate)
    return found.low <= truth <= found.high, found.high - found.low, found.value - truth


def coverage(population: Population, n: int, *, repeats: int, seed: int, others: int = OTHERS) -> dict[str, Any]:
    """Return how often the interval holds the population's accuracy, its width, and labels only (Wilson) beside it."""
    from detectors.confidence import wilson_interval
    from detectors.prediction_powered import prediction_powered_accuracy

    scores, right = population
    truth, rng = float(right.mean()), np.random.default_rng([seed, n])
    rows = []
    for _ in range(repeats):
        drawn = rng.integers(right.size, size=n + others)
        labelled, rest = drawn[:n], drawn[n:]
        found = prediction_powered_accuracy(right[labelled], scores[labelled], scores[rest], alpha=ALPHA)
        plain = wilson_interval(int(right[labelled].sum()), n, alpha=ALPHA)
        rows.append((*_judged(found, truth), plain.lower <= truth <= plain.upper, plain.upper - plain.lower))
    held, width, off, plain_held, plain_width = np.mean(rows, axis=0).tolist()
    return {
        "n": n,
        "truth": round(truth, 4),
        "repeats": repeats,
        "coverage": round(held, 4),
        "width": round(width, 4),
        "bias": round(off, 4),
        "labels_only_coverage": round(plain_held, 4),
        "labels_only_width": round(plain_width, 4),
        "narrower_ratio": round(1 - width / plain_width, 4),
    }


def asked_where_unsure(population: Population, n: int, *, repeats: int, seed: int) -> dict[str, Any]:
    """Return coverage and bias where the chance of being labelled grows with the doubt, about n labels of 3,000 + n."""
    from detectors.prediction_powered import prediction_powered_accuracy

    scores, right = population
    truth, rng = float(right.mean()), np.random.default_rng([seed, n])
    rows = []
    for _ in range(repeats):
        drawn = rng.integers(right.size, size=n + OTHERS)
        doubt = 1.1 - scores[drawn]
        inclusion = np.minimum(n * doubt / doubt.sum(), 0.95)
        asked = rng.random(drawn.size) < inclusion
        found = prediction_powered_accuracy(
            right[drawn[asked]],
            scores[drawn[asked]],
            scores[drawn[~asked]],
            inclusion_probabilities=inclusion[asked],
            unlabelled_inclusion_probabilities=inclusion[~asked],
        )
        rows.append((*_judged(found, truth), right[drawn[asked]].mean() - truth))
    held, width, off, naive = np.mean(rows, axis=0).tolist()
    return {
        "n": n,
        "truth": round(truth, 4),
        "repeats": repeats,
        "coverage": round(held, 4),
        "width": round(width, 4),
        "bias": round(off, 4),
        "naive_bias": round(naive, 4),
    }


def measured(repeats: int) -> dict[str, Any]:
    grid = []
    for kind, spread in (("sharp", 0.3), ("middling", 2.0), ("weak", 20.0)):
        for accuracy in (0.8, 0.9, 0.98):
            population = synthetic(accuracy, spread, rng=np.random.default_rng([1, int(accuracy * 100)]))
            for n in SIZES:
                grid.append({"scores": kind, "accuracy": accuracy} | coverage(population, n, repeats=repeats, seed=1))
                print(grid[-1], flush=True)
    real, unsure = [], []
    for unseen in (0, 2, 5) if CLINC.is_dir() else ():
        population = clinc(unseen)
        for n in SIZES:
            real.append(
                {"unseen_domains": unseen} | coverage(population, n, repeats=repeats, seed=2, others=CLINC_OTHERS)
            )
            print(real[-1], flush=True)
            if unseen == 2 and n >= 100:
                unsure.append(asked_where_unsure(population, n, repeats=repeats, seed=3))
                print(unsure[-1], flush=True)
    return {
        "alpha": ALPHA,
        "unlabelled": OTHERS,
        "synthetic": grid,
        "clinc150": real,
        "clinc150_asked_where_unsure": unsure,
    }


def golden_cases() -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(20261125)
    for n, others, slope, alpha, tuning in (
        (12, 40, 0.9, 0.05, None),
        (50, 200, 0.5, 0.1, None),
        (30, 60, -0.8, 0.05, None),
        (25, 100, 0.7, 0.05, 1.0),
        (25, 100, 0.7, 0.05, 0.5),
        (25, 100, 0.7, 0.05, 0.0),
    ):
        signal = rng.normal(size=n + others)
        labels = slope * signal[:n] + 0.6 * rng.normal(size=n)
        yield {
            "labels": labels.tolist(),
            "proxies": signal[:n].tolist(),
            "unlabelled_proxies": signal[n:].tolist(),
            "alpha": alpha,
            "tuning": tuning,
        }
    chance = rng.beta(1.6, 0.4, 300)
    right = (rng.random(40) < chance[:40]).astype(float)
    yield {
        "labels": right.tolist(),
        "proxies": chance[:40].tolist(),
        "unlabelled_proxies": chance[40:].tolist(),
        "alpha": 0.05,
        "tuning": None,
    }


def write_golden() -> None:
    from importlib.metadata import version

    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    cases = []
    for case in golden_cases():
        arrays = [np.array(case[key]) for key in ("labels", "proxies", "unlabelled_proxies")]
        low, high = ppi_mean_ci(*arrays, alpha=case["alpha"], lam=case["tuning"])
        value = ppi_mean_pointestimate(*arrays, lam=case["tuning"])
        found = {"value": np.ravel(value)[0], "low": np.ravel(low)[0], "high": np.ravel(high)[0]}
        cases.append(case | {key: float(number) for key, number in found.items()})
    text = json.dumps({"source": f"ppi-python {version('ppi-python')}", "cases": cases}, indent=1)
    GOLDEN.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--golden", action="store_true", help="write the values of ppi-python that the tests hold us to"
    )
    parser.add_argument("--repeats", type=int, default=1000)
    arguments = parser.parse_args()
    if arguments.golden:
        write_golden()
    else:
        machine.write("prediction_powered", measured(arguments.repeats))


if __name__ == "__main__":
    main()
