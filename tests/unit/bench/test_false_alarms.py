from pathlib import Path

import numpy as np
import pytest

from bench import false_alarms, machine
from bench.no_drift import LONGEST, Judge, judges, texts
from bench.power.ledger import Entry, Ledger
from bench.power.scoring import Rate


def entry(seed: int, p: float, *, drift: bool) -> Entry:
    version = next(one.version for one in judges() if one.name == "verdict")
    return Entry("200", "verdict", version, false_alarms.WORLD, seed, drift, (-p,), 0.1, parts={"cosine": p})


def ledger(path: Path) -> Ledger:
    versions = {one.name: one.version for one in judges()}
    return Ledger(path / "false-alarms.jsonl", committed=None, world=false_alarms.WORLD, versions=versions)


def test_a_detector_alarms_by_its_own_p_and_the_verdict_by_its_own_rule(tmp_path: Path) -> None:
    kept = ledger(tmp_path)
    for seed, p in enumerate((0.05, 0.0501, 0.01, 0.9)):
        kept.append(entry(seed, p, drift=p == 0.01))
    assert false_alarms.rates(ledger(tmp_path)) == {"verdict": {200: Rate(1, 4)}, "cosine": {200: Rate(2, 4)}}


def test_a_detector_below_three_percent_is_given_a_reason_or_none_is_claimed() -> None:
    found = {
        "ad_truncated": {200: Rate(20, 1000)},
        "novelty": {200: Rate(29, 1000)},
        "cosine": {200: Rate(50, 1000)},
        "kl_cells": {200: Rate(1, 40)},  # by chance as likely as not
    }
    lines = false_alarms.reasons(found).splitlines()
    assert [line.split("`")[1] for line in lines] == ["ad_truncated", "novelty"]
    assert "2.7% at n = 200" in lines[0]
    assert lines[1].endswith("no reason known.")


def test_the_largest_size_of_a_rare_property_is_that_of_its_permutations() -> None:
    rng, share, alarms = np.random.default_rng(0), 0.05, 0
    for _ in range(1500):
        truncated = rng.random(90) < share
        dealt = np.array([rng.permutation(truncated)[:30].sum() for _ in range(99)])
        pooled = truncated.sum()
        gaps = [abs(count / 30 - (pooled - count) / 60) for count in (truncated[:30].sum(), *dealt)]
        alarms += (np.sum(gaps >= gaps[0] - 1e-12)) / 100 <= 0.05
    assert alarms / 1500 == pytest.approx(false_alarms.largest_size(30, 60, share), abs=0.015)


def test_both_sides_of_a_seed_are_the_same_again_and_unlike_each_other() -> None:
    seen = []

    def judge(reference: dict, current: dict, rng: np.random.Generator) -> None:
        seen.append((reference["embeddings"], current["embeddings"]))

    for _ in range(2):
        false_alarms.once(Judge("spy", judge, "cosine"), 60, 7)
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(*seen[0])


def test_what_a_made_up_model_answers_follows_from_the_embedding() -> None:
    made = texts(3000, np.random.default_rng(0))
    assert np.array_equal(made["truncated"], made["token_lengths"] > LONGEST)
    assert 0 < made["truncated"].mean() < 0.1
    shares = np.bincount(made["classes"], minlength=6) / 3000
    assert 0 < shares[-1] < 0.01 < shares[:-1].min()
    assert np.abs(np.corrcoef(made["confidences"], made["entropies"])[0, 1]) > 0.8


def test_a_table_is_put_between_the_markers_of_its_command_and_can_be_put_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin: x -->\nold\n<!-- end: x -->\nafter\n")
    for body in ("one", "two"):
        machine.put(page, command="x", body=body)
    assert page.read_text() == "before\n<!-- begin: x -->\n\ntwo\n\n<!-- end: x -->\nafter\n"
    with pytest.raises(SystemExit, match="lacks <!-- begin: y"):
        machine.put(page, command="y", body="")
