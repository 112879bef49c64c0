"""What the intervals of labelled quality hold: at every look, drawn unequally, labelled late, calibrated or fallen.

python bench/quality_intervals.py [--runs 400]

Every run is seeded; a share of 400 runs has a standard error of .011 at .05. About 4 minutes on one core.
"""

import argparse
import time

import machine
import numpy as np

from detectors.calibration_error import BINS, calibration_error
from detectors.confidence import confidence_sequence
from detectors.degradation import DegradationRule, degradation_rule, start_degradation, update_degradation
from detectors.estimates import Estimate
from detectors.maturity import arrival_probability, delay_distributions
from detectors.quality import classification_quality
from detectors.sequences import Side, _log_mixture, beta_binomial_sequence, empirical_bernstein_sequence
from detectors.weighted import mean_estimate, mean_sequence

ALPHA, LOOKS, GRID = 0.05, 100_000, 20
FLOOR, RATE, CLASSES = 0.02, 0.3, 5


def sequences(runs: int) -> list[dict[str, float | str]]:
    """Of streams of 1e5 values, the share in which a sequence ever excludes the true mean, and its last width."""
    lines: list[dict[str, float | str]] = []
    for mean in (0.9, 0.5, 0.05):
        missed: dict[str, int] = {}
        widths: dict[str, float] = {}
        for run in range(runs):
            rng = np.random.default_rng([1, run])
            values = (rng.random(LOOKS) < mean).astype(float)
            chances = np.where(values, rng.choice([0.05, 0.2], size=LOOKS), rng.choice([0.2, 1.0], size=LOOKS))
            drawn = rng.random(LOOKS) < chances
            found = {
                "betting": confidence_sequence(values, alpha=ALPHA, grid=GRID),
                "empirical Bernstein": empirical_bernstein_sequence(values, alpha=ALPHA),
                "betting, weighted": confidence_sequence(
                    values[drawn],
                    alpha=ALPHA,
                    grid=GRID,
                    inclusion_probability=chances[drawn],
                    least_inclusion_probability=0.05,
                ),
            }
            for name, sequence in found.items():
                # a bound that reaches the mean, a point of the grid, has refuted it
                last = sequence.last
                missed[name] = missed.get(name, 0) + bool(last.lower >= mean - 1e-9 or last.upper <= mean + 1e-9)
                widths[name] = widths.get(name, 0.0) + last.upper - last.lower
            for name, two_sided in (("beta-binomial", True), ("beta-binomial, lower", False)):
                missed[name] = missed.get(name, 0) + mixture_refutes(values, mean, two_sided=two_sided)
                if run == 0:
                    side = Side.BOTH if two_sided else Side.LOWER
                    last = beta_binomial_sequence(values, optimal_n=1000, alpha=ALPHA, side=side).last
                    widths[name] = runs * (last.upper - last.lower if two_sided else mean - last.lower)
        for name, count in missed.items():
            line = {"sequence": name, "mean": mean, "ever_missed": round(count / runs, 4)}
            lines.append({**line, "last_width": round(widths[name] / runs, 4)})
            print(lines[-1], flush=True)
    return lines


def mixture_refutes(values: np.ndarray, mean: float, *, two_sided: bool) -> bool:
    """Return whether the mixture ever refutes the true mean: what the bounds solve for, at one mean instead of all."""
    n = np.arange(1.0, values.size + 1)
    log_mixture = _log_mixture(
        np.full(n.size, mean), np.cumsum(values), n, optimal_n=1000, alpha=ALPHA, two_sided=two_sided
    )
    return bool((log_mixture >= np.log(1 / ALPHA)).any())


