"""Accuracy before labels beside NannyML's CBPE, on the synthetic data sets that NannyML's wheel carries.

`python -m bench.estimated_accuracy` needs nannyml 0.13.1 with statsmodels (an environment of its own) and this tree on
PYTHONPATH. Windows are NannyML's own: 10 of 5,000 rows (binary), 12 of 5,000 (three classes); both sets shift halfway.
Then, in any environment, a simulation where the assumption holds: does the interval hold what the labels show?
"""

import os
from importlib.metadata import version
from typing import Any

os.environ["NML_DISABLE_USAGE_LOGGING"] = os.environ["DO_NOT_TRACK"] = "1"

import numpy as np

from bench import machine
from detectors.estimated_accuracy import estimated_accuracy, thresholded_accuracy
from detectors.estimated_binary import estimated_f1, estimated_roc_auc
from detectors.estimates import Estimate

ROWS = 5000
REPEATS = 1000
SIDES = ((200, 50), (500, 500), (2000, 200), (2000, 5000), (20_000, 5000))


def nannyml_sets() -> dict[str, tuple[Any, ...]]:
    import nannyml as nml

    reference, analysis, targets = nml.load_synthetic_binary_classification_dataset()
    binary = (reference, analysis.merge(targets, on="id"), "work_home_actual", "y_pred_proba")
    reference, analysis, targets = nml.load_synthetic_multiclass_classification_dataset()
    scores = {name.removeprefix("y_pred_proba_"): name for name in reference if name.startswith("y_pred_proba_")}
    return {"binary": binary, "multiclass": (reference, analysis.merge(targets, on="id"), "y_true", scores)}


def confidences(rows: Any, scores: str | dict[str, str]) -> np.ndarray:
    if isinstance(scores, str):
        positive = rows[scores].to_numpy()
        return np.where(rows["y_pred"] == 1, positive, 1 - positive)
    return rows[list(scores.values())].to_numpy().max(axis=1)


def theirs(
    reference: Any, analysis: Any, truth: str, scores: str | dict[str, str], metric: str = "accuracy"
) -> list[list[float]]:
    import nannyml as nml

    estimator = nml.CBPE(
        problem_type=f"classification_{'binary' if isinstance(scores, str) else 'multiclass'}",
        y_pred_proba=scores,
        y_pred="y_pred",
        y_true=truth,
        metrics=[metric],
        chunk_size=ROWS,
    )
    estimator.fit(reference)
    found = estimator.estimate(analysis.drop(columns=[truth])).filter(period="analysis").to_df()[metric]
    return found[["value", "lower_confidence_boundary", "upper_confidence_boundary"]].to_numpy().tolist()


def of_two_classes(reference: Any, analysis: Any, truth: str, scores: str) -> dict[str, Any]:
    """Return the mean absolute errors of F1 and ROC AUC, and in how many windows our interval holds."""
    from sklearn.metrics import f1_score, roc_auc_score

    known = [reference[name].to_numpy() for name in (scores, truth, "y_pred")]
    result = {}
    for metric, estimate in (("f1", estimated_f1), ("roc_auc", estimated_roc_auc)):
        rows = []
        for place, (value, _, _) in enumerate(theirs(reference, analysis, truth, scores, metric)):
            part = analysis.iloc[place * ROWS : (place + 1) * ROWS]
            found = estimate(*known, part[scores].to_numpy(), part["y_pred"].to_numpy()).estimate
            assert isinstance(found, Estimate)
            shown = (
                f1_score(part[truth], part["y_pred"]) if metric == "f1" else roc_auc_score(part[truth], part[scores])
            )
            rows.append((abs(found.value - shown), abs(value - shown), found.low <= shown <= found.high))
        ours, others, holds = np.array(rows, dtype=float).T
        errors = {"ours": round(ours.mean(), 6), "nannyml": round(others.mean(), 6)}
        result[metric] = {"mean_absolute_error": errors, "held": int(holds.sum()), "windows": len(rows)}
    return result


def beside_nannyml(reference: Any, analysis: Any, truth: str, scores: str | dict[str, str]) -> dict[str, Any]:
    before, right = confidences(reference, scores), (reference["y_pred"] == reference[truth]).to_numpy()
    now, outcome = confidences(analysis, scores), (analysis["y_pred"] == analysis[truth]).to_numpy()
    windows = []
    for place, (value, low, high) in enumerate(theirs(reference, analysis, truth, scores)):
        part = slice(place * ROWS, (place + 1) * ROWS)
        ours = estimated_accuracy(before, right, now[part])
        by_threshold = thresholded_accuracy(before, right, now[part])
        assert isinstance(ours.estimate, Estimate)
        assert isinstance(by_threshold, Estimate)
        windows.append(
            {
                "truth": float(outcome[part].mean()),
                "ours": [round(number, 4) for number in (ours.estimate.value, ours.estimate.low, ours.estimate.high)],
                "reliable": ours.reliable,
                "reason": ours.reason,
                "atc": round(by_threshold.value, 4),
                "nannyml": [round(number, 4) for number in (value, low, high)],
                "ours_off": abs(ours.estimate.value - float(outcome[part].mean())),
                "nannyml_off": abs(value - float(outcome[part].mean())),
            }
        )
    return {"mean_absolute_error": _means(windows), "windows": windows}


def _means(windows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    half = len(windows) // 2
    halves = {"all": windows, "before_shift": windows[:half], "after_shift": windows[half:]}
    return {
        name: {who: round(float(np.mean([one[f"{who}_off"] for one in part])), 6) for who in ("ours", "nannyml")}
        for name, part in halves.items()
    }


def held(accuracy: float, later: float, spread: float, *, repeats: int = REPEATS) -> list[dict[str, Any]]:
    """Return how often the interval holds the window's accuracy where a score means the same before and after."""
    rows = []
    for m, n in SIDES:
        rng = np.random.default_rng([int(accuracy * 100), int(later * 100), m, n])
        tried = [_once(rng, accuracy, later, spread, m, n) for _ in range(repeats)]
        found = [one for one in tried if one is not None]
        names = ("coverage", "said_reliable", "bias", "width")
        means = dict(zip(names, np.mean(found, axis=0).round(4).tolist(), strict=True))
        rows.append({"reference": m, "window": n, "estimated": len(found) / repeats} | means)
    return rows


def _once(
    rng: np.random.Generator, accuracy: float, later: float, spread: float, m: int, n: int
) -> tuple[float, float, float, float] | None:
    sides = []
    for share, size in ((accuracy, m), (later, n)):
        score = np.round(np.sqrt(rng.beta(share * spread, (1 - share) * spread, size)), 2)
        sides.append((score, rng.random(size) < score**2))
    (before, right), (now, outcome) = sides
    found, truth = estimated_accuracy(before, right, now), float(outcome.mean())
    one = found.estimate
    if not isinstance(one, Estimate):
        return None
    return float(one.low <= truth <= one.high), float(found.reliable), one.value - truth, one.high - one.low


def main() -> None:
    given = nannyml_sets()
    sets = {name: beside_nannyml(*one) for name, one in given.items()}
    simulated = [
        {"accuracy": accuracy, "later": later, "spread": spread, "rows": held(accuracy, later, spread)}
        for spread in (0.5, 3.0)
        for accuracy, later in ((0.9, 0.9), (0.9, 0.8), (0.98, 0.95))
    ]
    machine.write(
        "estimated_accuracy",
        {
            "nannyml": version("nannyml"),
            "sets": sets,
            "binary_measures": of_two_classes(*given["binary"]),
            "simulated": simulated,
        },
    )


if __name__ == "__main__":
    main()