def drawn_rows(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """Rows of a calibrated model of 5 classes and the chance of each to be labelled: higher for the less confident."""
    confidence = np.clip(rng.beta(5, 1.2, size=n), 0.2, 1)
    right = rng.random(n) < confidence
    truth = rng.integers(0, CLASSES, n)
    answer = np.where(right, truth, (truth + rng.integers(1, CLASSES, n)) % CLASSES)
    chance = np.clip(FLOOR + (1 - confidence) * RATE, FLOOR, 1)
    return {"right": right, "truth": truth, "answer": answer, "chance": chance, "drawn": rng.random(n) < chance}


def uncertainty_sampling(runs: int) -> list[dict[str, float | str]]:
    whole = drawn_rows(np.random.default_rng(99), 2_000_000)
    true = {m.name: m.value for m in classification_quality(whole["answer"], whole["truth"]) if isinstance(m, Estimate)}
    lines: list[dict[str, float | str]] = []
    for n in (1000, 2000, 5000, 20_000):
        held = dict.fromkeys(("accuracy", "macro_f1", "precision[0]", "recall[0]", "f1[0]", "every look"), 0)
        naive, value, labels = [], [], []
        for run in range(runs):
            rows = drawn_rows(np.random.default_rng([2, run]), n)
            kept = {name: column[rows["drawn"]] for name, column in rows.items()}
            found = {
                m.name: m
                for m in classification_quality(kept["answer"], kept["truth"], inclusion_probability=kept["chance"])
            }
            found["every look"] = mean_sequence(
                "every look",
                kept["right"],
                inclusion_probability=kept["chance"],
                least_inclusion_probability=FLOOR,
                alpha=ALPHA,
            )
            for name in held:
                measure = found[name]
                goal = true["accuracy" if name == "every look" else name]
                held[name] += isinstance(measure, Estimate) and measure.low <= goal <= measure.high
            naive.append(kept["right"].mean())
            value.append(found["accuracy"].value)
            labels.append(kept["right"].size)
        lines.append(
            {
                "labels": round(float(np.mean(labels))),
                "naive_bias": round(float(np.mean(naive)) - true["accuracy"], 4),
                "bias": round(float(np.mean(value)) - true["accuracy"], 4),
                **{f"coverage {name}": round(count / runs, 3) for name, count in held.items()},
            }
        )
        print(lines[-1], flush=True)
    return lines


def late_labels(runs: int) -> list[dict[str, float | str]]:
    """Exponential delays of right and wrong answers' labels, in hours; a cohort 12 to 84 hours old; accuracy .85."""
    lines: list[dict[str, float | str]] = []
    for of_right, of_wrong, n in ((24, 72, 2000), (24, 72, 600), (72, 24, 2000), (48, 48, 2000)):
        naive, value, held, silent = [], [], 0, 0
        for run in range(runs):
            rng = np.random.default_rng([3, run])
            age = np.concatenate([rng.uniform(84, 1000, size=2 * n), rng.uniform(12, 84, size=n)])
            right = rng.random(age.size) < 0.85
            delay = rng.exponential(np.where(right, of_right, of_wrong))
            here = (delay <= age) & (delay <= 400)
            kind = np.where(right, "right", "wrong")
            delays = delay_distributions(delay[here], age[here], kind[here], horizon=400.0)
            cohort = here & (np.arange(age.size) >= 2 * n)
            naive.append(right[cohort].mean())
            chance = arrival_probability(kind[cohort], age[cohort], delays, cohort_youngest=float(age[2 * n :].min()))
            if not isinstance(chance, np.ndarray):
                silent += 1
                continue
            found = mean_estimate("accuracy", right[cohort], inclusion_probability=chance, alpha=ALPHA)
            value.append(found.value)
            held += found.low <= 0.85 <= found.high
        lines.append(
            {
                "hours_right": of_right,
                "hours_wrong": of_wrong,
                "cohort": n,
                "naive_bias": round(float(np.mean(naive)) - 0.85, 4),
                "bias": round(float(np.mean(value)) - 0.85, 4),
                "coverage": round(held / len(value), 3),
                "not_estimated": round(silent / runs, 3),
            }
        )
        print(lines[-1], flush=True)
    return lines


SHAPES = {
    "calibrated": lambda c: c,
    "3 points over": lambda c: c - 0.03,
    "10 points over": lambda c: c - 0.1,
    "over and under": lambda c: np.clip(c + 0.15 * np.sin(8 * c), 0, 1),
    "temperature": lambda c: 1 / (1 + ((1 - c) / c) ** 0.6),
}


def calibration(runs: int) -> list[dict[str, float | str]]:
    """Against the error of the same bins with the true chance of right in place of the outcomes."""
    lines: list[dict[str, float | str]] = []
    for name, shape in SHAPES.items():
        for n in (300, 2000, 10_000):
            bias, plain, held, goals = [], [], 0, []
            for run in range(runs):
                rng = np.random.default_rng([4, run])
                confidence = np.clip(rng.beta(4, 1.3, size=n), 0.01, 0.995)
                chance = np.clip(shape(confidence), 0, 1)
                right = rng.random(n) < chance
                edges = np.unique(np.quantile(confidence, np.arange(1, BINS) / BINS))
                place = np.searchsorted(edges, confidence, side="left")
                goal, seen = (np.abs(np.bincount(place, weights=x - confidence)).sum() / n for x in (chance, right))
                found = calibration_error(confidence, right, alpha=ALPHA)
                held += found.low - 1e-12 <= goal <= found.high
                bias.append(found.value - goal)
                plain.append(seen - goal)
                goals.append(goal)
            lines.append(
                {
                    "shape": name,
                    "n": n,
                    "true": round(float(np.mean(goals)), 4),
                    "plain_bias": round(float(np.mean(plain)), 4),
                    "bias": round(float(np.mean(bias)), 4),
                    "coverage": round(held / runs, 3),
                }
            )
            print(lines[-1], flush=True)
    return lines


def degradation(runs: int) -> list[dict[str, float | str]]:
    """Error ratio .1 of 1,000 baseline labels; 2,000 labels at .1, then 10,000 at `now`, then 10,000 at .1 again."""
    lines: list[dict[str, float | str]] = []
    limit = DegradationRule(0.1, ALPHA)
    false = sum(
        update_degradation(start_degradation(), np.random.default_rng([5, run]).random(LOOKS) < 0.1, rule=limit)[
            0
        ].incidents
        > 0
        for run in range(runs)
    )
    lines.append({"now": "at the limit for 1e5 labels", "ever_opened": round(false / runs, 4)})
    print(lines[-1], flush=True)
    for now in (0.1, 0.15, 0.2, 0.3, 0.5):
        opened, closed, more = [], [], 0
        for run in range(runs):
            rng = np.random.default_rng([6, run])
            rule = degradation_rule(
                baseline_errors=int(rng.binomial(1000, 0.1)), baseline_n=1000, tolerance=0.01, alpha=ALPHA
            )
            ratio = np.repeat([0.1, now, 0.1], [2000, 10_000, 10_000])
            _, turns = update_degradation(start_degradation(), rng.random(ratio.size) < ratio, rule=rule)
            first = [turn.at for turn in turns if turn.opened]
            opened += [at - 2000 for at in first[:1]]
            closed += [turn.at - 12_000 for turn in turns if not turn.opened][:1]
            more += len(first) > 1
        lines.append(
            {
                "now": now,
                "opened": round(len(opened) / runs, 3),
                "labels_to_open": round(float(np.median(opened))) if opened else "",
                "closed": round(len(closed) / runs, 3),
                "labels_to_close": round(float(np.median(closed))) if closed else "",
                "more_than_one_incident": round(more / runs, 3),
            }
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    start = time.perf_counter()
    found = {
        part.__name__: part(runs) for part in (uncertainty_sampling, late_labels, calibration, degradation, sequences)
    }
    machine.write(
        "quality_intervals",
        {"alpha": ALPHA, "looks": LOOKS, "runs": runs, "seconds": round(time.perf_counter() - start), **found},
    )


if __name__ == "__main__":
    main()
